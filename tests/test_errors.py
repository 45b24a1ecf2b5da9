"""The error tree: what each error doubles as, what it carries, and the sentence that people read."""

from __future__ import annotations

import pickle

import pytest

import ptfile
from ptfile.errors import located


@pytest.mark.parametrize(
    ("error", "double"),
    [
        (ptfile.FormatError, ValueError),
        (ptfile.UnsafeError, pickle.UnpicklingError),
        (ptfile.TensorError, ValueError),
        (ptfile.UnsupportedError, NotImplementedError),
        (ptfile.LimitError, Exception),
    ],
)
def test_every_error_is_a_ptfile_error_and_what_callers_expect(error: type, double: type) -> None:
    """Callers of other libraries catch the builtin ones."""
    assert issubclass(error, ptfile.PtfileError)
    assert issubclass(error, double)


def test_the_message_is_computed_from_the_fields() -> None:
    """File, record, byte, problem, and what to do."""
    error = ptfile.FormatError("it is broken", fix="Mend it", file="a.pt", record="data.pkl", offset=7)
    assert str(error) == "a.pt, data.pkl, byte 7: it is broken. Mend it"
    assert str(ptfile.FormatError("it is broken")) == "it is broken"


def test_an_error_about_a_file_always_says_what_to_do() -> None:
    """Also if the one who raised it knew no better than its kind; what a caller did wrong is the caller's to mend."""
    for kind in (ptfile.FormatError, ptfile.TensorError, ptfile.UnsupportedError):
        assert str(kind("it is broken")) == "it is broken"
        assert str(kind("it is broken", file="a.pt")).startswith("a.pt: it is broken. ")
    assert "do not trust" in str(ptfile.UnsafeError("it calls os.system", name="os.system", file="a.pt"))
    assert "`limits`" in str(ptfile.LimitError("too much", limit="depth", allowed=1, actual=2, file="a.pt"))


def test_an_error_learns_on_its_way_up_where_it_was() -> None:
    """The innermost place that knows is right; outer ones fill only what is missing."""
    with (
        pytest.raises(ptfile.FormatError) as caught,
        located(file="outer.pt", record="other"),
        located(record="data/0"),
    ):
        raise ptfile.FormatError("it is broken", offset=3)
    assert (caught.value.file, caught.value.record, caught.value.offset) == ("outer.pt", "data/0", 3)


@pytest.mark.parametrize(
    "error",
    [
        ptfile.FormatError("broken", file="a.pt", offset=3),
        ptfile.UnsafeError("names os.system", name="os.system", record="data.pkl"),
        ptfile.LimitError("too deep", limit="depth", allowed=5, actual=6),
        ptfile.TensorError("does not fit"),
        ptfile.UnsupportedError("not yet", fix="Wait"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_survive_pickling_with_all_their_fields(error: ptfile.PtfileError) -> None:
    """They cross process borders in data loaders and test runners."""
    copied = pickle.loads(pickle.dumps(error))
    assert type(copied) is type(error)
    assert vars(copied) == vars(error)
    assert str(copied) == str(error)
