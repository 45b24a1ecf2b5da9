"""`ptfile.digest`: the same for all ways to save an object, another for every other object."""

from __future__ import annotations

import argparse
import array
import collections
import datetime
import decimal
import fractions
import hashlib
import io
import json
import pathlib
import re
import tracemalloc
import types
import uuid
import zipfile
from collections import OrderedDict, defaultdict, deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ptfile
from ptfile.machine.inert import InertRecord
from ptfile.machine.names import InertName
from ptfile.tensors.constants import LAYOUTS
from ptfile.tensors.python_side import PythonSide
from tests.formats.zip_file import zip_of
from tests.golden.corpus import Corpus, files
from tests.golden.outcome import natural_encoding
from tests.golden.walk import Node


def digest_of(value: Any, **options: Any) -> str:
    buffer = io.BytesIO()
    ptfile.save(value, buffer, **options)
    buffer.seek(0)
    return ptfile.digest(buffer)


def model() -> dict[str, Any]:
    """A value with some of everything."""
    weight = ptfile.arange(12, dtype=ptfile.float32).reshape(3, 4)
    record = InertRecord(InertName("my.module", "Config"), (1, "a"), "new")
    record.inert_state = {"rate": 0.1, "weight": weight}
    return {
        "weight": ptfile.Parameter(weight),
        "view": weight[1:, ::2],
        "counts": collections.Counter("abca"),
        "tags": {"a", "b", 3, (1, 2)},
        "record": record,
        "array": np.arange(5, dtype=np.int16),
        "nothing": [None, True, 1.5, b"raw", "text", 1 << 80],
    }


MODEL = digest_of(model())


def test_it_is_a_version_and_sixty_four_digits() -> None:
    """The version is that of the rules."""
    assert re.fullmatch("ptfile1:[0-9a-f]{64}", MODEL)


def node(*parts: bytes) -> bytes:
    """What docs/digest.md says of a value with parts, each after its length."""
    return b"@" + hashlib.sha256(b"".join(len(part).to_bytes(8, "little") + part for part in parts)).digest()


def test_it_is_made_by_the_rules_of_its_version() -> None:
    """A digest that someone wrote down years ago has to be found again: other rules need another version."""
    value = {"w": ptfile.Parameter(ptfile.tensor([[1.0], [2.0]])), "tags": {"b", "a"}, "n": [-1, 256, 0.5, None, True]}
    shape = node(b"tuple", b"int:\x02", b"int:\x02", b"int:\x01")
    elements = b"@" + hashlib.sha256(b"\0\0\x80\x3f\0\0\0\x40").digest()
    weight = node(b"Parameter", b"DType:float32", shape, b"bool:1", elements)
    tags = node(b"set", b"str:a", b"str:b")
    number = b"float:\0\0\0\0\0\0\xe0\x3f"
    numbers = node(b"list", b"int:\x05", b"int:\xff", b"int:\0\x01", number, b"None:", b"bool:1")
    root = node(b"dict", b"int:\x03", b"str:w", weight, b"str:tags", tags, b"str:n", numbers)
    assert digest_of(value) == f"ptfile1:{node(b'checkpoint', root)[1:].hex()}"


# what it does not depend on


@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("zipped", [True, False])
def test_protocol_and_format_do_not_matter(protocol: int, zipped: bool) -> None:
    """Nor the ways in which pickles say the same."""
    assert digest_of(model(), pickle_protocol=protocol, _use_new_zipfile_serialization=zipped) == MODEL


class Plain:
    """An object with attributes, pickled as Python does."""

    def __init__(self) -> None:
        self.rate = 0.1


class Slotted(Plain):
    """With slots as well, and made with arguments."""

    __slots__ = ("weight",)

    weight: Any

    def __init__(self, *_: Any) -> None:
        super().__init__()
        self.weight = ptfile.arange(3)

    def __getnewargs__(self) -> tuple[Any, ...]:
        return (1, "a")


