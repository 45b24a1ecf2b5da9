"""Names with an index behind them, as people type them."""

from __future__ import annotations

import pytest

from ptfile._selection import SelectionError, parse_index, select

NAMES = {"a", "a[0]", "a[0].b", "['x[0]']", "", "model.weight", "model.bias"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", ("a", None)),
        ("a[0]", ("a[0]", None)),
        ("a[1]", ("a", (1,))),
        ("a[0][1]", ("a[0]", (1,))),
        ("a[0].b[2:]", ("a[0].b", (slice(2, None, None),))),
        ("['x[0]']", ("['x[0]']", None)),
        ("['x[0]'][0]", ("['x[0]']", (0,))),
        ("", ("", None)),
        ("(root)", ("", None)),
        ("(root)[:2]", ("", (slice(None, 2, None),))),
        ("[:2]", ("", (slice(None, 2, None),))),
    ],
)
def test_the_longest_name_that_exists_is_meant(text: str, expected: object) -> None:
    """Names may have brackets of their own."""
    assert select(NAMES, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[0]", (0,)),
        ("[-1, +2]", (-1, 2)),
        ("[::2]", (slice(None, None, 2),)),
        ("[ 1 : 2 : 3 ]", (slice(1, 2, 3),)),
        ("[..., None, :]", (..., None, slice(None))),
    ],
)
def test_an_index_is_as_in_python(text: str, expected: object) -> None:
    """Integers, slices, dots and None."""
    assert parse_index(text) == expected


@pytest.mark.parametrize(
    "text", ["[]", "[a]", "[0,]", "[1.5]", "[0 1]", "[True]", "[0:1:2:3]", "[....]", "[- 1]", "[1e3]", "[²]"]
)
def test_anything_else_is_an_error(text: str) -> None:
    """Which says how to write it."""
    with pytest.raises(SelectionError, match="write it as in Python"):
        parse_index(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model", "model is a group of 2 names: model.bias, model.weight"),
        ("model.wieght", "there is no model.wieght: there is model.weight"),
        ("zzz.bias", "there is no zzz.bias: there is model.bias"),
    ],
)
def test_a_name_that_is_not_there_names_others(text: str, said: str) -> None:
    """What is inside, what is alike, what ends like it."""
    with pytest.raises(SelectionError) as caught:
        select(sorted(NAMES), text)
    assert str(caught.value).startswith(said)


def test_a_checkpoint_of_nothing() -> None:
    """Has no names to offer."""
    with pytest.raises(SelectionError, match="the checkpoint is empty"):
        select([], "x")
