"""The legacy format: old files byte by byte, several in one stream, what is done to them on the way, and saving it."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import dill
import pytest

from tests.formats.old_files import Call, Id, Name, Python2, floats, legacy, storage, tensor
from tests.parity.drop_in.classes import Net, Plain
from tests.parity.drop_in.conftest import Pair
from tests.parity.drop_in.support import LEGACY, PYTORCH, described, loaded, saved, torch

WHOLE = torch.arange(1.0, 7.0)
TREE = {"whole": WHOLE, "tail": WHOLE[2:], "ids": torch.arange(300), "empty": torch.empty(0), "text": "kept"}
BOTH_WAYS = pytest.mark.parametrize("weights_only", [True, False])
REFUSED = (RuntimeError, AssertionError, pickle.UnpicklingError, EOFError, ValueError)


# old files


@BOTH_WAYS
def test_a_view_of_a_storage_shares_its_memory(lib: Any, weights_only: bool) -> None:
    """PyTorch before 0.4 had storages that are a part of another; met before or after the whole."""
    view = tensor(storage("1", 4, view=("9", 1, 2)), (2,))
    for value in ([tensor(storage("1", 4), (4,)), view], [view, tensor(storage("1", 4), (4,)), view]):
        result = loaded(lib, legacy(value, ("1",), floats(1, 2, 3, 4)), weights_only=weights_only)
        part, whole = sorted(result, key=len)[0], sorted(result, key=len)[-1]
        assert (part.tolist(), part.untyped_storage().nbytes()) == ([2, 3], 8)
        part[0] = 50
        whole[2] = 60
        assert (whole.tolist(), part.tolist()) == ([1, 50, 60, 4], [50, 60])


def test_one_view_met_twice_is_one_storage(lib: Any) -> None:
    """The whole is in the file, though nothing shows it."""
    view = storage("1", 4, view=("9", 1, 2))
    first, second = loaded(lib, legacy([tensor(view, (2,)), tensor(view, (2,))], ("1",), floats(1, 2, 3, 4)))
    assert first.untyped_storage()._cdata == second.untyped_storage()._cdata
    assert second.tolist() == [2, 3]


@BOTH_WAYS
def test_elements_stand_in_the_order_of_the_keys(lib: Any, weights_only: bool) -> None:
    """Whatever that is."""
    value = [tensor(storage("1", 3), (3,)), tensor(storage("2", 2, "LongStorage"), (2,))]
    data = legacy(value, ("2", "1"), struct.pack("<3q", 2, 7, 8) + floats(1, 2, 3))
    assert [t.tolist() for t in loaded(lib, data, weights_only=weights_only)] == [[1, 2, 3], [7, 8]]


@BOTH_WAYS
def test_empty_storages_may_have_any_type(lib: Any, weights_only: bool) -> None:
    """One without bytes is seen as two dtypes."""
    value = [tensor(storage("1", 0), (0,)), tensor(storage("1", 0, "LongStorage"), (0,))]
    first, second = loaded(lib, legacy(value, ("1",), floats()), weights_only=weights_only)
    assert (first.dtype, second.dtype) == (torch.float32, torch.int64)


@BOTH_WAYS
def test_tensors_of_pytorch_0_4_are_rebuilt(lib: Any, weights_only: bool) -> None:
    """With None where later ones have an empty dict for their hooks."""
    value = Call(Name("torch._utils", "_rebuild_tensor_v2"), (storage("1", 3), 0, (3,), (1,), False, None))
    assert loaded(lib, legacy(value, ("1",), floats(1, 2, 3)), weights_only=weights_only).tolist() == [1, 2, 3]


def test_the_words_of_python_2_may_be_bytes(lib: Any) -> None:
    """Those of PyTorch's own, in a file read with encoding="bytes"."""
    kind = Name("torch", "FloatStorage")
    of = Id((Python2(b"storage"), kind, Python2(b"1"), Python2(b"cpu"), 2, (Python2(b"9"), 1, 1)))
    data = legacy(tensor(of, (1,)), [Python2(b"1")], floats(1, 2))
    assert loaded(lib, data, weights_only=False, encoding="bytes").tolist() == [2]


# what is refused


