"""Large storages, which several threads read: the same values and the same errors as with one."""

from __future__ import annotations

import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ptfile
from ptfile.containers import zip_reader
from ptfile.sources import LocalSource

SIZES = (5 << 20, 100, 300_000, (1 << 20) + 1, 0, 3 << 20, 262_144, 17)
"""Bytes of storages: more than one piece and less, and some that are not worth a thread."""


@pytest.fixture(params=[1, 2, 4])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    count: int = request.param
    monkeypatch.setattr(zip_reader, "cores", lambda: count)
    return count


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "large.pt"


def arrays() -> list[Any]:
    random = np.random.default_rng(7)
    return [random.integers(0, 256, size, np.uint8) for size in SIZES]


def save(path: Path, **options: Any) -> None:
    ptfile.save([ptfile.from_numpy(array) for array in arrays()], path, **options)


def damage(path: Path, *storages: int) -> None:
    """Change one byte in the middle of these storages."""
    content = bytearray(path.read_bytes())
    for number in storages:
        needle = arrays()[number].tobytes()
        content[content.index(needle) + len(needle) // 2] ^= 1
    path.write_bytes(content)


def check(loaded: list[Any]) -> None:
    assert [tensor.numel() for tensor in loaded] == list(SIZES)
    assert all(np.array_equal(a.numpy(), b) for a, b in zip(loaded, arrays(), strict=True))


def test_all_bytes_are_where_they_belong(path: Path, threads: int) -> None:
    """From a path, in one load, and one storage after the other."""
    save(path)
    check(ptfile.load(path))
    with ptfile.open(path) as checkpoint:
        check([tensor.clone() for tensor in checkpoint.root])


def test_several_threads_are_at_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two reads are under way at the same time."""
    monkeypatch.setattr(zip_reader, "cores", lambda: 2)
    save(path)
    together = threading.Barrier(2, timeout=20)
    real = LocalSource.read_into
    met: list[bool] = []

    def read_into(self: LocalSource, offset: int, target: memoryview) -> None:
        if target.nbytes == 1 << 20 and not met:
            together.wait()
            met.append(True)
        real(self, offset, target)

    monkeypatch.setattr(LocalSource, "read_into", read_into)
    check(ptfile.load(path))

    assert met


@pytest.mark.parametrize("number", [0, 1, 2, 3, 5, 6, 7])
def test_a_changed_byte_is_found_in_its_record(path: Path, threads: int, number: int) -> None:
    """In whichever piece, and of whatever size the record is."""
    save(path)
    damage(path, number)
    with pytest.raises(ptfile.FormatError, match="some of its bytes have changed") as caught:
        ptfile.load(path)

    assert (caught.value.record, caught.value.file) == (f"data/{number}", str(path))


def test_of_several_damaged_records_the_first_is_named(path: Path, threads: int) -> None:
    """However many threads there are, and whichever finds what first."""
    save(path)
    damage(path, 2, 3, 5, 6)
    for _ in range(5):
        with pytest.raises(ptfile.FormatError) as caught:
            ptfile.load(path)
        assert caught.value.record == "data/2"


def test_no_checksum_means_no_check(path: Path, threads: int) -> None:
    """0 stands for a checksum that was not computed."""
    save(path, checksum=False)
    damage(path, 0)

    assert not np.array_equal(ptfile.load(path)[0].numpy(), arrays()[0])


def test_a_file_that_shrinks_while_it_is_read_is_an_error(
    path: Path, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no thread is left behind."""
    save(path)
    real: Callable[..., None] = LocalSource.read_into

    def read_into(self: LocalSource, offset: int, target: memoryview) -> None:
        if target.nbytes == 1 << 20:
            with path.open("r+b") as file:
                file.truncate(2 << 20)
        real(self, offset, target)

    monkeypatch.setattr(LocalSource, "read_into", read_into)
    with pytest.raises(ptfile.FormatError, match="was changed while it was open"):
        ptfile.load(path)
    assert [thread for thread in threading.enumerate() if thread.name == "ptfile"] == []


def test_a_byte_order_that_has_to_be_turned_is_turned(path: Path, threads: int) -> None:
    """A file of a big-endian machine."""
    numbers = np.arange(1 << 20, dtype=np.int32)
    ptfile.save(ptfile.from_numpy(numbers.byteswap()), path)
    with zipfile.ZipFile(path) as file:
        records = {name: file.read(name) for name in file.namelist()}
    records["large/byteorder"] = b"big" if sys.byteorder == "little" else b"little"
    with zipfile.ZipFile(path, "w") as file:
        for name, content in records.items():
            file.writestr(name, content)

    assert np.array_equal(ptfile.load(path).numpy(), numbers)
