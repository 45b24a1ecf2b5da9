"""Every file of the golden corpus loads to what was saved, and is saved to its own bytes again."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

import ptfile
from ptfile.formats import pickles
from ptfile.machine.fast import run_if_harmless
from tests.golden import compatibility, exceptions
from tests.golden.corpus import Corpus, CorpusFile, files
from tests.golden.expectation import differences
from tests.golden.outcome import judge, load, natural_encoding
from tests.golden.round_trip import pickle_record, save_again, without_keys
from tests.golden.tampering import changed, details
from tests.golden.walk import Node

FILES = [file for file in files() if file.kind not in exceptions.OTHER_FORMATS]
PYTHON2 = [file for file in FILES if file.is_python2]
NO_UTF8 = [file for file in PYTHON2 if exceptions.NEEDS_LATIN1.fullmatch(str(file))]


NOT_COMPARED = {
    "complex.repr",  # said by other details
    "float.repr",
    "npscalar.repr",
    "ndarray.first",
    "tensor.hex",
    "components.first",
    "path.class",  # its last part is compared; the module depends on the running Python
    "enum.name",  # not in the file: an enum is pickled by its value
    "deque.id",  # nothing in the corpus refers to one
    "frozenset.id",
    "set.id",
    "storages.error",  # the texts of PyTorch's errors, on looking at what is not there
    "tensor.error",
    "tensor.data_error",
    "tensor.storage_error",
    "tensor.shape_repr",
}
"""Details of the corpus that the comparison does not look at."""


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return Corpus(tmp_path_factory.mktemp("corpus"))


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_file_loads_to_what_was_saved(corpus: Corpus, file: CorpusFile) -> None:
    """Values, types, dtypes, strides, sharing, identity and attributes; or it is on the list of exceptions."""
    outcome = judge(corpus, file, natural_encoding(file))
    assert outcome.verdict != "wrong", outcome.reason


@pytest.mark.parametrize("version", sorted({file.version for file in FILES if file.kind == "zip"}))
def test_pickles_that_are_proved_harmless_give_what_the_machine_gives(
    corpus: Corpus, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bytes when they are saved again."""
    proofs: list[bool] = []

    def note(*arguments: Any) -> tuple[Any, bool]:
        value, is_run = run_if_harmless(*arguments)
        proofs.append(is_run)
        return value, is_run

    def saved(path: Path) -> bytes:
        buffer = io.BytesIO()
        ptfile.save(ptfile.load(path, unknown="inert"), buffer)
        return buffer.getvalue()

    proved = 0
    for file in FILES:
        if file.version == version and file.kind == "zip":
            proofs.clear()
            monkeypatch.setattr(pickles, "run_if_harmless", note)
            try:
                by_proof = saved(corpus.path(file))
            except ptfile.PtfileError:
                assert not any(proofs)
                continue
            monkeypatch.setattr(pickles, "run_if_harmless", lambda *_: (None, False))
            if any(proofs):
                proved += 1
                assert saved(corpus.path(file)) == by_proof
    assert proved > 50


def test_the_table_of_compatibility_is_up_to_date(corpus: Corpus) -> None:
    """`python -m tests.golden.compatibility` writes it."""
    assert compatibility.DOCUMENT.read_text("utf-8") == compatibility.document(corpus)


def test_the_comparison_looks_at_every_detail(corpus: Corpus) -> None:
    """Each kind of detail in the corpus, changed once, makes a difference, but for a few that are listed."""
    seen: set[str] = set()
    unseen: set[str] = set()
    for file in FILES:
        if file.number != "2.13.0" or judge(corpus, file, "utf-8").verdict != "equal":
            continue
        expectation, value = corpus.expectation(file), load(corpus, file, "utf-8")
        description = {"tree": expectation.tree, "storages": expectation.storages}
        for place, detail in details(description):
            if detail not in seen:
                noticed = is_noticed(value, changed(description, place))
                (seen if noticed else unseen).add(detail)
    assert len(seen) > 100
    assert unseen - seen == NOT_COMPARED