@pytest.mark.parametrize(
    "data",
    [
        legacy(tensor(storage("1", 3), (3,)), ("1",), floats(1, 2)),
        legacy(tensor(storage("1", 2), (2,)), ("1",), floats(1, 2, 3)),
        legacy(tensor(storage("1", 2), (2,)), ("1", "2"), floats(1, 2) + floats(1, 2)),
        legacy(tensor(storage("1", 2), (2,)), 5, floats(1, 2)),
        legacy(tensor(storage("1", -2), (2,)), ("1",), floats(1, 2)),
        legacy(tensor(storage("1", 2), (2,), offset=5), ("1",), floats(1, 2)),
        legacy(Id(("other", 1, 2)), (), b""),
        legacy(Id("text"), (), b""),
        legacy(Id(("storage", Name("torch", "FloatStorage"), "1", "cpu", 2)), ("1",), floats(1, 2)),
        legacy(tensor(storage("1", 1 << 50), (3,)), ("1",), floats(1, 2)),
    ],
    ids=["fewer", "more", "unknown key", "no keys", "negative", "outside", "other id", "text", "five", "huge"],
)
@BOTH_WAYS
@pytest.mark.filterwarnings("ignore:resize_:UserWarning")
def test_files_that_make_no_sense_are_refused(lib: Any, data: bytes, weights_only: bool) -> None:
    """Another number of elements, keys of nothing, ids of something else."""
    with pytest.raises((*REFUSED, TypeError)):
        loaded(lib, data, weights_only=weights_only)


@BOTH_WAYS
def test_every_cut_of_a_file_is_refused(lib: Any, weights_only: bool, tmp_path: Path) -> None:
    """Of a path and of a buffer, with the errors that the same cut has had: never a wrong value."""
    data = saved(lib, {"a": torch.arange(6.0), "b": [1, "two", None]}, **LEGACY)
    for cut in range(1, len(data) - 1, 7):
        (tmp_path / "cut.pt").write_bytes(data[:cut])
        for source in (io.BytesIO(data[:cut]), tmp_path / "cut.pt"):
            with pytest.raises((*REFUSED, LookupError, struct.error)):
                lib.load(source, weights_only=weights_only)


def test_a_cut_pickle_is_told_in_pickle_s_words(lib: Any) -> None:
    """Those that programs match on when a download broke off."""
    data = saved(lib, {"a": torch.arange(6.0), "text": "x" * 200}, **LEGACY)
    with pytest.raises((EOFError, pickle.UnpicklingError), match=r"Ran out of input|pickle data was truncated"):
        loaded(lib, data[: data.index(b"xxx") + 50], weights_only=False)
    with pytest.raises((EOFError, pickle.UnpicklingError), match=r"Ran out of input|pickle data was truncated"):
        loaded(lib, data[: data.index(b"xxx") + 200], weights_only=False)


def test_unknown_arguments_are_a_type_error(lib: Any) -> None:
    """Both ways, as in the zip format."""
    data = saved(lib, TREE, **LEGACY)
    with pytest.raises(TypeError), pytest.warns(UserWarning, match="pickle_load_args only works"):
        loaded(lib, data, errors="strict")
    with pytest.raises(TypeError, match="invalid keyword argument"):
        loaded(lib, data, weights_only=False, nonsense=1)


@pytest.mark.parametrize("name", ["Net", "Plain"])
def test_what_weights_only_refuses_is_named(lib: Any, name: str) -> None:
    """In a legacy file too."""
    data = legacy({"a": Call(Name("tests.parity.drop_in.classes", name), ())})
    with pytest.raises(pickle.UnpicklingError, match=rf"GLOBAL tests\.parity\.drop_in\.classes\.{name} was not an"):
        loaded(lib, data)


# other picklers


@pytest.mark.parametrize("module", [dill, pickle], ids=["dill", "pickle"])
def test_other_picklers_read_it(pair: Pair, module: Any) -> None:
    """The object's own pickle by their Unpickler."""
    data = saved(pair.writer, [Plain(3), TREE], pickle_module=module, **LEGACY)
    result = loaded(pair.reader, data, weights_only=False, pickle_module=module)
    assert result[0].value == 3
    assert described(result[1]) == described(TREE)


