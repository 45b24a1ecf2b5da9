"""Reading TorchScript archives of all ages without running anything in them."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest

import ptfile
from ptfile.errors import FormatError, LimitError, TensorError, UnsafeError, UnsupportedError
from ptfile.formats.modules import state_dict
from ptfile.formats.opening import zip_dialect
from ptfile.formats.torchscript_modules import Declaration, parse_declarations
from ptfile.formats.torchscript_tables import plain_calls
from tests.formats.zip_file import BAD_GLOBAL, EMPTY_DICT, EMPTY_TUPLE, GOLDEN, golden, zip_of

BIAS = [-0.4393689036369324, -0.4660453796386719, -0.30637603998184204]
"""`fc.bias` of the corpus' TinyNet, from its JSON."""
WEIGHT_ROW = [0.1490311622619629, -0.4481070041656494, 0.2320793867111206, -0.4221752882003784]


# the layouts


def test_lite_interpreter() -> None:
    """A .ptl file gives its module's weights under PyTorch's names; its bytecode does not matter."""
    root = ptfile.load(GOLDEN / "lite-2.13.0.ptl")
    found = state_dict(root)
    assert list(found) == ["fc.weight", "fc.bias"]
    assert found["fc.bias"].tolist() == BIAS
    assert found["fc.weight"].tolist()[0] == WEIGHT_ROW
    assert root.inert_class == "__torch__.make_corpus.TinyNet"
    assert root.fc.weight.requires_grad


def test_table_of_1_0() -> None:
    """Files of PyTorch 1.0 keep modules in model.json and tensors in a table."""
    root = ptfile.load(GOLDEN / "script-1.0.1.pt")
    found = state_dict(root)
    assert list(found) == ["fc.bias", "fc.weight"]
    assert found["fc.bias"].tolist() == BIAS
    assert found["fc.weight"].shape == (3, 4)
    assert found["fc.weight"].tolist()[0] == WEIGHT_ROW


def test_buffers_of_1_4() -> None:
    """Where the code lists no buffers, tensors that are no parameters are the buffers, in the order of the file."""
    found = state_dict(ptfile.load(GOLDEN / "container-1.4.0.pt"))
    assert list(found) == ["b", "a"]
    assert found["a"].tolist() == [0, 1, 2, 3]
    assert (found["b"].stride(), found["b"].tolist()) == ((1, 3), [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]])


def test_kinds_of_attributes() -> None:
    """Parameters, buffers of any kind of tensor, plain tensors and lists each are where PyTorch has them."""
    root = ptfile.load(GOLDEN / "kinds-2.13.0.pt")
    found = state_dict(root)
    assert list(found) == ["w", "count", "sparse", "turned"]
    assert found["w"].tolist() == [[1.0, 3.0], [2.0, 4.0]]
    assert (found["count"].dtype, found["count"].item()) == (ptfile.uint16, 3)
    assert found["sparse"].to_dense().tolist() == [0.0, 5.0]
    assert found["turned"].tolist() == [1 - 2j]
    assert root.plain.tolist() == [9.0]
    assert root.names == ["a", "b"]
    assert root.inert_attributes["_parameters"].keys() == {"w"}


def test_constants() -> None:
    """Tensors that only the code uses are in the root's CONSTANTS, by the code's names."""
    root = ptfile.load(GOLDEN / "constant-2.13.0.pt")
    assert root.CONSTANTS.keys() == {"c0"}
    assert root.CONSTANTS["c0"].tolist() == [1.0, 2.0, 3.0]
    assert state_dict(root) == {}


def test_without_code() -> None:
    """An archive that lost its code still gives its weights: gradients tell parameters from buffers."""
    records = {name: content for name, content in golden("lite-2.13.0.ptl").items() if not name.startswith("code/")}
    root = ptfile.load(zip_of(records))
    assert list(state_dict(root)) == ["fc.weight", "fc.bias"]
    assert root.fc.inert_attributes["_parameters"].keys() == {"weight", "bias"}
    buffers = {name: content for name, content in golden("kinds-2.13.0.pt").items() if not name.startswith("code/")}
    assert ptfile.load(zip_of(buffers)).inert_attributes["_buffers"].keys() == {"count", "plain", "sparse", "turned"}


