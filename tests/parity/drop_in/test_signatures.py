"""The names, signatures and identities that code written for PyTorch relies on."""

from __future__ import annotations

import inspect
import io
import pickle
from typing import Any

import pytest

from tests.parity.drop_in.support import COMPANIONS, PYTORCH, loaded, saved, torch


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    return [(each.name, each.kind, each.default) for each in inspect.signature(function).parameters.values()]


OWN = [("fsync", inspect.Parameter.KEYWORD_ONLY, False)]
"""ptfile's own keywords of `save`, behind those of PyTorch."""


@pytest.mark.parametrize("name", ["save", "load"])
def test_the_signature_is_that_of_2_13(lib: Any, name: str) -> None:
    """Names, kinds and defaults of all arguments; a few keywords more."""
    own = OWN if name == "save" and lib is not PYTORCH else []
    assert parameters(getattr(lib, name)) == parameters(getattr(PYTORCH, name)) + own


@pytest.mark.parametrize("name", COMPANIONS)
def test_a_companion_is_there_under_the_same_name(lib: Any, name: str) -> None:
    """Everything of torch.serialization that users call beside save and load."""
    companion = getattr(lib, name)
    assert callable(companion)
    assert companion.__name__ == name


@pytest.mark.parametrize("name", ["LoadEndianness", "SourceChangeWarning"])
def test_a_class_is_the_very_class(lib: Any, name: str) -> None:
    """`except` and `filterwarnings` of either name catch both."""
    assert getattr(lib, name) is getattr(torch.serialization, name)


def test_arguments_go_by_position(lib: Any) -> None:
    """save(obj, f, module, protocol, zip, no byte order) and load(f, map_location, module)."""
    buffer = io.BytesIO()
    lib.save([1, torch.ones(2)], buffer, pickle, 2, True, False)
    buffer.seek(0)
    assert lib.load(buffer, "cpu", pickle)[0] == 1


def test_arguments_go_by_name(lib: Any) -> None:
    """All of PyTorch's names."""
    buffer = io.BytesIO()
    lib.save(obj={"a": 1}, f=buffer, pickle_module=pickle, pickle_protocol=3)
    buffer.seek(0)
    assert lib.load(f=buffer, map_location=None, pickle_module=None, weights_only=False, mmap=False) == {"a": 1}


def test_weights_only_has_no_position(lib: Any) -> None:
    """It is a keyword, as are all that follow."""
    with pytest.raises(TypeError):
        lib.load(io.BytesIO(saved(lib, 1)), None, None, True)


def test_save_returns_nothing(lib: Any) -> None:
    """Like PyTorch's."""
    assert lib.save(1, io.BytesIO()) is None


def test_an_unknown_keyword_reaches_the_unpickler(lib: Any) -> None:
    """Which refuses it."""
    with pytest.raises(TypeError, match="nonsense"):
        loaded(lib, saved(lib, 1), weights_only=False, nonsense=1)


def test_keywords_of_the_unpickler_do_nothing_for_weights_only(lib: Any) -> None:
    """And there is a warning that says so."""
    with pytest.warns(UserWarning, match="pickle_load_args only works if `weights_only=False`"):
        assert loaded(lib, saved(lib, "text"), encoding="latin1") == "text"


def test_warnings_name_the_caller(lib: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that a warning is filed under is that of the call to load."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    data = saved(lib, 1)
    with pytest.warns(UserWarning, match="TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD") as record:
        lib.load(io.BytesIO(data))
    assert record[0].filename == __file__