@pytest.mark.parametrize("kind", [Plain, Slotted])
def test_protocols_that_make_an_object_in_other_ways_say_the_same(kind: Any) -> None:
    """By an opcode, or by calling a function of `copyreg`."""
    protocols = (1, 2, 3, 4, 5) if kind is Plain else (2, 3, 4, 5)  # protocol 1 knows no slots
    assert len({digest_of(kind(), pickle_protocol=protocol) for protocol in protocols}) == 1
    assert digest_of(Plain()) != digest_of(Slotted())


def test_alignment_checksums_and_what_is_left_out_do_not_matter() -> None:
    """How the bytes lie in the file is not what it says."""
    assert digest_of(model(), storage_alignment=4096) == MODEL
    assert digest_of(model(), checksum=False) == MODEL
    assert digest_of(model(), storages="reachable") == MODEL


def test_the_name_of_the_file_does_not_matter(tmp_path: Path) -> None:
    """A path and a file object, wherever it stands, are read alike."""
    for name in ("a.pt", "b.ckpt"):
        ptfile.save(model(), tmp_path / name)
        assert ptfile.digest(tmp_path / name) == MODEL
    stream = io.BytesIO(b"before" + (tmp_path / "a.pt").read_bytes())
    stream.seek(6)
    assert ptfile.digest(stream) == MODEL


@pytest.mark.parametrize("deflated", [False, True])
def test_the_byte_order_does_not_matter(deflated: bool) -> None:
    """The same numbers, written on another machine and zipped by another program."""
    buffer = io.BytesIO()
    ptfile.save(ptfile.arange(1000, dtype=ptfile.int32), buffer)
    with zipfile.ZipFile(buffer) as file:
        records = {name.partition("/")[2]: file.read(name) for name in file.namelist()}
    records["byteorder"] = b"big"
    records["data/0"] = np.arange(1000, dtype=">i4").tobytes()
    expected = digest_of(ptfile.arange(1000, dtype=ptfile.int32))
    assert ptfile.digest(zip_of(records, deflated=deflated)) == expected
    assert digest_of(np.arange(5, dtype=">i4")) == digest_of(np.arange(5, dtype="<i4"))
    times = np.array([("x", 1)], [("name", "U4"), ("time", "M8[s]")])
    assert digest_of(times.astype(times.dtype.newbyteorder(">"))) == digest_of(times)


def test_devices_strides_and_sharing_do_not_matter() -> None:
    """Values in their logical order count; where they are, and who shares them, does not."""
    x = ptfile.arange(12).reshape(3, 4)
    assert digest_of([x.T, x[1]]) == digest_of([x.T.contiguous(), x[1].clone()])
    assert digest_of(ptfile.zeros(3, device="cuda:1")) == digest_of(ptfile.zeros(3))
    items = [1, 2]
    assert digest_of([items, items]) == digest_of([[1, 2], [1, 2]])
    assert digest_of(ptfile.zeros(1).expand(5)) == digest_of(ptfile.zeros(5))


def test_flags_are_resolved() -> None:
    """A conjugated view is the tensor of the conjugates."""
    z = ptfile.tensor([1 + 2j, 3 - 4j])
    view = ptfile.Tensor(z.untyped_storage(), z.dtype, 0, (2,), (1,), conj=True)
    assert digest_of(view) == digest_of(ptfile.tensor([1 - 2j, 3 + 4j]))
    assert digest_of(view) != digest_of(z)


def test_the_order_in_a_set_does_not_matter() -> None:
    """These two iterate in different orders, having grown differently."""
    one, other = set(range(0, 800, 8)), set(range(792, -1, -8))
    shrunk = set(range(10_000)) & one
    assert digest_of(one) == digest_of(other) == digest_of(shrunk)
    assert digest_of({"a", ("b", frozenset({1, 2}))}) == digest_of({("b", frozenset({2, 1})), "a"})
    assert digest_of({1, 2}) != digest_of({1, 3})
    assert digest_of({1, 2}) != digest_of(frozenset({1, 2}))


