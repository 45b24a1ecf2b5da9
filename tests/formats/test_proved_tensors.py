"""Tensors made by one call each: those that the machine makes, or an error where it raises one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ptfile
from ptfile.errors import PtfileError
from ptfile.formats.proved_tensors import tensors_of
from ptfile.formats.storages import STORAGE_CLASSES, LoadedStorages
from ptfile.tensors.storage import Storage

FLOATS = STORAGE_CLASSES["FloatStorage"]
PLAIN = ("storage", FLOATS, "0", "cpu", 6)


def maker(map_location: Any = None) -> Callable[..., Any]:
    def make(_key: str, nbytes: int, _dtype: object) -> Storage:
        return Storage(np.arange(nbytes // 4, dtype=np.float32))

    return tensors_of(LoadedStorages(make, map_location))


def test_a_tensor_is_what_its_arguments_say() -> None:
    """The second of a shape is made without the checks of the first."""
    tensors = maker()
    made = [tensors(PLAIN, offset, (2, 2), (2, 1), False, {}) for offset in (0, 1, 2)]
    assert [tensor.tolist() for tensor in made] == [[[0, 1], [2, 3]], [[1, 2], [3, 4]], [[2, 3], [4, 5]]]
    assert len({id(tensor.untyped_storage()) for tensor in made}) == 1
    assert all(type(tensor) is ptfile.Tensor and tensor.dtype is ptfile.float32 for tensor in made)
    states = [(tensor.requires_grad, tensor.is_conj(), tensor.is_neg(), tensor.attributes) for tensor in made]
    assert states == [(False, False, False, {})] * 3


def test_a_tensor_that_requires_a_gradient_says_so() -> None:
    """Also one of a shape that was met before."""
    tensors = maker()
    assert [tensors(PLAIN, 0, (1,), (1,), grad, {}).requires_grad for grad in (True, False, True)] == [
        True, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize("offset", [-1, 3, 7, 1 << 54])
def test_a_tensor_outside_its_storage_is_refused_whether_or_not_its_shape_was_met(offset: int) -> None:
    """Whether a view fits goes by its offset, too."""
    tensors = maker()
    for _ in range(2):
        with pytest.raises(PtfileError):
            tensors(PLAIN, offset, (2, 2), (2, 1), False, {})
        tensors(PLAIN, 2, (2, 2), (2, 1), False, {})


def test_a_shape_that_fits_one_storage_is_refused_in_a_smaller_one() -> None:
    """Its extent is held against each."""
    tensors = maker()
    tensors(PLAIN, 0, (6,), (1,), False, {})
    with pytest.raises(PtfileError):
        tensors(("storage", FLOATS, "1", "cpu", 5), 0, (6,), (1,), False, {})


def test_a_tensor_without_elements_may_be_anywhere() -> None:
    """As in PyTorch, where a slice begins beyond the end."""
    tensors = maker()
    for _ in range(2):
        assert tensors(PLAIN, 99, (0, 3), (3, 1), False, {}).shape == (0, 3)


@pytest.mark.parametrize(
    "persistent_id",
    [
        ("stowage", FLOATS, "0", "cpu", 6),
        ("storage", FLOATS, "../0", "cpu", 6),
        ("storage", FLOATS, "", "cpu", 6),
        ("storage", FLOATS, "²", "cpu", 6),
        ("storage", FLOATS, "1" * 65, "cpu", 6),
        ("storage", FLOATS, "0", "cpu", -1),
        ("storage", FLOATS, "0", "cpu", 5),  # two sizes
        ("storage", STORAGE_CLASSES["IntStorage"], "0", "cpu", 6),  # two dtypes
    ],
)
def test_a_persistent_id_that_makes_no_sense_is_refused(persistent_id: Any) -> None:
    """The kinds of its parts are proved, and not what they say."""
    tensors = maker()
    tensors(PLAIN, 0, (1,), (1,), False, {})
    with pytest.raises(PtfileError):
        tensors(persistent_id, 0, (1,), (1,), False, {})


@pytest.mark.parametrize("key", ["a_1", "1" * 64])
def test_a_key_may_have_underscores_and_many_letters(key: str) -> None:
    """Old files have such keys."""
    assert maker()(("storage", FLOATS, key, "cpu", 6), 0, (1,), (1,), False, {}).tolist() == [0]


@pytest.mark.parametrize(("location", "target", "device"), [("cuda:0", None, "cuda:0"), ("cuda:0", "cpu", "cpu")])
def test_a_storage_goes_where_the_location_says(location: str, target: Any, device: str) -> None:
    """Or where the caller says."""
    made = maker(target)(("storage", FLOATS, "0", location, 6), 0, (1,), (1,), False, {})
    assert made.device == device


def test_a_storage_on_the_meta_device_has_no_bytes() -> None:
    """Its size is all that is known."""
    made = maker()(("storage", FLOATS, "0", "meta", 6), 0, (6,), (1,), False, {})
    assert (made.device, made.shape) == ("meta", (6,))
    with pytest.raises(PtfileError):
        made.tolist()
