"""What a file of which not all is left says about itself."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ptfile.errors import PtfileError
from ptfile.formats.pickles import SafeRunner
from ptfile.formats.salvage import BrokenZip
from ptfile.limits import Limits
from ptfile.machine.vm import Python2Text
from ptfile.sources import MemorySource
from tests.golden.corpus import Corpus, CorpusFile, files

RUNNER = SafeRunner(Limits(), "inert", Python2Text("latin1"))
EVERY = 5
"""Of the files of the corpus, each so many-th is looked at."""
SINCE_ITS_LAYOUT_IS_KNOWN = ("2.1.2", "2.6.0", "2.13.0", "2.15.0")


@pytest.fixture(scope="module")
def corpus() -> Iterator[Corpus]:
    with tempfile.TemporaryDirectory() as folder:
        yield Corpus(Path(folder))


def zips(*numbers: str) -> list[CorpusFile]:
    return [file for file in files() if file.kind == "zip" and file.number in numbers][::EVERY]


def full_size(data: bytes) -> int | None:
    return BrokenZip(MemorySource(data), Limits(), RUNNER).full_size()


@pytest.mark.parametrize("number", SINCE_ITS_LAYOUT_IS_KNOWN)
def test_the_size_of_a_cut_file_is_known_to_the_byte(number: str, corpus: Corpus) -> None:
    """Wherever it was cut behind the pickle: of files that PyTorch wrote, in all layouts that it had since 2.1."""
    known = 0
    for file in zips(number):
        data = corpus.path(file).read_bytes()
        for cut in (1, 100, 300):
            try:
                assert full_size(data[:-cut]) == len(data), file
            except PtfileError:
                assert "big" in str(file), file  # big-endian ones are not salvaged
            else:
                known += 1
    assert known > 100


@pytest.mark.parametrize("number", ["1.4.0", "1.6.0", "1.10.2", "1.13.1"])
def test_the_size_of_an_older_file_is_right_or_not_known(number: str, corpus: Corpus) -> None:
    """Never a wrong one."""
    for file in zips(number):
        data = corpus.path(file).read_bytes()
        for cut in (1, 100, 300):
            try:
                assert full_size(data[:-cut]) in (len(data), None), file
            except PtfileError:
                continue


def test_a_whole_file_is_not_cut(corpus: Corpus) -> None:
    """Its size is what it is."""
    for file in zips("2.13.0")[:10]:
        assert full_size(corpus.path(file).read_bytes()) is None