# what it depends on


def changed_models() -> dict[str, Any]:
    """The model with one thing changed in each."""
    made: dict[str, Any] = {}

    def change(name: str, key: str, value: Any) -> None:
        made[name] = model() | {key: value}

    weight = ptfile.arange(12, dtype=ptfile.float32).reshape(3, 4)
    other = weight.clone()
    other[2, 3] = 11.000001
    change("an element", "weight", ptfile.Parameter(other))
    change("a shape", "weight", ptfile.Parameter(weight.reshape(4, 3)))
    change("a dtype", "weight", ptfile.Parameter(weight.view(ptfile.bfloat16)[:, :4]))
    change("a dtype alone", "weight", ptfile.tensor([0], dtype=ptfile.int32))
    change("no gradient", "weight", ptfile.Parameter(weight, requires_grad=False))
    change("no parameter", "weight", weight)
    change("a view", "view", weight[1:, 1::2])
    change("a count", "counts", collections.Counter("abcaa"))
    change("a set", "tags", {"a", "b", 3, (1, 3)})
    change("an array", "array", np.array([0, 1, 2, 3, 5], np.int16))
    change("an array's dtype", "array", np.arange(5, dtype=np.uint16))
    change("true", "nothing", [None, 1, 1.5, b"raw", "text", 1 << 80])
    change("text", "nothing", [None, True, 1.5, b"raw", b"text", 1 << 80])
    change("a number", "nothing", [None, True, 1.5, b"raw", "text", (1 << 80) + 1])
    change("a tuple", "nothing", (None, True, 1.5, b"raw", "text", 1 << 80))
    change("one less", "nothing", [None, True, 1.5, b"raw", "text"])
    change("one more key", "more", None)
    made["another key"] = {("Weight" if key == "weight" else key): value for key, value in model().items()}
    made["another order"] = dict(reversed(list(model().items())))
    made["another kind of dict"] = OrderedDict(model())
    for name, record in changed_records().items():
        change(name, "record", record)
    return made


def changed_records() -> dict[str, InertRecord]:
    weight = ptfile.arange(12, dtype=ptfile.float32).reshape(3, 4)
    state = {"rate": 0.1, "weight": weight}

    def record(name: str = "Config", arguments: Any = (1, "a"), state: Any = state, **more: Any) -> InertRecord:
        made = InertRecord(InertName("my.module", name), arguments, "new")
        made.inert_state = state
        for key, value in more.items():
            setattr(made, key, value)
        return made

    return {
        "a class": record("Other"),
        "arguments": record(arguments=(1, "b")),
        "state": record(state={"rate": 0.2, "weight": weight}),
        "a tensor in a state": record(state={"rate": 0.1, "weight": weight.clone()[:2]}),
        "no state": record(state=None),
        "items": record(inert_items=[1]),
        "pairs": record(inert_pairs=[("a", 1)]),
    }


@pytest.mark.parametrize("name", list(changed_models()))
def test_one_change_makes_another_digest(name: str) -> None:
    """In the tree, in a tensor, or in what a class that ptfile does not know was given."""
    assert digest_of(changed_models()[name]) != MODEL


