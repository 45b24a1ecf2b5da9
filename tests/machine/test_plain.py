"""The encoder of plain trees against CPython's pickler: the same bytes, or the tree is left to it."""

from __future__ import annotations

import copyreg
import pickle
import sys
from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ptfile
from ptfile.formats.rebuild import plain_tensors
from ptfile.formats.reducers import REDUCERS
from ptfile.formats.storages import SavedStorages
from ptfile.machine.encoder import Encoder
from ptfile.machine.plain import encode_plain


def plainly(tree: object) -> bytes | None:
    pieces = encode_plain(tree, plain_tensors(SavedStorages()))
    return None if pieces is None else b"".join(pieces)


def by_pickler(tree: object) -> bytes:
    encoder = Encoder(REDUCERS, SavedStorages().persistent_id, pickle_module=pickle, protocol=2)
    return b"".join(encoder.encode(tree))


def tensors(count: int) -> dict[str, ptfile.Tensor]:
    return {f"layer.{index}.weight": ptfile.full((2, 1 + index % 3), 0.5) for index in range(count)}


def with_attributes() -> OrderedDict[str, Any]:
    state = OrderedDict(tensors(3))
    state._metadata = OrderedDict({"": {"version": 1}, "layer": {"version": 2}})  # type: ignore[attr-defined]
    return state


SHARED = ptfile.arange(6)
TEXT = "a text that occurs twice"
INSIDE: list[Any] = ["storage", "cpu", "0", TEXT]
ORDERED = OrderedDict({"a": 1})

PLAIN: dict[str, Any] = {
    "one tensor": ptfile.tensor([0, 1, 2, 3, 4]),
    "no dimension, no element, many dimensions": [ptfile.tensor(1.5), ptfile.zeros(0), ptfile.zeros((2, 1, 3, 1, 2))],
    "more tensors than short numbers": tensors(100),
    "views of one storage": [SHARED, SHARED[1:], SHARED.view(2, 3).T, SHARED] * 30,
    "views of one storage, behind many tensors": [*tensors(50).values(), SHARED, SHARED[2:], SHARED[2:], SHARED],
    "dtypes": [ptfile.zeros(3, dtype=dtype) for dtype in (ptfile.int64, ptfile.bool, ptfile.bfloat16)] * 20,
    "a first tensor behind so many values that its numbers are long": [*map(str, range(250)), SHARED, SHARED[1:]],
    "a first tensor whose numbers are just short": [*map(str, range(243)), SHARED],
    "a first tensor whose class was named": [{}, "torch", ptfile.zeros(0), SHARED],
    "a device": ptfile.Tensor(ptfile.UntypedStorage(bytes(8), "cuda:1"), ptfile.float32, 0, (2,), (1,), True),
    "texts that the format uses too": {"storage": "cpu", "0": "torch", "cpu": "0", "x": tensors(12)},
    "texts met again": [TEXT, INSIDE, TEXT, INSIDE, "", ""],
    "texts of every kind": ["", "é", "模", "\ud800", "\0", "x" * 300],
    "ints": [sign * (1 << bits) + more for bits in (0, 8, 16, 31, 63, 200) for sign in (1, -1) for more in (-1, 0, 1)],
    "floats": [0.0, -0.0, 1.5, float("inf"), float("nan"), sys.float_info.max],
    "constants": [None, True, False],
    "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), ((),), ((1,), (1,))],
    "a tuple met again": [INSIDE, (1, 2), *[(3, TEXT)] * 3],
    "lists": [[], [1], [1, 2], [[]], list(range(999)), list(range(1000)), list(range(1001)), list(range(2001))],
    "dicts": [{}, {1: 2}, *[dict.fromkeys(range(n)) for n in (2, 999, 1000, 1001, 2000, 2001)]],
    "ordered dicts": [OrderedDict(), *[OrderedDict.fromkeys(range(n)) for n in (1, 2, 999, 1000, 1001, 2000, 2001)]],
    "a dict met again": [ORDERED, {"a": ORDERED}, ORDERED],
    "attributes of a dict": with_attributes(),
    "the class of dicts": {"x": OrderedDict(), "y": tensors(1)},
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_plain_trees_are_written_as_the_pickler_writes_them(name: str) -> None:
    """Every kind of value, and each number of items at which batches end."""
    written = plainly(PLAIN[name])

    assert written is not None
    assert written == by_pickler(PLAIN[name])


def test_a_list_inside_itself_is_a_reference() -> None:
    """A dict and an OrderedDict likewise."""
    tree: list[Any] = [{}, OrderedDict()]
    tree[0]["back"] = tree[1]["back"] = tree
    tree.append(tree)

    assert plainly(tree) == by_pickler(tree)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["storage", "cpu", "0", "1", TEXT]),
    st.sampled_from([SHARED, SHARED[1:], ptfile.tensor(3)]),
    st.builds(lambda size: ptfile.zeros(size), st.integers(0, 3)),
)
KEYS = st.one_of(
    st.integers(0, 300), st.text(max_size=3), st.sampled_from(["0", "cpu", TEXT]), st.none(), st.booleans()
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(KEYS, inner, max_size=5),
        st.dictionaries(KEYS, inner, max_size=5).map(OrderedDict),
        inner.map(lambda value: [value, value]),
    ),
    max_leaves=20,
)