def test_an_unpickler_of_the_caller_s_finds_the_classes(lib: Any) -> None:
    """Its find_class is asked for all but storages."""
    asked: list[str] = []

    class Module:
        __name__ = "mine"
        load = staticmethod(pickle.load)

        class Unpickler(pickle.Unpickler):
            def find_class(self, module: str, name: str) -> Any:
                asked.append(name)
                return super().find_class(module, name)

    result = loaded(lib, saved(lib, [Plain(3), TREE], **LEGACY), weights_only=False, pickle_module=Module)
    assert result[0].value == 3
    assert "Plain" in asked
    assert not any("Storage" in name for name in asked)


# locations


def test_every_form_of_map_location_moves_storages(lib: Any) -> None:
    """A text, a device, a dict, a callable."""
    data = legacy(tensor(storage("1", 2, location="cuda:7"), (2,)), ("1",), floats(1, 2))
    for target in ("cpu", torch.device("cpu"), {"cuda:7": "cpu"}, lambda storage, _: storage):
        assert loaded(lib, data, map_location=target).tolist() == [1, 2]
    for target in (None, {"cuda:1": "cpu"}, lambda storage, _: None):
        with pytest.raises((RuntimeError, AssertionError), match=r"(?i)cuda"):
            loaded(lib, data, map_location=target)
    with pytest.raises(RuntimeError, match=r"don't know how to restore data location of .* \(tagged with nowhere\)"):
        loaded(lib, data, map_location="nowhere")


def test_a_callable_may_give_another_storage(lib: Any) -> None:
    """It is that one which the bytes are read into."""
    kept: list[Any] = []

    def locate(storage: Any, _: str) -> Any:
        kept.append(torch.UntypedStorage(storage.nbytes()))
        return kept[-1]

    result = loaded(lib, saved(lib, TREE, **LEGACY), map_location=locate)
    assert [len(kept), result["whole"].data_ptr()] == [3, kept[0].data_ptr()]
    assert described(result) == described(TREE)


def test_a_storage_that_will_be_read_says_so(lib: Any) -> None:
    """`_torch_load_uninitialized` is for callables to look at."""
    seen: list[bool] = []
    data = saved(lib, WHOLE, **LEGACY)
    loaded(lib, data, map_location=lambda storage, _: seen.append(storage._torch_load_uninitialized))
    assert seen == [True]


def test_a_callable_of_another_size_is_refused(lib: Any) -> None:
    """A storage has the bytes of the file, or there is an error."""
    data = saved(lib, WHOLE.storage(), **LEGACY)
    with pytest.raises(RuntimeError, match="storage has wrong byte size"):
        loaded(lib, data, map_location=lambda *_: torch.UntypedStorage(4))


@BOTH_WAYS
@pytest.mark.parametrize("target", ["meta", torch.device("meta"), {"cpu": "meta"}], ids=["text", "device", "dict"])
def test_meta_keeps_shapes_alone(pair: Pair, target: Any, weights_only: bool) -> None:
    """And the stream is left behind the checkpoint all the same."""
    data = saved(pair.writer, TREE, **LEGACY)
    buffer = io.BytesIO(data + b"behind")
    result = pair.reader.load(buffer, map_location=target, weights_only=weights_only)
    about = [(t.device.type, tuple(t.shape), t.storage_offset()) for t in (result["whole"], result["tail"])]
    assert about == [("meta", (6,), 0), ("meta", (4,), 2)]
    assert buffer.read() == b"behind"


# where it stands afterwards


@pytest.mark.parametrize("kind", ["buffer", "file", "raw", "gzip"])
def test_a_load_leaves_the_stream_behind_the_checkpoint(pair: Pair, kind: str, tmp_path: Path) -> None:
    """However the stream reads; the next may begin there, or anything else."""
    trees = [TREE, [1], torch.ones(2), torch.ones(3000), {}]
    data = b"before" + b"".join(saved(pair.writer, tree, **LEGACY) for tree in trees) + b"behind"
    (tmp_path / "t.bin").write_bytes(data)
    (tmp_path / "t.gz").write_bytes(gzip.compress(data))
    streams: dict[str, Callable[[], Any]] = {
        "buffer": lambda: io.BytesIO(data),
        "file": lambda: (tmp_path / "t.bin").open("rb"),
        "raw": lambda: (tmp_path / "t.bin").open("rb", buffering=0),
        "gzip": lambda: gzip.GzipFile(tmp_path / "t.gz"),
    }
    with streams[kind]() as stream:
        assert stream.read(6) == b"before"
        for tree in trees:
            assert described(pair.reader.load(stream)) == described(tree)
        assert stream.read() == b"behind"


