"""What a tensor looks like; the expected texts are torch 2.13's, but for the dots of a summary."""

from __future__ import annotations

import numpy as np
import pytest

import ptfile
from ptfile.tensors import dtypes
from ptfile.tensors.create import arange, tensor, zeros
from ptfile.tensors.storage import Storage
from ptfile.tensors.tensor import Tensor


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (arange(3), "tensor([0, 1, 2])"),
        (tensor([1, -20, 300]), "tensor([  1, -20, 300])"),
        (tensor(3), "tensor(3)"),
        (tensor(1.5), "tensor(1.5000)"),
        (tensor([True, False]), "tensor([ True, False])"),
        (zeros(3, dtype=dtypes.float16), "tensor([0., 0., 0.], dtype=ptfile.float16)"),
        (tensor([1e10, 1.0]), "tensor([1.0000e+10, 1.0000e+00])"),
        (tensor([1.0, 2.5e-5]), "tensor([1.0000e+00, 2.5000e-05])"),
        (tensor([float("nan"), float("inf"), 1.0]), "tensor([nan, inf, 1.])"),
        (tensor([1 + 2j, -3 - 1j]), "tensor([ 1.+2.j, -3.-1.j])"),
        (zeros(0, 3), "tensor([], size=(0, 3))"),
        (zeros(0), "tensor([])"),
        (arange(0), "tensor([], dtype=ptfile.int64)"),
        (tensor([1.0, 2.0], requires_grad=True), "tensor([1., 2.], requires_grad=True)"),
        (tensor([1.0], device="cuda:0"), "tensor([1.], device='cuda:0')"),
        (zeros(2, dtype=dtypes.float8_e4m3fn), "tensor([0., 0.], dtype=ptfile.float8_e4m3fn)"),
        (arange(1500), "tensor([   0,    1,    2, ..., 1497, 1498, 1499])"),
        (zeros(1, 1500), "tensor([[0., 0., 0., ..., 0., 0., 0.]])"),
        (arange(6).view(2, 3).T, "tensor([[0, 3],\n        [1, 4],\n        [2, 5]])"),
        (zeros(2, dtype=dtypes.bits16), "tensor([0x0000, 0x0000], dtype=ptfile.bits16)"),
    ],
)
def test_text_is_torchs(x: Tensor, text: str) -> None:
    """Values aligned, and what does not go without saying."""
    assert repr(x) == str(x) == text


def test_notes_that_do_not_fit_the_line_go_to_the_next() -> None:
    """Lines are 80 columns wide."""
    x = tensor(np.arange(1 << 30, (1 << 30) + 6), dtype=dtypes.int32)
    numbers = ", ".join(str(value) for value in x.tolist())
    assert repr(x) == f"tensor([{numbers}],\n       dtype=ptfile.int32)"


def test_big_tensors_show_their_corners() -> None:
    """Of every dimension that has a middle, seen through the strides."""
    x = arange(4000).view(40, 100)[:, ::2].T
    lines = repr(x).splitlines()
    assert lines[0] == "tensor([[   0,  100,  200, ..., 3700, 3800, 3900],"
    assert lines[3].strip() == "...,"
    assert lines[-1] == "        [  98,  198,  298, ..., 3798, 3898, 3998]])"


def test_unread_tensors_stay_unread() -> None:
    """Their text says what is known without the bytes."""
    storage = Storage.deferred(48, lambda: pytest.fail("read"), "cuda:0")
    x = Tensor(storage, dtypes.float32, 0, (3, 4), (4, 1), requires_grad=True)
    assert repr(x) == "tensor(..., device='cuda:0', shape=(3, 4), dtype=ptfile.float32, not read, requires_grad=True)"


def test_flags_show_in_the_values() -> None:
    """The text has the values meant, not those stored, also in a summary."""
    x = Tensor(Storage(np.arange(2000, dtype=np.float32)), dtypes.float32, 0, (2000,), (1,), neg=True)
    assert repr(x[1:3]) == "tensor([-1., -2.])"
    assert repr(x).endswith("-1.9990e+03])")


def test_text_stays_short_however_many_dimensions_a_file_claims() -> None:
    """Six elements along each of many dimensions would be too many."""
    assert repr(zeros(1).expand(*[2] * 20)).startswith("tensor(...,")


def test_a_big_parameter_is_summarised_as_a_tensor_is() -> None:
    """Its class is made from a tensor, and the summary is a tensor of its own."""
    plain = repr(ptfile.zeros(2_000))
    assert repr(ptfile.Parameter(ptfile.zeros(2_000))) == f"Parameter containing:\n{plain[:-1]}, requires_grad=True)"