def values() -> list[Any]:
    """Values no two of which say the same."""
    x = ptfile.arange(4)
    noted = x.detach()
    noted.python_side = PythonSide(state={"note": 1})
    scales = ptfile.PerChannel(ptfile.ones(2, dtype=ptfile.float64), ptfile.zeros(2, dtype=ptfile.int64), 0)
    bytes_ = ptfile.UntypedStorage(bytes(4))
    zone = datetime.timezone(datetime.timedelta(hours=1))
    holds_itself: list[Any] = [1]
    holds_itself.append(holds_itself)
    holds_it_deeper: list[Any] = [1, [2]]
    holds_it_deeper[1].append(holds_it_deeper)
    return [
        *(None, True, False, 0, 1, -1, 255, 256, 1.0, -1.0, 0.0, -0.0, float("nan"), float("inf"), 1j, complex(0, -1)),
        *("", "a", "1", "None", "\ud800", b"", b"a", bytearray(b"a"), ..., NotImplemented, int, float, str),
        *([], (), {}, set(), frozenset(), OrderedDict(), defaultdict(), defaultdict(int), deque(), deque((), 5)),
        *([1], [[1]], [1, 2], [[1], 2], [[1, 2]], (1, 2), deque([1, 2]), {1: 2}, {2: 1}, {1: None}, {1}, [None]),
        *(collections.Counter(), ptfile.Size((1, 2)), ptfile.Device("cpu"), ptfile.Device("cuda", 0)),
        *(ptfile.float32, ptfile.float64, LAYOUTS["strided"], LAYOUTS["sparse_csr"]),
        *(range(3), range(0, 3, 2), slice(3), slice(0, 3), array.array("i", [1]), array.array("d", [1.0])),
        *(decimal.Decimal("1.0"), decimal.Decimal("1.00"), fractions.Fraction(1, 2), uuid.UUID(int=5)),
        *(datetime.date(2020, 1, 2), datetime.time(1, 2), datetime.timedelta(1), zone, datetime.timezone.utc),
        *(datetime.datetime(2020, 1, 2), datetime.datetime(2020, 1, 2, tzinfo=zone), datetime.datetime(2020, 1, 3)),  # noqa: DTZ001
        *(pathlib.PurePosixPath("a"), pathlib.PureWindowsPath("a"), pathlib.PurePosixPath("a/b")),
        *(argparse.Namespace(), argparse.Namespace(a=1), types.SimpleNamespace(a=1), np.float32(1), np.float64(1)),
        *(np.dtype("f4"), np.zeros(0), np.zeros((0, 2)), np.zeros(2), np.zeros((2, 1)), np.zeros(2, "U3")),
        *(np.zeros(2, [("a", "i4")]), np.zeros(2, [("b", "i4")]), np.ones(2, [("a", "i4")])),
        *(x, x[:3], x.reshape(2, 2), x.view(ptfile.float64), x[:0], x[:0].reshape(0, 3), x.view(ptfile.uint8), noted),
        *(ptfile.empty(4, dtype=ptfile.int64, device="meta"), ptfile.empty(5, dtype=ptfile.int64, device="meta")),
        *(ptfile.SparseTensor(x.reshape(2, 2), x[:2], (9, 9)), ptfile.SparseTensor(x.reshape(2, 2), x[:2], (9, 8))),
        *(
            ptfile.QuantizedTensor(bytes_, ptfile.qint8, 0, (2,), (1,), scale)
            for scale in (ptfile.PerTensor(1.0, 0), ptfile.PerTensor(1.0, 1), scales)
        ),
        *(ptfile.NestedTensor(x, y, y, z) for y, z in [(x[:2].reshape(2, 1), x[:2]), (x[1:2].reshape(1, 1), x[:1])]),
        *(bytes_, ptfile.TypedStorage(bytes_, ptfile.int32), ptfile.TypedStorage(bytes_, ptfile.float32)),
        *(holds_itself, holds_it_deeper),
    ]


def test_no_two_of_many_values_have_the_same_digest() -> None:
    """Every kind of object that loading makes, and what differs in one thing only."""
    digests = [digest_of([value]) for value in values()]
    assert [values()[place] for place, made in enumerate(digests) if digests.index(made) != place] == []
    assert digests == [digest_of([value]) for value in values()]


# what it costs, and what is an error


def test_a_list_that_is_in_another_many_times_is_hashed_once() -> None:
    """Two to the power of twenty values, by their paths."""
    nested: list[Any] = [1]
    for _ in range(20):
        nested = [nested, nested]
    assert digest_of(nested) != digest_of(nested[0])