def test_deflated_members() -> None:
    """It makes no difference whether the records are compressed."""
    root = ptfile.load(zip_of(golden("lite-2.13.0.ptl"), deflated=True))
    assert state_dict(root)["fc.bias"].tolist() == BIAS


@pytest.mark.parametrize("name", ["lite-2.13.0.ptl", "script-1.0.1.pt"])
def test_every_way_to_read(name: str) -> None:
    """Read whole, mapped, as inert and with weights_only=False the weights are the same, and nothing is imported."""
    ways: list[dict[str, Any]] = [{}, {"mmap": True}, {"unknown": "inert"}, {"weights_only": False}]
    for way in ways:
        root = ptfile.load(GOLDEN / name, map_location="cuda:1", **way)
        assert root.fc.bias.tolist() == BIAS
        assert root.fc.bias.device == "cuda:1"


def test_other_byte_order() -> None:
    """A big-endian archive is turned by the dtypes of its storages."""
    records = golden("lite-2.13.0.ptl")
    for name in ("data/0", "data/1"):
        records[name] = np.frombuffer(records[name], "<f4").astype(">f4").tobytes()
    root = ptfile.load(zip_of({**records, "byteorder": b"big"}))
    assert root.fc.bias.tolist() == BIAS


def test_dialects_of_zip_files() -> None:
    """What kind a zip file is, is told by one record that only this kind has."""
    names = {"n/data.pkl": None, "n/constants.pkl": "constants.pkl", "n/.data/extern_modules": ".data/extern_modules"}
    seen: set[str] = set()
    for name, mark in names.items():
        seen.add(name)
        assert zip_dialect(seen, "n/") == mark


def test_declarations() -> None:
    """Classes are read from the code as text: whether they are modules, and their lists of names."""
    code = (
        'class A(Module):\n  __parameters__ = ["w", "0", ]\n  __buffers__ = []\n  w : Tensor\n'
        "  def forward(self: __torch__.A) -> Tensor:\n    return self.w\n"
        "class B:\n  x : int\n"
    )
    found = parse_declarations(code)
    assert found["A"] == Declaration(is_module=True, parameters=frozenset({"w", "0"}), buffers=frozenset())
    assert not found["B"].is_module


# objects


def _script(pickled: bytes, **more: bytes) -> Any:
    return ptfile.load(zip_of({"data.pkl": b"\x80\x02" + pickled, "constants.pkl": EMPTY_TUPLE, **more}))


def test_enumerations() -> None:
    """TorchScript calls an enumeration with its value as it is, without a tuple."""
    value = _script(b"c__torch__\nColor\nK\x02R.")
    assert value.inert_class == "__torch__.Color"
    assert value.inert_arguments == (2,)


def test_types_of_lists() -> None:
    """Lists come with their static types, which mean nothing here."""
    value = _script(
        b"ctorch.jit._pickle\nbuild_intlist\n]K\x01a\x85Rctorch.jit._pickle\nrestore_type_tag\n]\x8c\x01t\x86R\x86."
    )
    assert value == ([1], [])


def test_objects_of_other_classes() -> None:
    """An object of a class that is no module keeps its attributes as they are, and one with a state its state."""
    assert _script(b"c__torch__\nThing\n)\x81}\x8c\x01xK\x05sb.").inert_state == {"x": 5}
    assert _script(b"c__torch__.torch.classes.q\nPacked\n)\x81K\x01K\x02\x86b.").inert_state == (1, 2)


# tables


TABLES: dict[str, Any] = {
    "protoVersion": "2",
    "mainModule": {
        "name": "net",
        "parameters": [{"isBuffer": True, "tensorId": "0", "name": "count"}],
        "attributes": [
            {"type": "int", "name": "least", "id": "0"},
            {"type": "Tensor", "name": "seen", "id": "1"},
            {"type": "List[int]", "name": "sizes", "id": "2"},
            {"type": "Optional[int]", "name": "nothing", "id": "-1"},
        ],
    },
    "tensors": [
        {
            "dims": ["2"],
            "offset": str(offset),
            "strides": ["1"],
            "requiresGrad": False,
            "dataType": "INT64",
            "data": {"key": "tensors/0"},
            "device": "cpu",
        }
        for offset in (0, 1, 2)
    ],
}
NUMBERS = struct.pack("<4q", 10, 20, 30, 40)
# As pickler.cpp of 1.1 wrote it: classes made by NEWOBJ and replaced by BUILD, integers of one signed byte.
OF_1_1 = (
    b"\x80\x02](K\xffc__main__\nTensorID\nq\x00)\x81J\x01\x00\x00\x00bc__main__\nIntList\nq\x01)\x81](K\x03K\x80ebe."
)
OF_1_2 = (
    b"\x80\x02(K\xffctorch.jit._pickle\nbuild_tensor_from_id\nq\x00(K\x01tR"
    b"ctorch.jit._pickle\nbuild_intlist\nq\x01(](K\x03K\x80etRt."
)


