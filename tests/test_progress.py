"""`progress=` of the functions that take their time: bytes that are done, up to all that there are to do."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import pytest

import ptfile
from ptfile._progress import Counter
from ptfile.cli import main

MIB = 1 << 20
Call: TypeAlias = "Callable[[Path, Callable[[int, int], object]], object]"

CALLS: dict[str, Call] = {
    "convert": lambda path, told: ptfile.convert(path, path.with_suffix(".npz"), progress=told),
    "diff": lambda path, told: ptfile.diff(path, path.with_name("other.pt"), progress=told),
    "digest": lambda path, told: ptfile.digest(path, progress=told),
    "digest of legacy": lambda path, told: ptfile.digest(path.with_name("legacy.pt"), progress=told),
    "edit": lambda path, told: ptfile.edit(path, path.with_name("out.pt"), drop=["0"], progress=told),
    "edit, unverified": lambda path, told: ptfile.edit(path, path.with_name("out.pt"), verify=False, progress=told),
    "edit, cast": lambda path, told: ptfile.edit(path, path.with_name("out.pt"), cast="float64", progress=told),
    "extract": lambda path, told: ptfile.extract(path, "large", path.with_name("out.npy"), progress=told),
    "repair": lambda path, told: ptfile.repair(path.with_name("broken.pt"), path.with_name("out.pt"), progress=told),
    "scan": lambda path, told: ptfile.scan(path, progress=told),
    "scan of pickles": lambda path, told: ptfile.scan(path.with_name("pickles.bin"), progress=told),
    "scan of a broken file": lambda path, told: ptfile.scan(path.with_name("broken.pt"), progress=told),
    "scan of legacy": lambda path, told: ptfile.scan(path.with_name("legacy.pt"), progress=told),
    "verify": lambda path, told: ptfile.verify(path, progress=told),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of 12 MiB, and what else the calls are about."""
    folder = tmp_path_factory.mktemp("progress")
    value = {str(i): ptfile.full((MIB // 4,), float(i)) for i in range(8)}
    value["large"] = ptfile.arange(float(MIB))
    ptfile.save(value, folder / "model.pt")
    ptfile.save({**value, "large": ptfile.zeros(MIB)}, folder / "other.pt")
    ptfile.save([value, *([value["0"]] * 9)], folder / "legacy.pt", _use_new_zipfile_serialization=False)
    data = (folder / "model.pt").read_bytes()
    (folder / "broken.pt").write_bytes(data[:-MIB])
    (folder / "pickles.bin").write_bytes((b"\x80\x02X" + (3 * MIB).to_bytes(4, "little") + b"a" * 3 * MIB + b".") * 4)
    return folder / "model.pt"


@pytest.mark.parametrize("call", CALLS)
def test_it_goes_up_to_the_end(call: str, path: Path) -> None:
    """In steps, of a total that stays."""
    told: list[tuple[int, int]] = []
    CALLS[call](path, lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert len({total for _, total in told}) == 1
    assert told[-1][0] == told[-1][1] > 0
    assert len(told) >= 4 or call == "scan of legacy"  # whose pickles are at its start


@pytest.mark.parametrize("call", CALLS)
def test_what_it_raises_ends_the_work(call: str, path: Path) -> None:
    """To call it off, say."""

    def stop(_done: int, _total: int) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        CALLS[call](path, stop)


@pytest.mark.parametrize("function", [ptfile.digest, ptfile.scan], ids=lambda function: function.__name__)
def test_little_is_told_once(function: Callable[..., Any]) -> None:
    """That it is done."""
    buffer = io.BytesIO()
    ptfile.save([1], buffer)
    told: list[tuple[int, int]] = []
    function(io.BytesIO(buffer.getvalue()), progress=lambda done, total: told.append((done, total)))
    assert len(told) == 1


def test_many_threads_may_count() -> None:
    """No byte is lost, and none is told of before those of an earlier call."""
    told: list[int] = []
    counter = Counter(lambda done, _total: told.append(done), 8 * 64 * MIB)

    def count() -> None:
        for _ in range(256):
            counter.advance(MIB // 4)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == sorted(told)
    assert told[-1] == counter.total


COMMANDS = {
    "convert": ["model.pt", "converted.npz"],
    "diff": ["model.pt", "other.pt"],
    "digest": ["model.pt"],
    "edit": ["model.pt", "edited.pt"],
    "extract": ["model.pt", "large", "large.npy"],
    "repair": ["broken.pt", "repaired.pt"],
    "scan": ["model.pt"],
    "verify": ["model.pt"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_show_it(command: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gives its bar how far it is, up to the end."""
    told: list[tuple[int, int]] = []

    @contextmanager
    def bar(_file: str) -> Iterator[Callable[[int, int], None]]:
        yield lambda done, total: told.append((done, total))

    monkeypatch.chdir(path.parent)
    monkeypatch.setattr(import_module(f"ptfile.cli.{command}"), "progress_bar", bar)
    assert main([command, *COMMANDS[command]]) == (1 if command == "diff" else 0)
    assert told[-1][0] == told[-1][1] > 0
