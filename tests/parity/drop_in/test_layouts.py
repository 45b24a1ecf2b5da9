"""Sparse, quantized, nested, meta and opaque tensors."""

from __future__ import annotations

import importlib
import pickle
import warnings
from typing import Any

import pytest

from tests.parity.drop_in.conftest import Pair
from tests.parity.drop_in.support import FORMATS, LEGACY, PYTORCH, again, described, loaded, saved, torch

importlib.import_module("torch._dynamo")  # with it, jagged tensors are allowed for weights_only
DENSE = torch.tensor([[0.0, 1, 0, 2], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 5]])


def make_layouts() -> dict[str, Any]:
    indices = torch.tensor([[0, 2, 0], [1, 0, 1]])
    values = torch.linspace(-3, 3, 12).reshape(3, 4)
    scales = torch.tensor([0.1, 0.2, 0.5])
    return {
        "coo": DENSE.to_sparse(),
        "coo uncoalesced": torch.sparse_coo_tensor(indices, torch.tensor([1.0, 2, 3]), (3, 2)),
        "coo hybrid": torch.sparse_coo_tensor(indices, torch.arange(6.0).reshape(3, 2), (3, 2, 2)),
        "coo empty": torch.sparse_coo_tensor(torch.zeros(2, 0, dtype=torch.int64), torch.zeros(0), (2, 3)),
        "coo bfloat16": DENSE.to(torch.bfloat16).to_sparse(),
        "csr": DENSE.to_sparse_csr(),
        "csr batch": torch.stack([DENSE, DENSE]).to_sparse_csr(),
        "csc": DENSE.to_sparse_csc(),
        "bsr": DENSE.to_sparse_bsr((2, 2)),
        "bsc": DENSE.to_sparse_bsc((2, 2)),
        "per tensor qint8": torch.quantize_per_tensor(values, 0.05, 10, torch.qint8),
        "per tensor quint8": torch.quantize_per_tensor(values, 0.05, 128, torch.quint8),
        "per tensor qint32": torch.quantize_per_tensor(values, 1e-6, 0, torch.qint32),
        "quantized view": torch.quantize_per_tensor(values, 0.05, 10, torch.qint8).t()[1:],
        "per channel": torch.quantize_per_channel(values, scales, torch.tensor([0, 3, 10]), 0, torch.qint8),
        "per channel float": torch.quantize_per_channel(values, scales, torch.tensor([0.5, 1, 2]), 0, torch.quint8),
        "packed quint4x2": torch.quantize_per_channel(values, scales, torch.zeros(3), 0, torch.quint4x2),
    }


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    LAYOUTS = make_layouts()
    NESTED = torch.nested.nested_tensor([torch.arange(3.0), torch.arange(6.0).reshape(3, 2)[:, 0], torch.ones(0)])
    JAGGED = torch.nested.nested_tensor([torch.arange(6.0), torch.ones(2)], layout=torch.jagged)


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_layout_survives(pair: Pair, name: str) -> None:
    """Every part of it, in both formats."""
    for options in FORMATS.values():
        result = loaded(pair.reader, saved(pair.writer, LAYOUTS[name], **options))
        assert described(result) == described(LAYOUTS[name])


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_layout_is_saved_to_the_same_bytes(lib: Any, name: str) -> None:
    """In the zip format; the parts of a sparse tensor are tensors of their own."""
    assert saved(lib, LAYOUTS[name]) == saved(PYTORCH, LAYOUTS[name])


def test_strided_nested_tensors_survive(pair: Pair) -> None:
    """Each component with its values.

    In the zip format only: PyTorch rebuilds legacy tensors before their bytes are read, and looks at the sizes here.
    """
    result = loaded(pair.reader, saved(pair.writer, NESTED))
    assert result.is_nested
    assert [part.tolist() for part in result.unbind()] == [part.tolist() for part in NESTED.unbind()]