def is_noticed(value: Any, description: Node) -> bool:
    try:
        return bool(differences(value, description["tree"], description["storages"]))
    except (KeyError, ValueError, TypeError, AttributeError, AssertionError, SyntaxError):  # it makes no sense now
        return True


@pytest.mark.parametrize("file", NO_UTF8, ids=str)
def test_strings_of_python_2_that_are_no_text_are_refused_with_what_to_do(corpus: Corpus, file: CorpusFile) -> None:
    """PyTorch says the same by a UnicodeDecodeError."""
    with pytest.raises(ptfile.FormatError, match="encoding"):
        ptfile.load(corpus.path(file), unknown="inert")


@pytest.mark.parametrize("file", PYTHON2, ids=str)
def test_a_file_of_python_2_loads_as_latin1(corpus: Corpus, file: CorpusFile) -> None:
    """Only the strings of Python 2 depend on the encoding; this one takes whatever bytes there are."""
    outcome = judge(corpus, file, "latin1")
    assert outcome.verdict != "wrong", outcome.reason


@pytest.mark.parametrize("case", ["bytes", "py2_bytes_str", "native_str", "dict", "tuple", "list", "datetime"])
def test_strings_of_python_2_can_stay_bytes(corpus: Corpus, case: str) -> None:
    """As `pickle.load` has it with encoding="bytes"."""
    file = CorpusFile("torch-1.0.1-py2.7", f"py_{case}.legacy.pt")
    assert judge(corpus, file, "bytes").verdict == "equal"


def of_versions(*numbers: str) -> list[CorpusFile]:
    """The zip files of some versions of PyTorch that load."""
    return [
        file
        for file in FILES
        if file.kind == "zip" and file.number in numbers and not exceptions.find(exceptions.REFUSED, file)
    ]


@pytest.mark.parametrize("file", of_versions("2.13.0", "2.15.0"), ids=str)
def test_a_file_is_saved_to_its_own_bytes(corpus: Corpus, file: CorpusFile, tmp_path: Path) -> None:
    """The whole file, in the format that PyTorch writes today; or it is on the list of exceptions.

    Where numpy 1 runs, which names its modules otherwise, the pickles of arrays are the same but for that.
    """
    again, before = saved_again(corpus, file, tmp_path), corpus.path(file).read_bytes()
    is_same = again == before
    if again is not None and not exceptions.NUMPY_2 and pickle_record(before) not in before:
        is_same = pickle_record(again) == pickle_record(before)
    assert is_same is (exceptions.other_bytes(file) is None)


@pytest.mark.parametrize("file", of_versions("1.10.2", "1.13.1", "2.1.2", "2.6.0"), ids=str)
def test_the_pickle_of_an_older_file_is_saved_to_its_own_bytes(
    corpus: Corpus, file: CorpusFile, tmp_path: Path
) -> None:
    """The zip around it has changed over the versions; the pickle has not. Or it is on the list of exceptions."""
    again, before = saved_again(corpus, file, tmp_path), corpus.path(file).read_bytes()
    is_same = again is not None and pickle_record(again) == pickle_record(before)
    assert is_same is (exceptions.other_bytes(file) is None)


@pytest.mark.parametrize("file", of_versions("1.4.0", "1.6.0"), ids=str)
def test_the_pickle_of_a_file_with_addresses_is_saved_but_for_the_keys(
    corpus: Corpus, file: CorpusFile, tmp_path: Path
) -> None:
    """The oldest zip files name storages by where they were in memory."""
    again, before = saved_again(corpus, file, tmp_path), corpus.path(file).read_bytes()
    is_same = again is not None and without_keys(pickle_record(again)) == without_keys(pickle_record(before))
    assert is_same is (exceptions.other_bytes(file) is None)


def saved_again(corpus: Corpus, file: CorpusFile, folder: Path) -> bytes | None:
    """What a file is saved to once it is loaded; None if ptfile does not save with such options."""
    value = ptfile.load(corpus.path(file), unknown="inert")
    try:
        return save_again(value, corpus.path(file), corpus.expectation(file).description, folder)
    except ptfile.UnsupportedError:
        return None