def test_skipping_the_bytes_leaves_the_stream_before_them(lib: Any) -> None:
    """Under skip_data they are not even passed by."""
    data = saved(PYTORCH, TREE, **LEGACY)
    positions = []
    for reader in (lib, PYTORCH):
        buffer = io.BytesIO(data)
        with reader.skip_data():
            reader.load(buffer)
        positions.append(buffer.tell())
    assert positions[0] == positions[1] < len(data)


def test_a_loaded_checkpoint_is_saved_to_the_same_bytes(pair: Pair) -> None:
    """In today's format, by way of the old one."""
    result = loaded(pair.reader, saved(pair.writer, TREE, **LEGACY))
    assert saved(pair.writer, result) == saved(PYTORCH, TREE)


# saved


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("module", [pickle, dill, cloudpickle], ids=["pickle", "dill", "cloudpickle"])
def test_modules_are_saved_to_the_same_bytes(lib: Any, module: Any, protocol: int) -> None:
    """With the source code of each class once, and the keys that are addresses."""
    tree = [Net(), Net, Net(), TREE, Plain(TREE), torch.nn.Linear(2, 3), torch.nn.Linear]
    options = {"pickle_module": module, "pickle_protocol": protocol, **LEGACY}
    data = saved(lib, tree, **options)
    assert data == saved(PYTORCH, tree, **options)
    assert data.count(b"A small model with every kind of state") == 1


def test_a_class_without_source_is_warned_about_once(lib: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is met; it is a persistent id without source then."""
    module = ModuleType("sourceless")
    exec("class Sourceless(Module):\n    pass", {"Module": torch.nn.Module, "__name__": "sourceless"}, vars(module))
    monkeypatch.setitem(sys.modules, "sourceless", module)
    tree = [module.Sourceless(), module.Sourceless, module.Sourceless()]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = saved(lib, tree, **LEGACY)
    assert [str(warning.message)[:40] for warning in caught] == ["Couldn't retrieve source code for contai"]
    with pytest.warns(UserWarning, match="Couldn't retrieve"):
        assert data == saved(PYTORCH, tree, **LEGACY)


def test_memory_of_two_dtypes_is_refused(lib: Any) -> None:
    """As in the zip format."""
    with pytest.raises(RuntimeError, match="Cannot save multiple tensors or storages that view the same data as diff"):
        saved(lib, [WHOLE, WHOLE.view(torch.int32)], **LEGACY)


def test_storages_of_the_meta_device_have_no_bytes_to_save(lib: Any) -> None:
    """Tensors there are saved without a storage."""
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor; no data!"):
        saved(lib, torch.UntypedStorage(3, device="meta"), **LEGACY)
    value = torch.empty(3, 4, device="meta")
    assert saved(lib, value, **LEGACY) == saved(PYTORCH, value, **LEGACY)


@pytest.mark.parametrize("numel", [0, 1, 1000, 16_383, 16_384, 300_000])
def test_storages_of_every_size_are_saved(pair: Pair, numel: int, tmp_path: Path) -> None:
    """Small ones are joined before they are written, large ones are not copied."""
    tree = [torch.arange(float(numel)), torch.ones(3), torch.arange(float(numel)), torch.ones(1)]
    data = saved(pair.writer, tree, **LEGACY)
    assert data == saved(PYTORCH, tree, **LEGACY)
    pair.writer.save(tree, tmp_path / "t.pt", **LEGACY)
    assert (tmp_path / "t.pt").read_bytes() == data
    assert all(map(torch.equal, pair.reader.load(tmp_path / "t.pt"), tree))


def test_a_legacy_file_cannot_take_a_directory_s_place(lib: Any, tmp_path: Path) -> None:
    """An IsADirectoryError, as Python raises it."""
    with pytest.raises(IsADirectoryError):
        lib.save(TREE, tmp_path, **LEGACY)
