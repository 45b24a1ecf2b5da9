"""Sparse, quantized, nested, meta and subclassed tensors, and parameters: read, computed, converted and written as
PyTorch does."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ptfile
import ptfile.torch

DENSE = torch.tensor([[0.0, 1, 0, 2, 0, 0], [0, 0, 0, 0, 0, 0], [3, 0, 4, 0, 0, 0], [0, 0, 0, 0, 0, 5]])


def saved(save: Any, value: Any) -> bytes:
    buffer = io.BytesIO()
    save(value, buffer)
    return buffer.getvalue()


def sparse_tensors() -> list[torch.Tensor]:
    indices = torch.tensor([[0, 2, 0], [1, 0, 1]])  # an index twice
    batch = torch.stack([DENSE, DENSE.roll(1, 1)])
    hybrid = torch.sparse_coo_tensor(indices, torch.arange(6.0).reshape(3, 2), (3, 2, 2))
    return [
        DENSE.to_sparse(),
        torch.sparse_coo_tensor(indices, torch.tensor([1.0, 2, 3]), (3, 2)),
        hybrid,
        hybrid.coalesce(),
        torch.sparse_coo_tensor(torch.zeros(2, 0, dtype=torch.int64), torch.zeros(0), (2, 3)),
        torch.sparse_coo_tensor(torch.zeros(0, 2, dtype=torch.int64), torch.ones(2, 3), (3,)),
        DENSE.to_sparse_csr(),
        DENSE.to_sparse_csc(),
        DENSE.to_sparse_bsr((2, 3)),
        DENSE.to_sparse_bsc((2, 2)),
        torch.zeros(3, 0).to_sparse_csr(),
        torch.stack([DENSE, DENSE]).to_sparse_csr(),
        torch.stack([DENSE, DENSE]).to_sparse_csc(),
        torch.sparse_csr_tensor(
            torch.tensor([0, 1, 2], dtype=torch.int32), torch.tensor([1, 0], dtype=torch.int32), torch.ones(2), (2, 2)
        ),
        batch.to_sparse(1),
        DENSE.to(torch.bfloat16).to_sparse(),
    ]


@pytest.mark.parametrize("theirs", sparse_tensors(), ids=lambda tensor: f"{tensor.layout}-{list(tensor.shape)}")
def test_sparse_tensors_are_the_same_on_both_sides(theirs: torch.Tensor) -> None:
    """Dense values, PyTorch's own tensor, and the bytes."""
    data = saved(torch.save, theirs)
    ours = ptfile.load(io.BytesIO(data))
    assert saved(ptfile.save, ours) == data
    np.testing.assert_array_equal(ours.numpy().astype(np.float64), theirs.to_dense().to(torch.float64).numpy())
    back = ours.torch()
    assert (back.layout, back.shape, back.dtype) == (theirs.layout, theirs.shape, theirs.dtype)
    assert torch.equal(back.to_dense(), theirs.to_dense())
    if theirs.layout == torch.sparse_coo:
        assert back.is_coalesced() == theirs.is_coalesced() == ours.is_coalesced()
        assert (ours.sparse_dim(), ours.dense_dim()) == (theirs.sparse_dim(), theirs.dense_dim())


def quantized_tensors() -> list[torch.Tensor]:
    values = torch.linspace(-3, 3, 12).reshape(3, 4)
    scales, zeros = torch.tensor([0.1, 0.2, 0.5]), torch.tensor([0, 3, 10])
    return [
        torch.quantize_per_tensor(values, 0.05, 10, torch.qint8),
        torch.quantize_per_tensor(values, 0.05, 128, torch.quint8),
        torch.quantize_per_tensor(values, 1e-6, 0, torch.qint32),
        torch.quantize_per_tensor(values, 0.05, 10, torch.qint8).t(),
        torch.quantize_per_tensor(values, 0.05, 10, torch.qint8)[1:, ::2],
        torch.quantize_per_channel(values, scales, zeros, 0, torch.qint8),
        torch.quantize_per_channel(values, scales, zeros, 0, torch.quint8),
        torch.quantize_per_channel(values.t(), scales, zeros, 1, torch.qint8),
        torch.quantize_per_channel(values, scales, torch.tensor([0.5, 1.5, 2.5]), 0, torch.quint8),
    ]


