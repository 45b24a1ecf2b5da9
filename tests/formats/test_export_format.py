"""Reading the weights of torch.export files."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

import ptfile
from ptfile.errors import FormatError, TensorError, UnsafeError, UnsupportedError
from ptfile.formats.opening import zip_dialect
from ptfile.tensors.parameter import Parameter
from tests.formats.zip_file import BAD_GLOBAL, GOLDEN, golden, zip_of

NEW = golden("export-2.13.0.pt2")
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"


def _saved(value: object) -> bytes:
    stream = io.BytesIO()
    ptfile.save(value, stream)
    return stream.getvalue()


# PyTorch 2.9 and later


@pytest.mark.parametrize("mmap", [False, True])
def test_weights_and_constants(mmap: bool) -> None:
    """Names, dtypes, views, sharing and gradients are those of the exported program, in its order."""
    program = ptfile.load(GOLDEN / "export-2.13.0.pt2", mmap=mmap)
    weights = program["state_dict"]
    assert list(weights) == ["w", "whole", "tail", "f8"]
    assert weights["w"].tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert type(weights["w"]) is Parameter
    assert weights["w"].requires_grad
    assert (weights["whole"].dtype, weights["whole"].tolist()) == (ptfile.int16, [0, 1, 2, 3, 4])
    assert (weights["tail"].storage_offset(), weights["tail"].tolist()) == (3, [3, 4])
    assert weights["tail"].untyped_storage() is weights["whole"].untyped_storage()
    assert (weights["f8"].dtype, weights["f8"].tolist()) == (ptfile.float8_e5m2, [1.0, 1.0])
    assert [value.tolist() for value in program["constants"].values()] == [[7.0]]


def test_map_location() -> None:
    """Tags of devices are mapped as in any checkpoint, from those in the file."""
    config = NEW[WEIGHTS].replace(b'"cpu", "index": null', b'"cuda", "index": 1')
    file = {**NEW, WEIGHTS: config}
    assert ptfile.load(zip_of(file))["state_dict"]["w"].device == "cuda:1"
    mapped = ptfile.load(zip_of(file), map_location={"cuda:1": "cuda:0"})
    assert mapped["state_dict"]["w"].device == "cuda:0"


def test_several_programs() -> None:
    """Each program of a file with several has weights of its own, under its name."""
    two = {**NEW, "models/b.json": b"{}", "data/weights/b_weights_config.json": NEW[WEIGHTS]}
    programs = ptfile.load(zip_of({**two, "data/constants/b_constants_config.json": b'{"config": {}}'}))
    assert sorted(programs) == ["b", "model"]
    assert programs["b"]["constants"] == {}
    assert programs["b"]["state_dict"].keys() == programs["model"]["state_dict"].keys()


def test_weights_saved_by_torch_save() -> None:
    """The first PT2 archives kept whole dicts in files of torch.save."""
    old = {name: content for name, content in NEW.items() if name not in (WEIGHTS, CONSTANTS)}
    old |= {"data/weights/model.pt": _saved({"w": ptfile.ones(2)}), "data/constants/model.pt": _saved({})}
    program = ptfile.load(zip_of(old))
    assert program["state_dict"]["w"].tolist() == [1.0, 1.0]
    assert program["constants"] == {}


def _constant(path: str, content: bytes, **options: Any) -> Any:
    entry = {"path_name": path, "is_param": False, "use_pickle": True, "tensor_meta": None}
    config = json.dumps({"config": {"x": entry}}).encode()
    file = zip_of({**NEW, CONSTANTS: config, f"data/constants/{path}": content})
    return ptfile.load(file, **options)["constants"]["x"]


def test_pickled_values() -> None:
    """Subclasses of tensors, objects of TorchScript and other values are pickled, each in a way of its own."""
    assert _constant("tensor_0", _saved(ptfile.ones(2))).tolist() == [1.0, 1.0]
    assert _constant("opaque_obj_0", b"\x80\x02K\x05.") == 5
    script = zip_of({"data.pkl": b"\x80\x02c__torch__\nThing\n)\x81K\x05\x85b.", "constants.pkl": b"\x80\x02)."})
    assert _constant("custom_obj_0", script.getvalue()).inert_state == (5,)
    for path in ("opaque_obj_0", "custom_obj_0", "tensor_0"):
        content = BAD_GLOBAL if path == "opaque_obj_0" else zip_of({"data.pkl": BAD_GLOBAL}).getvalue()
        with pytest.raises(UnsafeError):
            _constant(path, content)
    with pytest.raises(FormatError):
        _constant("opaque_obj_0", b"\x80\x02K\x05Q.")


def test_a_pickle_that_a_config_names_many_times_is_run_once() -> None:
    """Else each of a few dozen bytes of JSON would cost as much as the pickle."""
    entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
    config = json.dumps({"config": {"x": entry, "y": entry}}).encode()
    program = ptfile.load(zip_of({**NEW, CONSTANTS: config, "data/constants/opaque_obj_0": b"\x80\x02]."}))
    assert program["constants"]["x"] is program["constants"]["y"]


def _changed(**changes: Any) -> Any:
    """The golden file with the weight `w` described otherwise."""
    config = json.loads(NEW[WEIGHTS])
    entry = config["config"]["w"]
    for name, value in changes.items():
        (entry if name in entry else entry["tensor_meta"])[name] = value
    return ptfile.load(zip_of({**NEW, WEIGHTS: json.dumps(config).encode()}))


def test_changes_that_fit() -> None:
    """The description alone says how the bytes are looked at."""
    weight = _changed(sizes=[{"as_int": 4}], strides=[{"as_int": 1}], is_param=False)["state_dict"]["w"]
    assert weight.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert type(weight) is ptfile.Tensor
    assert weight.requires_grad


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"sizes": [{"as_int": 3}, {"as_int": 2}]}, TensorError),
        ({"sizes": [{"as_int": -2}, {"as_int": 2}]}, TensorError),
        ({"sizes": [{"as_int": 2**62}, {"as_int": 2**62}]}, TensorError),
        ({"sizes": [{"as_int": 2}]}, TensorError),
        ({"strides": [{"as_int": 9}, {"as_int": 1}]}, TensorError),
        ({"storage_offset": {"as_int": 1}}, TensorError),
        ({"storage_offset": {"as_int": -1}}, TensorError),
        ({"storage_offset": {"as_int": True}}, FormatError),
        ({"storage_offset": None}, FormatError),
        ({"sizes": [{"as_expr": {"expr_str": "s0"}}]}, FormatError),
        ({"sizes": 4}, FormatError),
        ({"dtype": 8}, TensorError),  # two elements where four are wanted
        ({"dtype": 0}, UnsupportedError),
        ({"dtype": 13.0}, FormatError),
        ({"dtype": 11, "path_name": "weight_2"}, TensorError),  # half an element
        ({"layout": 1}, UnsupportedError),
        ({"requires_grad": None}, FormatError),
        ({"device": "cpu"}, FormatError),
        ({"device": {"type": "cuda", "index": "0"}}, FormatError),
        ({"path_name": "weight_99"}, FormatError),
        ({"path_name": "../weights/weight_0"}, FormatError),
        ({"path_name": 0}, FormatError),
        ({"use_pickle": 1}, FormatError),
        ({"is_param": None}, FormatError),
        ({"tensor_meta": None}, FormatError),
    ],
)
def test_lying_descriptions(changes: dict[str, Any], error: type[Exception]) -> None:
    """Sizes that the bytes contradict, and fields of other types, are errors: no tensor is made."""
    with pytest.raises(error):
        _changed(**changes)


@pytest.mark.parametrize(
    "config", [b"", b"[]", b"{}", b'{"config": []}', b'{"config": {"w": 1}}', b'{"config": {}, "config": {}}']
)
def test_configs_of_another_shape(config: bytes) -> None:
    """A config that is not an object of entries is an error that names the record."""
    with pytest.raises(FormatError) as caught:
        ptfile.load(zip_of({**NEW, WEIGHTS: config}))
    assert caught.value.record == WEIGHTS


@pytest.mark.parametrize("missing", [WEIGHTS, CONSTANTS, "data/weights/weight_0"])
def test_missing_records(missing: str) -> None:
    """What the archive says it has must be there."""
    with pytest.raises(FormatError):
        ptfile.load(zip_of({name: content for name, content in NEW.items() if name != missing}))


def test_compiled_code() -> None:
    """A package without an exported program is an error that says what to do."""
    with pytest.raises(UnsupportedError, match="aoti_load_package"):
        ptfile.load(zip_of({"archive_format": b"pt2"}))


# PyTorch 2.1 to 2.8


PROGRAM = "serialized_exported_program.json"
OF_2_1 = (GOLDEN / "state_dict-2.1.2.pt").read_bytes()
BIAS = [-0.4393689036369324, -0.4660453796386719, -0.30637603998184204]


@pytest.mark.parametrize("deflated", [False, True])
def test_file_of_2_1(deflated: bool) -> None:
    """The state dict is a file of torch.save, called .json; constants there were none."""
    records = {PROGRAM: b"{}", "serialized_state_dict.json": OF_2_1, "version": b"1"}
    assert zip_dialect(records, "") == PROGRAM
    program = ptfile.load(zip_of(records, root="", deflated=deflated))
    assert list(program["state_dict"]) == ["L__self___fc.weight", "L__self___fc.bias"]
    assert program["state_dict"]["L__self___fc.bias"].tolist() == BIAS
    assert program["constants"] == {}


def test_file_of_2_8() -> None:
    """Later ones have constants as well, or nothing at all in that record."""
    records = {PROGRAM: b"{}", "serialized_state_dict.pt": OF_2_1, "serialized_example_inputs.pt": b""}
    constants = _saved({"c": ptfile.ones(2)})
    program = ptfile.load(zip_of({**records, "serialized_constants.pt": constants}, root=""))
    assert program["constants"]["c"].tolist() == [1.0, 1.0]
    assert ptfile.load(zip_of({**records, "serialized_constants.pt": b""}, root=""))["constants"] == {}


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"not a file of torch.save", FormatError),
        (_saved([1]), FormatError),
        (OF_2_1[:-30], FormatError),
        (OF_2_1.replace(b"\xf6\xf4", b"\xf6\xf5"), FormatError),  # a byte of a weight, whose checksum tells
        (zip_of({"data.pkl": BAD_GLOBAL}).getvalue(), UnsafeError),
    ],
)
def test_bad_files_inside(content: bytes, error: type[Exception]) -> None:
    """A state dict that is damaged, unsafe or no dict is an error that names the record."""
    with pytest.raises(error) as caught:
        ptfile.load(zip_of({PROGRAM: b"{}", "serialized_state_dict.pt": content}, root=""))
    assert "serialized_state_dict.pt" in str(caught.value)