def tables(pickled: bytes | None = OF_1_2, **changes: Any) -> dict[str, bytes]:
    records = {"version": b"1\n", "tensors/0": NUMBERS, "model.json": json.dumps({**TABLES, **changes}).encode()}
    return records if pickled is None else {**records, "attributes.pkl": pickled}


def tensor_with(**changes: Any) -> dict[str, bytes]:
    first, *others = TABLES["tensors"]
    return tables(tensors=[{**first, **changes}, *others])


@pytest.mark.parametrize("pickled", [OF_1_1, OF_1_2], ids=["1.1", "1.2"])
def test_attributes_of_tables(pickled: bytes) -> None:
    """Attributes refer to the table of tensors; their one byte integers have a sign; what is unused is a constant."""
    root = ptfile.load(zip_of(tables(pickled)))
    assert (root.least, root.seen.tolist(), root.sizes, root.nothing) == (-1, [20, 30], [3, -128], None)
    assert root.count.tolist() == [10, 20]
    assert root.count.untyped_storage() is root.seen.untyped_storage()
    assert {name: tensor.tolist() for name, tensor in root.CONSTANTS.items()} == {"c2": [30, 40]}


def test_quantized_tensor_of_tables() -> None:
    """A quantized tensor has its scale and zero point in the table."""
    quantized = {"dataType": "INT8", "isQuantized": True, "scale": 0.5, "zeroPoint": "1"}
    count = ptfile.load(zip_of(tensor_with(**quantized, data={"key": "more"}) | {"more": b"\x05\x07"})).count
    assert count.dtype is ptfile.qint8
    assert count.dequantize().tolist() == [2.0, 3.0]


def test_plain_calls_keep_other_pickles() -> None:
    """A pickle without the habits of old versions is left as it is, bytes behind its end included."""
    assert plain_calls(b"\x80\x02K\x05.rest") == b"\x80\x02K\x05.rest"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (tensor_with(dims=["5"]), TensorError),
        (tensor_with(dims=["-1"]), TensorError),
        (tensor_with(dims=[str(2**63)]), TensorError),
        (tensor_with(offset="9" * 21), FormatError),
        (tensor_with(offset=1.5), FormatError),
        (tensor_with(strides=["1", "1"]), TensorError),
        (tensor_with(dataType="STRING"), UnsupportedError),
        (tensor_with(dataType="FLOAT"), TensorError),  # the record is of int64 to the others
        (tensor_with(dataType="FLOAT16", data={"key": "version"}) | {"version": b"123"}, TensorError),
        (tensor_with(data={"key": "../secret"}), FormatError),
        (tensor_with(data=None), FormatError),
        (tables(tensors={}), FormatError),
        (tables(mainModule=[]), FormatError),
        (tables(mainModule={"parameters": [{"name": "w", "tensorId": "3"}]}), FormatError),
        (tables(mainModule={"parameters": [{"name": "w", "tensorId": "-1"}]}), FormatError),
        (tables(mainModule={"parameters": [{"name": "w", "tensorId": "0"}] * 2}), FormatError),
        (tables(mainModule={"submodules": [{"name": "m"}] * 2}), FormatError),
        (tables(mainModule={"attributes": [{"name": "a", "id": "3"}]}), FormatError),
        (tables(None), FormatError),  # there are attributes, and no pickle of them
        (tables(b"\x80\x02K\x01."), FormatError),
        (tables(b"\x80\x02ctorch.jit._pickle\nbuild_tensor_from_id\nK\x09\x85R\x85."), FormatError),
        (tables(BAD_GLOBAL), UnsafeError),
        ({"model.json": b"{"}, FormatError),
        ({"model.json": b'{"tensors": [], "tensors": []}'}, FormatError),
        ({"model.json": b"\xff"}, FormatError),
        ({"model.json": b"[" * 100_000}, LimitError),
        ({"model.json": b"9" * 5_000}, LimitError),
    ],
)
def test_bad_tables(change: dict[str, bytes], error: type[Exception]) -> None:
    """Numbers that the bytes contradict, names that lead nowhere and JSON of another shape are errors."""
    with pytest.raises(error):
        ptfile.load(zip_of(change))