@pytest.mark.parametrize("theirs", quantized_tensors(), ids=lambda tensor: f"{tensor.dtype}-{tensor.qscheme()}")
def test_quantized_tensors_are_the_same_on_both_sides(theirs: torch.Tensor) -> None:
    """Integers, numbers, PyTorch's own tensor, and the bytes."""
    data = saved(torch.save, theirs)
    ours = ptfile.load(io.BytesIO(data))
    assert saved(ptfile.save, ours) == data
    np.testing.assert_array_equal(ours.int_repr().numpy(), theirs.int_repr().numpy())
    np.testing.assert_allclose(ours.numpy(), theirs.dequantize().numpy(), rtol=1e-6)
    assert str(ours.qscheme()).removeprefix("ptfile.") == str(theirs.qscheme()).removeprefix("torch.")
    back = ours.torch()
    assert (back.dtype, back.stride(), back.qscheme()) == (theirs.dtype, theirs.stride(), theirs.qscheme())
    assert torch.equal(back.dequantize(), theirs.dequantize())


@pytest.mark.parametrize("dtype", [torch.quint4x2, torch.quint2x4])
def test_packed_integers_are_taken_apart(dtype: torch.dtype) -> None:
    """Two or four in a byte, the first in the lowest bits."""
    values = torch.tensor([0.0, 1.0, 2.0, 3.0, 1.0, 0.0, 3.0, 2.0])
    theirs = torch.quantize_per_channel(values[None], torch.ones(1), torch.zeros(1), 0, dtype)
    data = saved(torch.save, theirs)
    ours = ptfile.load(io.BytesIO(data))
    assert saved(ptfile.save, ours) == data
    assert ours.tolist() == [values.tolist()]
    with pytest.raises(ptfile.UnsupportedError):
        ours.int_repr()


def test_a_part_of_packed_integers_begins_where_pytorch_reads_it() -> None:
    """It counts the offset in bytes, of which each has two elements. Beyond the storage it reads whatever is there."""
    whole = torch.quantize_per_tensor(torch.arange(16.0), 1.0, 0, torch.quint4x2)
    theirs = whole[3:7]
    assert theirs.dequantize().tolist() == [6.0, 7.0, 8.0, 9.0]
    data = saved(torch.save, theirs)
    ours = ptfile.load(io.BytesIO(data))
    assert ours.tolist() == theirs.dequantize().tolist()
    assert ours.torch().dequantize().tolist() == ours.tolist()
    assert saved(ptfile.save, ours) == data
    with pytest.raises(ptfile.TensorError, match="bytes into a storage"):
        ptfile.load(io.BytesIO(saved(torch.save, whole[6:])))


def test_nested_tensors_are_the_same_on_both_sides() -> None:
    """Components, PyTorch's own tensor, and the bytes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = torch.nested.nested_tensor([torch.arange(3.0), torch.arange(6.0).reshape(3, 2)[:, 0], torch.ones(0)])
    data = saved(torch.save, theirs)
    ours = ptfile.load(io.BytesIO(data))
    assert saved(ptfile.save, ours) == data
    assert [part.tolist() for part in ours.unbind()] == [part.tolist() for part in theirs.unbind()]
    assert [part.tolist() for part in ours.torch().unbind()] == ours.tolist()


def jagged_tensors() -> list[torch.Tensor]:
    rows, offsets = torch.arange(20.0).reshape(10, 2), torch.tensor([0, 3, 6, 10])
    components = [torch.ones(2), torch.arange(3.0)]
    noted: Any = torch.nested.nested_tensor(components, layout=torch.jagged)
    noted.note = "kept"
    columns = torch.nested.nested_tensor_from_jagged(rows.reshape(2, 10), offsets, jagged_dim=2)
    return [
        torch.nested.nested_tensor(components, layout=torch.jagged, requires_grad=True),
        torch.nested.nested_tensor(components, layout=torch.jagged, dtype=torch.bfloat16),
        torch.nested.nested_tensor_from_jagged(rows, offsets, torch.tensor([1, 3, 2])),
        torch.nested.nested_tensor_from_jagged(rows, offsets.int(), min_seqlen=3, max_seqlen=4),
        torch.nested.narrow(rows, 1, torch.arange(10) % 2, torch.ones(10, dtype=torch.int64), layout=torch.jagged),
        columns,
        columns.transpose(1, 2),
        noted,
    ]


@pytest.mark.parametrize("theirs", jagged_tensors(), ids=lambda t: f"{t.dtype}-{t._ragged_idx}-{t._lengths is None}")
def test_jagged_tensors_are_the_same_on_both_sides(theirs: Any) -> None:
    """Components, PyTorch's own tensor with its attributes, and the bytes."""
    data = saved(torch.save, theirs)
    ours = ptfile.load(io.BytesIO(data))
    assert saved(ptfile.save, ours) == data
    assert ours.tolist() == [part.tolist() for part in theirs.unbind()]
    back: Any = ours.torch()
    assert type(back) is type(theirs)
    assert (back.dtype, back.requires_grad, back._ragged_idx) == (
        theirs.dtype,
        theirs.requires_grad,
        theirs._ragged_idx,
    )
    assert [part.tolist() for part in back.unbind()] == ours.tolist()
    assert vars(back).get("note") == vars(theirs).get("note")


