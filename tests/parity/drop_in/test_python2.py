"""Files of Python 2, whose text may be bytes of any encoding. The two files are from PyTorch 1.0.1 under Python 2.7."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.parity.drop_in.conftest import Pair
from tests.parity.drop_in.support import described, loaded, raw_checkpoint, saved

DATA = Path(__file__).parent / "data"
STRINGS = DATA / "python2_strings.pt"
STATE_DICT = DATA / "python2_state_dict.pt"
NOT_UTF8 = raw_checkpoint(b"\x80\x02]U\x03\xff\xfe!a.")
"""A zip checkpoint of a list with one Python 2 string."""


@pytest.mark.parametrize("weights_only", [True, False])
def test_text_is_taken_for_utf8(lib: Any, weights_only: bool) -> None:
    """What is not is a UnicodeDecodeError."""
    with pytest.raises(UnicodeDecodeError, match="'utf-8' codec can't decode byte 0xff"):
        lib.load(STRINGS, weights_only=weights_only)
    with pytest.raises(UnicodeDecodeError):
        loaded(lib, NOT_UTF8, weights_only=weights_only)


@pytest.mark.parametrize(
    ("arguments", "legacy", "zipped"),
    [
        ({"encoding": "latin1"}, ["plain", "Ã¼ utf8", "ÿþ not utf8"], "ÿþ!"),
        ({"encoding": "bytes"}, [b"plain", b"\xc3\xbc utf8", b"\xff\xfe not utf8"], b"\xff\xfe!"),
        ({"errors": "replace"}, ["plain", "ü utf8", "\ufffd\ufffd not utf8"], "\ufffd\ufffd!"),
        ({"errors": "ignore"}, ["plain", "ü utf8", " not utf8"], "!"),
        ({"errors": "surrogateescape"}, ["plain", "ü utf8", "\udcff\udcfe not utf8"], "\udcff\udcfe!"),
        ({"encoding": "ascii", "errors": "ignore"}, ["plain", " utf8", " not utf8"], "!"),
    ],
    ids=["latin1", "bytes", "replace", "ignore", "surrogateescape", "ascii"],
)
def test_encoding_and_errors_decide(lib: Any, arguments: dict[str, str], legacy: list[Any], zipped: Any) -> None:
    """In the words of Python's unpickler, for both formats."""
    assert lib.load(STRINGS, weights_only=False, **arguments) == legacy
    assert loaded(lib, NOT_UTF8, weights_only=False, **arguments) == [zipped]


@pytest.mark.parametrize("encoding", ["latin1", "bytes"])
def test_encoding_works_with_weights_only_too(lib: Any, encoding: str) -> None:
    """In spite of the warning that it does not."""
    with pytest.warns(UserWarning, match="pickle_load_args only works if `weights_only=False`"):
        result = lib.load(STRINGS, encoding=encoding)
    assert result[2] in ("ÿþ not utf8", b"\xff\xfe not utf8")


def test_an_unknown_encoding_is_a_lookup_error(lib: Any) -> None:
    """As Python raises it."""
    with pytest.raises(LookupError, match="unknown encoding: nonsense"):
        lib.load(STRINGS, weights_only=False, encoding="nonsense")


@pytest.mark.parametrize("weights_only", [True, False])
def test_a_state_dict_of_python_2_loads(lib: Any, weights_only: bool) -> None:
    """Keys become text; tensors and `_metadata` are there."""
    result = lib.load(STATE_DICT, weights_only=weights_only)
    assert list(result) == ["weight"]
    assert list(result._metadata) == [""]
    assert result["weight"].shape[1] == 3


def test_keys_may_stay_bytes(lib: Any) -> None:
    """With encoding="bytes"; PyTorch's own words inside, such as locations, are understood all the same."""
    locations: list[str] = []
    result = lib.load(
        STATE_DICT, weights_only=False, encoding="bytes", map_location=lambda storage, tag: locations.append(tag)
    )
    assert list(result) == [b"weight"]
    assert locations == ["cpu"]


def test_loaded_state_dicts_are_saved_anew(pair: Pair) -> None:
    """In today's format by either, and read by either."""
    state = pair.writer.load(STATE_DICT)
    assert described(loaded(pair.reader, saved(pair.writer, state))) == described(state)
