"""What every source promises, as one class of tests: a source's own tests inherit it and say how to make one."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ptfile.errors import FormatError
from ptfile.sources import Source

CONTENT = bytes(range(256)) * 1024  # 256 KiB: larger than any read-ahead begins with


class SourceContract(abc.ABC):
    """The tests. `make` gives a source of the bytes it is given."""

    @abc.abstractmethod
    def make(self, content: bytes, folder: Path) -> Source: ...

    @pytest.fixture
    def source(self, tmp_path: Path) -> Iterator[Source]:
        with self.make(CONTENT, tmp_path) as source:
            yield source

    def test_it_knows_its_size_and_has_a_name(self, source: Source) -> None:
        """Size and name are there before anything is read."""
        assert len(CONTENT) == source.size
        assert source.name

    @pytest.mark.parametrize(
        ("offset", "length"),
        [
            (0, 0),
            (0, 1),
            (255, 2),
            (5000, 5000),
            (0, len(CONTENT)),
            (len(CONTENT) - 1, 1),
            (len(CONTENT), 0),
            (7, 200_000),
        ],
    )
    def test_it_reads_exactly_what_is_asked_for(self, source: Source, offset: int, length: int) -> None:
        """Both ways of reading give the same bytes, at any offset."""
        target = bytearray(length)
        source.read_into(offset, memoryview(target))

        assert CONTENT[offset : offset + length] == bytes(source.read(offset, length)) == bytes(target)

    def test_reads_in_any_order_do_not_disturb_each_other(self, source: Source) -> None:
        """Going forwards, backwards and over what was read before gives the same bytes."""
        offsets = [*range(0, 250_000, 1237), *range(250_000, 0, -4567), *range(0, 30_000, 3)]

        assert all(CONTENT[offset : offset + 40] == bytes(source.read(offset, 40)) for offset in offsets)

    def test_threads_can_share_it(self, source: Source) -> None:
        """Reads from several threads at once give the same bytes as one after the other."""
        offsets = [offset * 7919 % 200_000 for offset in range(2_000)]
        with ThreadPoolExecutor(4) as pool:
            pieces = list(pool.map(lambda offset: bytes(source.read(offset, 500)), offsets))

        assert [CONTENT[offset : offset + 500] for offset in offsets] == pieces

    @pytest.mark.parametrize(
        ("offset", "length"), [(len(CONTENT), 1), (len(CONTENT) - 3, 13), (0, 1 << 40), (1 << 70, 1)]
    )
    def test_reading_past_the_end_says_how_much_is_missing(self, source: Source, offset: int, length: int) -> None:
        """The error has the bytes that are there, the bytes that are called for, and the file."""
        with pytest.raises(FormatError) as caught:
            source.read(offset, length)

        assert f"cut off at byte {len(CONTENT)} of {offset + length}: " in str(caught.value)
        assert source.name == caught.value.file

    def test_reading_into_past_the_end_is_the_same_error(self, source: Source) -> None:
        """`read_into` refuses what `read` refuses."""
        with pytest.raises(FormatError, match=f"cut off at byte {len(CONTENT)} of {len(CONTENT) + 5}"):
            source.read_into(len(CONTENT) - 5, memoryview(bytearray(10)))

    @pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, -1), (5, -5), (-(1 << 65), 0)])
    def test_negative_numbers_are_refused(self, source: Source, offset: int, length: int) -> None:
        """A file that states them is damaged; Python's slices would take them."""
        with pytest.raises(FormatError):
            source.read(offset, length)

    def test_a_source_without_bytes_is_fine(self, tmp_path: Path) -> None:
        """An empty file opens, and has nothing to read."""
        with self.make(b"", tmp_path) as source:
            assert source.size == 0
            assert bytes(source.read(0, 0)) == b""
            with pytest.raises(FormatError, match="cut off at byte 0 of 1"):
                source.read(0, 1)

    def test_closing_twice_is_fine(self, tmp_path: Path) -> None:
        """The second close has nothing to do."""
        source = self.make(CONTENT, tmp_path)
        source.close()
        source.close()