@given(TREES, st.sampled_from([0, 40]))
def test_any_plain_tree_is_written_as_the_pickler_writes_it(tree: object, before: int) -> None:
    """With short numbers in the memo, and with long ones."""
    whole = [list(tensors(before).values()), tree]

    assert plainly(whole) == by_pickler(whole)


def deep(depth: int) -> list[Any]:
    tree: list[Any] = []
    for _ in range(depth):
        tree = [tree]
    return tree


def attributed() -> ptfile.Tensor:
    tensor = ptfile.zeros(2)
    tensor.python_side = ptfile.load  # type: ignore[assignment]  # anything but None
    return tensor


RECURSIVE: list[Any] = []
RECURSIVE.append((1, RECURSIVE))


@pytest.mark.parametrize(
    "tree",
    [
        {1, 2},
        b"bytes",
        [complex(1, 2)],
        int,
        len,
        ptfile.Parameter(ptfile.zeros(2)),
        ptfile.zeros(2, dtype=ptfile.uint16),
        ptfile.complex64,
        ptfile.zeros(2).untyped_storage(),
        ptfile.Tensor(ptfile.UntypedStorage.meta(8), ptfile.float32, 0, (2,), (1,)),
        ptfile.Tensor(ptfile.UntypedStorage(bytes(8), "xla:0"), ptfile.float32, 0, (2,), (1,)),
        ptfile.Tensor(ptfile.UntypedStorage(bytes(9)), ptfile.float32, 0, (2,), (1,)),
        attributed(),
        type("MyDict", (dict,), {})(),
        1 << 5000,
        deep(60),
        "x" * (1 << 16),
        list(range(100_000)),
        dict.fromkeys(range(100_000)),
        RECURSIVE[0],
    ],
    ids=lambda tree: type(tree).__name__,
)  # fmt: skip
def test_all_else_is_left_to_the_pickler(tree: object) -> None:
    """Also what is plain and would take longer here: many scalars, much text."""
    assert plainly(tree) is None
    assert plainly([1, tree]) is None


def test_a_type_that_someone_has_a_reducer_for_is_left_to_the_pickler(monkeypatch: pytest.MonkeyPatch) -> None:
    """`copyreg.pickle(OrderedDict, ...)` goes before what OrderedDict says itself."""
    monkeypatch.setitem(copyreg.dispatch_table, OrderedDict, lambda value: (OrderedDict, (list(value.items()),)))

    assert plainly({"a": 1}) is None


def test_a_tree_of_many_tensors_is_written_to_the_end() -> None:
    """The bytes of tensors are no reason to give up."""
    tree = tensors(3000)

    assert plainly(tree) == by_pickler(tree)


def test_a_pickle_given_up_leaves_no_storage_behind() -> None:
    """The tensors in front of what is not plain are met again by the pickler."""
    saved = SavedStorages()
    last = ptfile.ones(2)
    assert encode_plain([ptfile.zeros(2), last, {1, 2}], plain_tensors(saved)) is None
    saved.forget()

    assert saved.storages == []
    assert saved.name(last.untyped_storage(), last.dtype, 2)[2] == "0"
