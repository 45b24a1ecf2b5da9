"""The elements of tensors as bytes that say nothing of how they lie in memory."""

from __future__ import annotations

import numpy as np
import pytest

import ptfile
from ptfile.tensors import elements
from ptfile.tensors.elements import element_bytes


def joined(tensor: ptfile.Tensor | ptfile.QuantizedTensor) -> bytes:
    return b"".join(piece.tobytes() for piece in element_bytes(tensor))


def little_endian(values: list[float], dtype: str) -> bytes:
    return np.array(values, f"<{dtype}").tobytes()


def test_elements_come_row_by_row_whatever_the_strides() -> None:
    """Contiguous, transposed, with gaps, expanded, without dimensions, empty."""
    x = ptfile.arange(6).reshape(2, 3)
    assert joined(x) == little_endian([0, 1, 2, 3, 4, 5], "i8")
    assert joined(x.T) == little_endian([0, 3, 1, 4, 2, 5], "i8")
    assert joined(x[:, ::2]) == little_endian([0, 2, 3, 5], "i8")
    assert joined(x[1, 2]) == little_endian([5], "i8")
    assert joined(x[:1].expand(2, 3)) == little_endian([0, 1, 2] * 2, "i8")
    assert joined(x[2:, 3:]) == b""


@pytest.mark.parametrize("piece", [8, 24, 40, 1 << 20])
def test_large_tensors_come_in_pieces(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bytes however they are cut."""
    monkeypatch.setattr(elements, "PIECE", piece)
    x = ptfile.arange(60, dtype=ptfile.int16)
    assert joined(x) == little_endian(list(range(60)), "i2")
    expected = np.arange(60, dtype="<i2").reshape(3, 4, 5).transpose(2, 0, 1).tobytes()
    assert joined(x.reshape(3, 4, 5).permute(2, 0, 1)) == expected


def test_conjugates_and_negatives_are_resolved() -> None:
    """The values count, not the flags."""
    z = ptfile.tensor([1 + 2j, -3 - 0j], dtype=ptfile.complex64)
    place = (z.untyped_storage(), ptfile.complex64, 0, (2,), (1,))
    assert joined(ptfile.Tensor(*place, conj=True)) == little_endian([1, -2, -3, -0.0], "f4")
    assert joined(ptfile.Tensor(*place, neg=True)) == little_endian([-1, -2, 3, -0.0], "f4")
    assert joined(ptfile.Tensor(*place, conj=True, neg=True)) == little_endian([-1, 2, 3, 0.0], "f4")
    whole = ptfile.tensor([5, -7])
    assert joined(ptfile.Tensor(whole.untyped_storage(), ptfile.int64, 0, (2,), (1,), neg=True)) == (
        little_endian([-5, 7], "i8")
    )


@pytest.mark.parametrize("dtype", [ptfile.float8_e4m3fn, ptfile.float8_e5m2fnuz], ids=str)
def test_the_negative_of_zero_is_zero_in_every_float(dtype: ptfile.DType) -> None:
    """Where others have the negative zero, some have NaN."""
    zero = ptfile.Tensor(ptfile.UntypedStorage(b"\0"), dtype, 0, (1,), (1,), neg=True)
    resolved = ptfile.Tensor(ptfile.UntypedStorage(joined(zero)), dtype, 0, (1,), (1,))
    assert resolved.tolist() == zero.tolist() == [0]


def test_elements_that_nobody_can_negate_are_an_error() -> None:
    """Two numbers in a byte."""
    pair = ptfile.Tensor(ptfile.UntypedStorage(b"\x11"), ptfile.float4_e2m1fn_x2, 0, (1,), (1,), neg=True)
    with pytest.raises(ptfile.UnsupportedError, match="float4_e2m1fn_x2"):
        joined(pair)


def test_a_bool_is_0_or_1() -> None:
    """Whatever other byte stands for true."""
    storage = ptfile.UntypedStorage(b"\x00\x02\xff\x01")
    assert joined(ptfile.Tensor(storage, ptfile.bool, 0, (4,), (1,))) == b"\0\1\1\1"


def test_quantized_elements_are_their_integers() -> None:
    """Those that share a byte have one each."""
    scale = ptfile.PerTensor(1.0, 0)
    plain = ptfile.QuantizedTensor(ptfile.UntypedStorage(bytes(range(9))), ptfile.qint8, 1, (2, 2), (1, 2), scale)
    packed = ptfile.QuantizedTensor(ptfile.UntypedStorage(b"\x21\x43"), ptfile.quint4x2, 0, (4,), (1,), scale)
    assert joined(plain) == bytes([1, 3, 2, 4])
    assert joined(packed) == bytes([1, 2, 3, 4])


def test_a_huge_view_of_a_small_storage_is_an_error() -> None:
    """A few bytes of a file can say 2**60 elements."""
    huge = ptfile.arange(1).expand(1 << 30, 1 << 30)
    with pytest.raises(ptfile.LimitError, match="of a storage of 8"):
        element_bytes(huge)