def test_tensors_that_show_a_large_storage_again_and_again_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file must not cost hours."""
    monkeypatch.setattr("ptfile._digest.EXPANDED_COPY", 0)
    x = ptfile.zeros(10_000)
    digest_of([x[i:] for i in range(10)])
    digest_of([x[:] for _ in range(100)])
    with pytest.raises(ptfile.LimitError, match="again and again"):
        digest_of([x[i:] for i in range(40)])


@pytest.mark.parametrize("zipped", [True, False])
def test_a_large_tensor_is_never_in_memory_whole(zipped: bool, tmp_path: Path) -> None:
    """Pieces of it are."""
    path = tmp_path / "x.pt"
    ptfile.save(ptfile.zeros(16 << 20), path, _use_new_zipfile_serialization=zipped)
    tracemalloc.start()
    try:
        ptfile.digest(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 << 20


def test_a_damaged_file_is_an_error() -> None:
    """Not another digest, which somebody would take for that of the file."""
    buffer = io.BytesIO()
    ptfile.save(ptfile.from_numpy(np.frombuffer(b"pattern!" * 1000, np.uint8)), buffer)
    damaged = buffer.getvalue().replace(b"pattern!pattern!", b"pattern!pittern!", 1)
    with pytest.raises(ptfile.FormatError, match="checksum"):
        ptfile.digest(io.BytesIO(damaged))


# what PyTorch wrote


OTHER_CONTENT = {
    "np_rng_object": "numpy's generators are pickled in other ways",
    "pickler_cloudpickle_lambda": "the code of a function, for another version of Python",
    "pickler_dill": "dill pickles a class in other ways",
    "pickler_dill_lambda": "the code of a function, for another version of Python",
}
"""Cases whose description is the same in several versions, and whose files are not."""
_HOW = {"id", "storage", "stride", "storage_offset", "is_contiguous", "is_conj", "is_neg"}
"""Details of a description that a digest does not depend on."""


def described(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: described(value) for key, value in node.items() if key not in _HOW}
    return [described(item) for item in node] if isinstance(node, list) else node


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return Corpus(tmp_path_factory.mktemp("corpus"))


def test_what_is_described_alike_has_one_digest_in_all_versions_and_formats(corpus: Corpus) -> None:
    """Zip and legacy files that PyTorch 1.4 to 2.15 wrote, under Python 3."""
    digests: dict[tuple[str, str], set[str]] = {}
    count = 0
    for file in files():
        if file.kind not in ("zip", "legacy") or file.is_python2:
            continue
        expectation = corpus.expectation(file)
        if expectation.reload.get("result") != "same":
            continue
        tree: Node = described(expectation.tree)
        with corpus.opened(file) as opened:
            made = ptfile.digest(opened)
        digests.setdefault((expectation.description["case"], json.dumps(tree, sort_keys=True)), set()).add(made)
        count += 1
    assert count > 3000
    assert {case for (case, _), found in digests.items() if len(found) > 1} == set(OTHER_CONTENT)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pickle_protocol": 4, "storages": "reachable"},
        {"_use_new_zipfile_serialization": False, "pickle_protocol": 5},
    ],
    ids=str,
)
@pytest.mark.parametrize("version", ["synthetic", "torch-1.0.1-py2.7", "torch-2.13.0-py3.11"])
def test_what_is_loaded_and_saved_again_has_the_same_digest(
    corpus: Corpus, version: str, options: dict[str, Any]
) -> None:
    """In whatever way: tar, legacy and zip files, TorchScript and packages, of every kind of object."""
    count = 0
    for file in files():
        if file.version != version or file.kind == "dcp":
            continue
        encoding = natural_encoding(file)
        with corpus.opened(file) as opened:
            made = ptfile.digest(opened, encoding=encoding)
        with corpus.opened(file) as opened:
            value = ptfile.load(opened, encoding=encoding, unknown="inert")
        assert digest_of(value, **options) == made, file.name
        count += 1
    assert count > (10 if version == "synthetic" else 150)
