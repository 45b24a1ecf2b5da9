"""What an error says of a file that cannot be read."""

from __future__ import annotations

import gzip
import io
import pickle

import pytest

import ptfile


def saved(value: object) -> bytes:
    buffer = io.BytesIO()
    ptfile.save(value, buffer)
    return buffer.getvalue()


def said(data: bytes) -> str:
    with pytest.raises(ptfile.FormatError) as caught:
        ptfile.load(io.BytesIO(data))
    return str(caught.value)


WHOLE = saved({"weight": ptfile.arange(1000), "bias": ptfile.arange(500)})


@pytest.mark.parametrize("left", [1000, 5000, 9000, len(WHOLE) - 1])
def test_a_cut_file_says_where_of_how_much(left: int) -> None:
    """To the byte, as soon as the pickle is whole."""
    missing = len(WHOLE) - left
    message = said(WHOLE[:left])
    assert f"cut off at byte {left} of {len(WHOLE)}: {missing} bytes are missing at its end" in message
    assert "ptfile repair" in message


def test_a_file_cut_off_in_its_pickle_is_cut_off() -> None:
    """How much is missing nobody knows; and there is nothing to repair."""
    message = said(WHOLE[:150])
    assert "cut off" in message
    assert "repair" not in message


@pytest.mark.parametrize("start", [b"\0", b"\0\0\0\0", b"abcd"])
def test_a_file_whose_first_bytes_are_damaged_is_known_by_the_rest(start: bytes) -> None:
    """All of it can be saved."""
    message = said(start + WHOLE[len(start) :])
    assert "its first bytes are damaged" in message
    assert "ptfile repair" in message


def test_the_end_of_the_directory_is_told_if_it_is_damaged() -> None:
    """By what is there, not by where."""
    at = WHOLE.rindex(b"PK\6\6")
    message = said(WHOLE[:at] + b"xxxx" + WHOLE[at + 4 :])
    assert "the zip64 end is damaged or gone" in message
    assert "ptfile repair" in message


def test_a_tail_of_zeros_is_told() -> None:
    """A file that had its size before its bytes, as some downloads make them."""
    written = WHOLE[:6000].rstrip(b"\0")
    message = said(written + bytes(len(WHOLE) - len(written)))
    assert f"from byte {len(written)} on there are only zeros" in message


def test_zeros_at_the_start_are_told() -> None:
    """To where they go; what follows is the rest of a file."""
    message = said(bytes(4096) + WHOLE[4096:])
    start = 4096 + len(WHOLE[4096:]) - len(WHOLE[4096:].lstrip(b"\0"))
    assert f"its first {start} bytes are zeros" in message


def test_nothing_but_zeros_is_told() -> None:
    """The whole file was never written."""
    assert "looks like zeros" in said(bytes(100_000))


def test_a_git_lfs_pointer_says_which_object() -> None:
    """And how large it is."""
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 132735373\n"
    assert "as the object sha256:4d7a214614ab2935 of 132735373 bytes" in said(pointer)
    assert "git lfs pull" in said(pointer)


def test_a_web_page_says_its_title() -> None:
    """It is often the reason."""
    assert "with the title 'Sign in to continue'" in said(
        b"<!DOCTYPE html>\n<head><title>\n Sign in to continue </title>"
    )


@pytest.mark.parametrize(
    ("data", "name", "fix"),
    [
        (b"", "an empty file", "do that again"),
        (gzip.compress(WHOLE), "a gzip file", "gzip -d"),
        (pickle.dumps({"a": 1}, 2), "a pickle that torch.save did not write", "pickle.load"),
        (b"GGUF\3\0\0\0", "a GGUF file", "llama.cpp"),
        (b"\x08\x08\x12\x07pytorch\x1a\x05", "an ONNX model", "`onnx`"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "a 7z archive", "7z x"),
        (b"\x89PNG\r\n\x1a\n", "a PNG image", "the path of the checkpoint"),
    ],
)
def test_other_files_are_called_by_their_names(data: bytes, name: str, fix: str) -> None:
    """With what to do about each."""
    message = said(data)
    assert f"looks like {name}" in message
    assert fix in message


def test_a_damaged_record_says_what_to_do() -> None:
    """Copy it again, or save the rest."""
    raw = ptfile.arange(500).numpy().tobytes()
    assert "ptfile repair" in said(WHOLE.replace(raw, raw[:-1] + b"\1"))