def test_a_jagged_tensor_that_reaches_outside_its_values_is_refused() -> None:
    """As soon as it is loaded."""
    theirs = torch.nested.nested_tensor_from_jagged(torch.ones(10), torch.tensor([0, 3, 10]))
    theirs._offsets[1] = 11
    with pytest.raises(ptfile.TensorError, match="component"):
        ptfile.load(io.BytesIO(saved(torch.save, theirs)))


class Marked(torch.Tensor):  # type: ignore[misc, unused-ignore]
    """A subclass with an attribute."""


def more_than_tensors() -> list[Any]:
    marked: Any = torch.arange(3.0)
    marked.note = "kept"
    parameter: Any = torch.nn.Parameter(torch.ones(2))
    parameter.tag = [1, 2]
    subclass: Any = torch.arange(4.0).as_subclass(Marked)
    subclass.extra = torch.zeros(1)
    return [
        torch.nn.Parameter(torch.ones(2, 3)),
        torch.nn.Parameter(torch.arange(3), requires_grad=False),
        torch.nn.Parameter(torch.empty(2, 3, device="meta")),
        parameter,
        marked,
        subclass,
        torch.empty((3, 4), device="meta", dtype=torch.float16),
        torch.empty_strided((3, 4), (8, 2), device="meta"),
        torch.arange(6.0, requires_grad=True),
        torch.nn.Linear(2, 3),
        torch.nn.BatchNorm1d(3).state_dict(),
        torch.optim.Adam(torch.nn.Linear(2, 3).parameters()).state_dict(),
        torch.get_rng_state(),
        torch.Generator().manual_seed(7),
        torch.Size([1, 2]),
        [torch.device("cuda", 1), torch.device("cpu"), torch.strided, torch.sparse_coo, torch.per_tensor_affine],
        torch.FloatStorage([1.0, 2.0]),
        torch.arange(3).untyped_storage(),
    ]


@pytest.mark.parametrize("value", more_than_tensors(), ids=lambda value: type(value).__name__)
def test_what_is_more_than_a_tensor_is_written_as_it_was_read(value: Any) -> None:
    """Parameters, attributes, subclasses, meta tensors, modules, storages, constants: the same bytes again."""
    data = saved(torch.save, value)
    ours = ptfile.load(io.BytesIO(data), unknown="inert")
    assert saved(ptfile.save, ours) == data


def test_attributes_of_tensors_are_attributes() -> None:
    """And a parameter is a Parameter on both sides."""
    marked, parameter = ptfile.load(io.BytesIO(saved(torch.save, [more_than_tensors()[4], more_than_tensors()[3]])))
    assert marked.note == "kept"
    assert parameter.tag == [1, 2]
    assert type(parameter) is ptfile.Parameter
    assert type(parameter.torch()) is torch.nn.Parameter


def test_attributes_are_given_to_torch_s_tensors_and_subclasses_are_not_guessed() -> None:
    """A tensor of a subclass cannot be made without its class."""
    plain, parameter, subclass = more_than_tensors()[4], more_than_tensors()[3], more_than_tensors()[5]
    ours = ptfile.load(io.BytesIO(saved(torch.save, [plain, parameter, subclass])), unknown="inert")
    assert ours[0].torch().note == "kept"
    assert ours[1].torch().tag == [1, 2]
    with pytest.raises(ptfile.UnsupportedError, match="Marked"):
        ours[2].torch()
    assert torch.equal(ours[2].detach().torch(), torch.arange(4.0))
    assert torch.equal(ours[2].extra.torch(), torch.zeros(1))


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
def test_indices_outside_a_sparse_tensor_are_refused(layout: torch.layout) -> None:
    """When the file is loaded, not when they are used."""
    data = saved(torch.save, DENSE.to_sparse(layout=layout))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        indices = archive.read("archive/data/0" if layout is torch.sparse_coo else "archive/data/1")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as rewritten, zipfile.ZipFile(io.BytesIO(data)) as archive:
        for record in archive.namelist():
            content = archive.read(record)
            rewritten.writestr(record, indices[:-8] + (99).to_bytes(8, "little") if content == indices else content)
    with pytest.raises(ptfile.TensorError, match="outside"):
        ptfile.load(io.BytesIO(buffer.getvalue()))