def test_deep_tables() -> None:
    """Modules inside modules are walked without recursion."""
    module: dict[str, Any] = {"name": "m", "parameters": [{"name": "w", "tensorId": "0"}]}
    for _ in range(200):
        module = {"name": "m", "submodules": [module]}
    root = ptfile.load(zip_of(tables(mainModule=module)))
    assert list(state_dict(root)) == ["m." * 200 + "w"]


# bad archives


@pytest.mark.parametrize("record", ["data.pkl", "constants.pkl"])
def test_bad_global(record: str) -> None:
    """A name outside __torch__ that is in no table is unsafe, in each pickle that is read."""
    with pytest.raises(UnsafeError) as caught:
        ptfile.load(zip_of({**golden("lite-2.13.0.ptl"), record: BAD_GLOBAL}))
    assert (caught.value.name, caught.value.record) == ("posix.system", record)


@pytest.mark.parametrize("pickled", [b"c__torch___\nx\n.", b"ctorch\n__torch__.x\n.", b"c__torch__\nx\n)R)R."])
def test_only_torchscript_is_data(pickled: bytes) -> None:
    """Only the classes of __torch__ itself are data, and what they made cannot be called."""
    with pytest.raises((UnsafeError, FormatError)):
        _script(pickled)


def test_elsewhere_torchscript_is_unknown() -> None:
    """In a plain checkpoint the same name is as unsafe as any other."""
    with pytest.raises(UnsafeError):
        ptfile.load(zip_of({"data.pkl": b"\x80\x02c__torch__\nx\n."}))


@pytest.mark.parametrize(
    ("records", "error"),
    [
        ({"constants.pkl": EMPTY_TUPLE}, FormatError),  # no data.pkl
        ({"constants.pkl": EMPTY_DICT, "data.pkl": EMPTY_DICT}, FormatError),
        ({"constants.pkl": b"\x80\x02K\x01\x85.", "data.pkl": EMPTY_DICT}, FormatError),  # constants of no object
        ({"constants.pkl": EMPTY_TUPLE, "data.pkl": EMPTY_DICT + b"more"}, FormatError),
        ({**golden("lite-2.13.0.ptl"), "data/0": b"\0" * 44}, TensorError),
        ({**golden("lite-2.13.0.ptl"), "byteorder": b"middle"}, FormatError),
        ({**golden("lite-2.13.0.ptl"), "code/__torch__/make_corpus.py": b"\xff"}, FormatError),
        ({name: content for name, content in golden("lite-2.13.0.ptl").items() if name != "data/1"}, FormatError),
    ],
)
def test_bad_archives(records: dict[str, bytes], error: type[Exception]) -> None:
    """Records that are missing, of a wrong size or of another kind are errors."""
    with pytest.raises(error):
        ptfile.load(zip_of(records))


@pytest.mark.parametrize(
    "pickled",
    [
        b"c__torch__\nM\n)\x81}\x8c\x08trainingK\x01s}b}b.",
        b"c__torch__\nM\n)\x81}(\x8c\x08training\x88\x8c\x08_modules}ub.",
        b"(\x8c\x07storagectorch\nFloatStorage\n\x8c\x010\x8c\x03cpuK\x01K\x01tQ.",
        b"K\x01Q.",
        b"ctorch._utils\n_rebuild_sparse_tensor\n(K\x07)tR.",
        b"ctorch._utils\n_rebuild_sparse_tensor\n(K\x01tR.",
        b"ctorch._utils\n_rebuild_qtensor\n(K\x01tR.",
        b"ctorch\ndevice\nK\x01R.",
    ],
)
def test_bad_objects(pickled: bytes) -> None:
    """States, persistent ids and calls that TorchScript does not write are errors."""
    with pytest.raises((FormatError, TensorError)):
        _script(pickled)