def test_strided_nested_tensors_are_saved_to_the_same_bytes(lib: Any) -> None:
    """Buffer, sizes, strides and offsets."""
    assert saved(lib, NESTED) == saved(PYTORCH, NESTED)


def test_jagged_nested_tensors_survive(pair: Pair) -> None:
    """Also with weights_only, when the parts of PyTorch that make them are imported."""
    result = loaded(pair.reader, saved(pair.writer, JAGGED))
    assert (type(result), result.layout) == (type(JAGGED), torch.jagged)
    assert [part.tolist() for part in result.unbind()] == [part.tolist() for part in JAGGED.unbind()]


def test_jagged_nested_tensors_need_parts_of_pytorch(lib: Any) -> None:
    """Without them the error says what to import."""
    data = saved(lib, JAGGED)
    lib.clear_safe_globals()
    with pytest.raises(
        pickle.UnpicklingError, match=r"``torch.nested`` and ``torch._dynamo`` must be imported to load"
    ):
        loaded(lib, data)


def test_a_sparse_gradient_trains_on(lib: Any) -> None:
    """A loaded sparse tensor computes."""
    result = again(lib, LAYOUTS["coo uncoalesced"])
    assert (result.to_dense() * 2).sum() == 12
    assert result.coalesce().values().tolist() == [4, 2]


def test_sharing_inside_sparse_tensors_is_kept(lib: Any) -> None:
    """The values may be a tensor of the tree too."""
    values = torch.tensor([1.0, 2.0])
    sparse = torch.sparse_coo_tensor(torch.tensor([[0, 2]]), values, (3,))
    result, again_values = again(lib, [sparse, values])
    again_values[0] = 9
    assert result._values().tolist() == [9, 2]


def test_an_impossible_sparse_tensor_is_refused_where_invariants_are_checked(lib: Any) -> None:
    """An index outside the shape is a RuntimeError that says so; unasked, PyTorch lets it pass."""
    wrong = torch.sparse_coo_tensor(torch.tensor([[0, 9]]), torch.ones(2), (3,), check_invariants=False)
    data = saved(lib, wrong)
    with torch.sparse.check_sparse_tensor_invariants(), pytest.raises(RuntimeError, match="size is inconsistent"):
        loaded(lib, data)
    torch._utils._sparse_tensors_to_validate.clear()
    assert loaded(lib, data)._indices().tolist() == [[0, 9]]


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_meta_tensors_survive(lib: Any, options: Any) -> None:
    """dtype, shape, strides and requires_grad; there is no storage in the file."""
    value = torch.empty_strided((3, 4), (8, 2), device="meta", dtype=torch.float16).requires_grad_()
    result = loaded(lib, saved(lib, value, **options))
    about = (result.device.type, result.dtype, tuple(result.shape), result.stride(), result.requires_grad)
    assert about == ("meta", torch.float16, (3, 4), (8, 2), True)


def test_meta_tensors_are_saved_to_the_same_bytes(lib: Any) -> None:
    """A whole model on meta costs nothing."""
    with torch.device("meta"):
        value = torch.nn.Linear(1000, 1000).state_dict()
    assert saved(lib, value) == saved(PYTORCH, value)
    assert len(saved(lib, value)) < 3000


def test_an_opaque_tensor_is_refused(lib: Any) -> None:
    """A tensor of mkldnn has no storage to save."""
    if not torch.backends.mkldnn.is_available():
        return
    for options in FORMATS.values():
        with pytest.raises(NotImplementedError, match="Cannot access storage of OpaqueTensorImpl"):
            saved(lib, torch.ones(3).to_mkldnn(), **options)


def test_quantized_modules_state_dicts_survive(lib: Any) -> None:
    """Packed and plain quantized weights beside floats, in the legacy format."""
    value = {"weight": LAYOUTS["per channel"], "bias": torch.ones(3), "scale": 0.5}
    assert described(loaded(lib, saved(lib, value, **LEGACY))) == described(value)