def test_texts_that_pytorch_makes_anew_are_not_shared() -> None:
    """Devices and flags: equal words in the user's data are other objects."""
    words = {"device": "cpu", "kind": "cuda"}
    theirs = [torch.zeros(2), words, torch.device("cpu"), torch.device("cuda", 0), torch.device("cuda", 0)]
    theirs += [torch.zeros(size, dtype=torch.complex64).conj() for size in (2, 3)]
    theirs += [torch.zeros(size, dtype=torch.complex64).conj().imag for size in (2, 3)]
    data = saved(torch.save, theirs)
    assert saved(ptfile.save, ptfile.load(io.BytesIO(data))) == data


def test_a_default_device_does_not_matter() -> None:
    """Tensors of a file are where the file says."""
    buffer = io.BytesIO()
    torch.save(torch.arange(3), buffer)
    buffer.seek(0)
    ours = ptfile.load(buffer)
    buffer.seek(0)
    with torch.device("meta"):
        assert ours.torch().tolist() == [0, 1, 2]
        assert ptfile.torch.load(buffer).tolist() == [0, 1, 2]


def test_expanded_pairs_of_half_floats_are_read() -> None:
    """complex32 has no numpy type, and an expanded tensor no contiguous elements."""
    theirs = torch.ones(1, dtype=torch.complex32).expand(3)
    assert ptfile.load(io.BytesIO(saved(torch.save, theirs))).tolist() == [1, 1, 1]


def test_memory_formats_are_constants(tmp_path: Path) -> None:
    """They need protocol 4 where PyTorch does."""
    names = ["contiguous_format", "channels_last", "preserve_format"]
    path = tmp_path / "formats.pt"
    # In a process of its own: Python pickles them under the first module that it finds them in.
    value = ", ".join(f"torch.{name}" for name in names)
    script = f"import torch; torch.save([{value}], {str(path)!r}, pickle_protocol=4)"
    subprocess.run([sys.executable, "-c", script], check=True)
    ours = ptfile.load(path)
    assert [str(order) for order in ours] == [f"ptfile.{name}" for name in names]
    before = path.read_bytes()
    ptfile.save(ours, path, pickle_protocol=4)
    assert path.read_bytes() == before


def test_the_state_dict_of_a_pickled_module_is_pytorch_s() -> None:
    """Names, order and values, without the module's class being built."""
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Linear(4, 2, bias=False))
    module.register_buffer("passing", torch.zeros(1), persistent=False)
    record = ptfile.load(io.BytesIO(saved(torch.save, module)), unknown="inert")
    weights = ptfile.state_dict(record)
    assert list(weights) == list(module.state_dict())
    for name, value in module.state_dict().items():
        assert torch.equal(weights[name].torch(), value)


def test_tensors_saved_through_numpy_or_the_cpu_keep_their_device() -> None:
    """Devices without storages of their own (XLA and the like): the tag is kept, and written the same way again."""
    from torch._utils import _rebuild_device_tensor_from_cpu_tensor, _rebuild_device_tensor_from_numpy

    class OnDevice:
        def __init__(self, *reduced: Any) -> None:
            self.reduced = reduced

        def __reduce__(self) -> Any:
            return self.reduced

    by_cpu = OnDevice(_rebuild_device_tensor_from_cpu_tensor, (torch.arange(3.0), torch.float32, "xla:0", True))
    data = saved(torch.save, by_cpu)
    ours = ptfile.load(io.BytesIO(data))
    assert (ours.device, ours.tolist(), ours.requires_grad) == ("xla:0", [0.0, 1.0, 2.0], True)
    assert saved(ptfile.save, ours) == data
    by_numpy = OnDevice(_rebuild_device_tensor_from_numpy, (np.arange(3.0), torch.bfloat16, "xla:1", False))
    ours = ptfile.load(io.BytesIO(saved(torch.save, by_numpy)))
    assert (ours.device, ours.tolist(), str(ours.dtype)) == ("xla:1", [0.0, 1.0, 2.0], "ptfile.bfloat16")
