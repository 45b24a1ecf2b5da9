"""Names of places in a checkpoint: readable, and never the same for two places."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptfile._names import Attribute, Key, Path, distinct, exact, join


def name(*steps: object) -> str:
    text = ""
    for step in steps:
        text = join(text, step if isinstance(step, Attribute) else Key(step))
    return text


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((), ""),
        (("model", "layer.0.weight"), "model.layer.0.weight"),
        (("state", 0, "exp_avg"), "state[0].exp_avg"),
        ((0, 1), "[0][1]"),
        ((Attribute("args"), Attribute("lr")), "args.lr"),
        (("with space", "ümläut", "中"), "with space.ümläut.中"),
        ((None, 2.5, (2, "x"), b"k", True), "[None][2.5][(2, 'x')][b'k'][True]"),
    ],
)
def test_names_read_as_people_write_them(steps: tuple[object, ...], expected: str) -> None:
    """String keys and attributes are joined by dots, all other keys stand in brackets."""
    assert name(*steps) == expected


@pytest.mark.parametrize(
    "key", ["", "a[0]", "]", " a", "a ", ".", "a.", ".a", "a..b", "a\nb", "\x1b[2J", "\u202ea", "\udc80"]
)
def test_keys_that_do_not_read_well_are_quoted(key: str) -> None:
    """A key with brackets, empty parts or anything invisible is written as Python would, in printable characters."""
    written = name("model", key)

    assert written == f"model[{key!r}]"
    assert written.isprintable()


def test_a_string_key_and_an_index_differ() -> None:
    """The list index 0 and the key "0" are different steps, and so are their names."""
    assert name("a", 0) == "a[0]"
    assert name("a", "0") == "a.0"


def test_an_integer_too_long_for_python_to_write_still_has_a_name() -> None:
    """Python refuses to turn integers of more than 4,300 digits into text: the type stands for them."""
    assert name(1 << 20_000) == "[<int>]"


def test_places_that_would_be_named_alike_get_exact_names() -> None:
    """Keys with dots can imitate nesting; then, and only then, all the keys are in brackets."""
    paths: list[Path] = [(Key("a.b"),), (Key("a"), Key("b")), (Key("c.d"),)]

    assert distinct(["a.b", "a.b", "c.d"], paths) == ["['a.b']", "['a']['b']", "c.d"]


def test_keys_that_are_written_alike_are_counted() -> None:
    """There can be two NaNs in a dict, which no text tells apart."""
    paths: list[Path] = [(Key(float("nan")),), (Key(float("nan")),)]

    assert distinct(["[nan]", "[nan]"], paths) == ["[nan]", "[nan]#2"]


KEYS = st.one_of(st.text("ab.[]'\" \n", max_size=5), st.integers(-1, 3), st.none(), st.tuples(st.integers(0, 1)))
STEPS = st.one_of(KEYS.map(Key), st.sampled_from(["a", "b"]).map(Attribute))
PATHS = st.lists(st.lists(STEPS, max_size=4).map(tuple), unique=True, max_size=12)


@given(PATHS)
def test_different_paths_never_have_the_same_name(paths: list[Path]) -> None:
    """Whatever the keys are, the names of different places differ, and none is empty but the root's."""
    readable = []
    for path in paths:
        text = ""
        for step in path:
            text = join(text, step)
        readable.append(text)
    names = distinct(readable, paths)

    assert len(set(names)) == len(paths)
    assert [name == "" for name in names] == [path == () for path in paths]


@given(PATHS)
def test_exact_names_depend_on_nothing_but_the_path(paths: list[Path]) -> None:
    """The exact form of one path is that of no other, so it can be used whatever else is in the file.

    Attributes aside: an object's attribute and a key of the same text are in different objects.
    """
    keys_only = [path for path in paths if all(isinstance(step, Key) for step in path)]

    assert len({exact(path) for path in keys_only}) == len(keys_only)
