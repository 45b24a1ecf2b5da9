"""`ptfile.disassemble`: which pickles of a file it finds."""

from __future__ import annotations

import io
import pickle

import pytest

import ptfile
from tests.formats.zip_file import BAD_GLOBAL, EMPTY_DICT, GOLDEN, zip_of


def found(f: io.BytesIO | str, *arguments: object, **options: object) -> list[tuple[str, int, str]]:
    """(record, start, last opcode) of each pickle."""
    pickles = ptfile.disassemble(f, *arguments, **options)  # type: ignore[arg-type]
    return [(one.record, one.start, [line.opcode for line in one][-1]) for one in pickles]


def test_a_checkpoint() -> None:
    """Its data.pkl."""
    buffer = io.BytesIO()
    ptfile.save({"w": ptfile.zeros(2)}, buffer)
    buffer.seek(0)
    assert found(buffer) == [("archive/data.pkl", 0, "STOP")]


def test_the_names_that_torch_writes_are_no_reason_to_warn() -> None:
    """In TorchScript files they are those of TorchScript."""
    for path in (GOLDEN / "constant-2.13.0.pt", GOLDEN / "container-1.4.0.pt", GOLDEN / "kinds-2.13.0.pt"):
        pickles = list(ptfile.disassemble(path))
        assert pickles
        assert not [line.warning for one in pickles for line in one if line.warning]


def test_records_by_name() -> None:
    """With their folder or without; one that is not there is an error that says which are."""
    stream = zip_of({"data.pkl": EMPTY_DICT, "other": BAD_GLOBAL, "x.pkl": EMPTY_DICT + EMPTY_DICT})
    assert found(stream) == [("net/data.pkl", 0, "STOP"), ("net/x.pkl", 0, "STOP"), ("net/x.pkl", 4, "STOP")]
    stream.seek(0)
    assert found(stream, "other") == [("net/other", 0, "STOP")]
    stream.seek(0)
    assert found(stream, "net/other") == [("net/other", 0, "STOP")]
    stream.seek(0)
    with pytest.raises(ptfile.FormatError, match=r"no record none\. Choose one of: net/data\.pkl, net/other"):
        found(stream, "none")


def test_a_legacy_file_has_five() -> None:
    """One behind the other, counted from the start of the file."""
    buffer = io.BytesIO()
    ptfile.save({"w": ptfile.zeros(2)}, buffer, _use_new_zipfile_serialization=False)
    buffer.seek(0)
    pickles = found(buffer)

    assert [(record, last) for record, _, last in pickles] == [("", "STOP")] * 5
    assert [start for _, start, _ in pickles][:3] == [0, 15, 21]


def test_a_pickle_by_itself_and_what_follows() -> None:
    """It need be no checkpoint."""
    data = pickle.dumps([1], 2)
    assert found(io.BytesIO(data + data)) == [("", 0, "STOP"), ("", len(data), "STOP")]
    assert found(io.BytesIO(data[:-1])) == [("", 0, "")]


def test_a_place_in_any_file() -> None:
    """As a scan tells it: in the file, or in a record."""
    hidden = io.BytesIO(bytes(100) + BAD_GLOBAL)
    [one] = ptfile.disassemble(hidden, at=100)
    assert [line.position for line in one][:2] == [100, 102]
    stream = zip_of({"data.pkl": EMPTY_DICT, "x": b"1234" + BAD_GLOBAL})
    [one] = ptfile.disassemble(stream, "x", at=4)
    assert [line.warning for line in one][1] == "runs a shell command"


@pytest.mark.parametrize(
    ("data", "record", "at"),
    [(b"<html>", None, None), (b"\x80\x02N.", None, 9), (b"\x80\x02N.", "x", None), (b"", None, None)],
)
def test_what_is_not_there_is_an_error(data: bytes, record: str | None, at: int | None) -> None:
    """Which says what the file looks like."""
    with pytest.raises(ptfile.FormatError):
        found(io.BytesIO(data), record, at=at)


def test_a_record_that_is_too_large_is_not_read() -> None:
    """The limit on pickles holds."""
    with pytest.raises(ptfile.LimitError):
        found(zip_of({"data.pkl": bytes(1000)}), limits=ptfile.Limits(pickle_size=100))
