"""`ptfile.jax` and `Tensor.jax()`: JAX's own arrays, on the CPU."""

from __future__ import annotations

import gc
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ptfile
import ptfile.jax

DTYPES = [
    *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "bfloat16", "float32", "complex64"),
    *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"),
]
WIDE = ["int64", "uint64", "float64", "complex128"]


@pytest.fixture
def x64() -> Iterator[None]:
    """JAX with its 64-bit types."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def saved(value: object) -> bytes:
    buffer = io.BytesIO()
    ptfile.save(value, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_of_jax_comes_back_bit_by_bit(dtype: str) -> None:
    """Saved from a JAX array, and loaded as one."""
    array = jnp.array([0, 1, 2, 1, 0, 1], dtype).reshape(2, 3)
    loaded = ptfile.jax.load(ptfile.jax.save({"x": array}))["x"]

    assert isinstance(loaded, jax.Array)
    assert loaded.dtype == array.dtype
    assert np.asarray(loaded).tobytes() == np.asarray(array).tobytes()
    assert ptfile.load(io.BytesIO(ptfile.jax.save([array])))[0].dtype.name == dtype


@pytest.mark.parametrize("dtype", WIDE)
def test_wide_numbers_are_an_error_where_jax_would_make_them_narrow(dtype: str) -> None:
    """JAX says nothing when it rounds them; what to do is in the message."""
    data = saved({"x": ptfile.tensor([1, 2], dtype=getattr(ptfile, dtype))})
    with pytest.raises(ptfile.UnsupportedError, match=rf"x: JAX's 64-bit types are off.*{dtype}.*jax_enable_x64"):
        ptfile.jax.load(data)
    with pytest.raises(ptfile.UnsupportedError, match="jax_enable_x64"):
        ptfile.load(io.BytesIO(data))["x"].jax()

    narrow = ptfile.jax.load(data, narrow=True)["x"]
    assert narrow.tolist() == [1, 2]
    assert narrow.dtype.itemsize * 2 == np.dtype(dtype).itemsize


@pytest.mark.parametrize("dtype", WIDE)
def test_wide_numbers_stay_so_where_jax_has_them(dtype: str, x64: None) -> None:
    """With the 64-bit types on, asked for narrow ones or not."""
    data = saved([ptfile.tensor([1, 2], dtype=getattr(ptfile, dtype))])

    assert ptfile.jax.load(data)[0].dtype == np.dtype(dtype)
    assert ptfile.jax.load(data, narrow=True)[0].dtype == np.dtype(dtype)


@pytest.mark.parametrize(
    ("value", "dtype"), [(1 << 40, "int64"), (-(1 << 31) - 1, "int64"), (1 << 32, "uint64"), (1e300, "float64")]
)
def test_narrow_numbers_that_would_be_wrong_are_an_error(value: float, dtype: str) -> None:
    """A float is rounded, but it does not become infinite, nor an integer another one."""
    with pytest.raises(ptfile.TensorError, match="out of the range"):
        ptfile.jax.load(saved([ptfile.tensor([1, value], dtype=getattr(ptfile, dtype))]), narrow=True)


def test_infinities_and_nans_may_be_narrow() -> None:
    """They are so in any width."""
    loaded = ptfile.jax.load(saved([ptfile.tensor([float("inf"), float("nan")], dtype=ptfile.float64)]), narrow=True)

    assert str(loaded[0].tolist()) == "[inf, nan]"


def test_trees_and_flat_files_come_back(tmp_path: Path) -> None:
    """Of JAX's and numpy's arrays, beside anything else."""
    path = tmp_path / "model.pt"
    tree = {"params": {"dense": {"kernel": jnp.ones((3, 2)), "bias": np.zeros(2, np.float32)}}, "steps": [1, 2]}
    ptfile.jax.save(tree, path)
    loaded = ptfile.jax.load(path)
    assert jax.tree.structure(loaded) == jax.tree.structure(tree)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(loaded["params"]))
    assert list(ptfile.jax.load_file(path)) == ["params.dense.kernel", "params.dense.bias"]

    ptfile.jax.save_file({"a.b": jnp.ones(2)}, path)
    assert ptfile.jax.load_file(path)["a.b"].tolist() == [1.0, 1.0]
    with pytest.raises(TypeError, match="'x': a int"):
        ptfile.jax.save_file({"x": 3}, path)


@pytest.mark.parametrize("dtype", [ptfile.float32, ptfile.bfloat16, ptfile.bool])
@pytest.mark.parametrize("mmap", [False, True])
def test_large_tensors_are_loaded_without_a_copy(tmp_path: Path, dtype: Any, mmap: bool) -> None:
    """What is read for JAX is where JAX can use it; strided ones and small ones are copied."""
    path = tmp_path / "model.pt"
    ptfile.save({"first": ptfile.ones(3), "x": ptfile.ones(100, 100, dtype=dtype)}, path)
    tensor = ptfile.load(path, mmap=mmap)["x"]

    assert tensor.jax().unsafe_buffer_pointer() == tensor.data_ptr()
    assert tensor.T[3:].jax().tolist() == tensor.T[3:].tolist()


@pytest.mark.parametrize("mmap", [False, True])
def test_arrays_outlive_what_they_were_loaded_with(tmp_path: Path, mmap: bool) -> None:
    """JAX holds the memory that it shares."""
    path = tmp_path / "model.pt"
    ptfile.save({f"x{i}": ptfile.full((100_000,), i, dtype=ptfile.float32) for i in range(20)}, path)
    loaded = ptfile.jax.load(path, mmap=mmap)
    gc.collect()
    others = [np.full(100_000, -1, np.float32) for _ in range(40)]

    assert all((array == int(name[1:])).all() for name, array in loaded.items())
    assert len(others) == 40


def test_arrays_without_a_writer_are_shared_too() -> None:
    """A read-only array cannot go to JAX by DLPack; this way it does."""
    array = np.frombuffer(saved(ptfile.ones(10_000)), np.uint8)[64:]
    tensor = ptfile.from_numpy(array[-array.ctypes.data % 64 :])

    assert tensor.jax().unsafe_buffer_pointer() == tensor.data_ptr()


def test_what_jax_lacks_is_an_error_that_names_it() -> None:
    """A sparse tensor, and elements that neither numpy nor JAX has."""
    with pytest.raises(ptfile.UnsupportedError, match="is no array"):
        ptfile.jax.load(saved([ptfile.SparseTensor(ptfile.tensor([[0]]), ptfile.tensor([1.0]), (3,))]))
    with pytest.raises(ptfile.UnsupportedError, match=r"\[0\]: .*complex32"):
        ptfile.jax.load(saved([ptfile.zeros(2, dtype=ptfile.complex32)]))


def test_what_no_tensor_holds_is_an_error_that_names_it(tmp_path: Path) -> None:
    """Before there is a file that nobody can load: narrow integers, keys, arrays that are gone or not there yet."""
    gone = jnp.ones(2)
    gone.delete()
    for array in (jnp.zeros(2, "int4"), jnp.zeros((), "float8_e3m4"), jax.random.key(0), gone):
        with pytest.raises(ptfile.UnsupportedError, match=r"model\.w: "):
            ptfile.jax.save({"model": {"w": array}}, tmp_path / "x.pt")
        with pytest.raises(ptfile.UnsupportedError, match="w: "):
            ptfile.jax.save_file({"w": array}, tmp_path / "x.pt")
    with pytest.raises(ptfile.UnsupportedError, match="w: "):
        jax.jit(lambda array: ptfile.jax.save({"w": array}))(jnp.ones(2))
    with pytest.raises(ptfile.UnsupportedError, match="w: "):
        ptfile.jax.save_file({"w": np.array(["a"])}, tmp_path / "x.pt")
    assert not (tmp_path / "x.pt").exists()
