"""Where loaded tensors live: map_location in its forms, and the registry of devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.parity.drop_in.conftest import Pair
from tests.parity.drop_in.support import FORMATS, LEGACY, PYTORCH, again, described, loaded, saved, torch

FAKE = "fakedevice"


@pytest.fixture
def tree() -> Any:
    """Four tensors on three storages: one shared by two tensors, one of a parameter, one empty."""
    numbers = torch.arange(4.0)
    return [numbers, numbers[1:], torch.nn.Parameter(torch.ones(2)), torch.empty(0)]


def meta_of(storage: Any, location: str) -> Any:
    return torch.UntypedStorage(storage.nbytes(), device="meta")


@pytest.mark.parametrize(
    "location",
    [None, "cpu", torch.device("cpu"), {}, {"cuda:0": "cpu"}, {"cpu": "cpu"}, lambda s, loc: s, lambda s, loc: None],
    ids=["none", "text", "device", "empty dict", "other dict", "dict", "callable", "callable of none"],
)
@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_every_form_leads_to_the_cpu(pair: Pair, tree: Any, location: Any, options: Any) -> None:
    """With sharing kept, in both formats."""
    result = loaded(pair.reader, saved(pair.writer, tree, **options), map_location=location)
    assert described(result) == described(tree)


@pytest.mark.parametrize(
    "location",
    ["meta", torch.device("meta"), {"cpu": "meta"}, meta_of],
    ids=["text", "device", "dict", "callable"],
)
@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_every_form_leads_to_meta(lib: Any, tree: Any, location: Any, options: Any) -> None:
    """Shapes and strides without memory."""
    result = loaded(lib, saved(lib, tree, **options), map_location=location)
    assert [tensor.device.type for tensor in result] == ["meta"] * 4
    assert [tuple(tensor.shape) for tensor in result] == [(4,), (3,), (2,), (0,)]
    assert [tensor.storage_offset() for tensor in result] == [0, 1, 0, 0]
    assert type(result[2]) is torch.nn.Parameter


def test_meta_needs_no_bytes(lib: Any, tmp_path: Any) -> None:
    """A storage far larger than what is there is only described."""
    with lib.skip_data():
        lib.save(torch.empty(50_000_000, dtype=torch.uint8), tmp_path / "large.pt")
    result = lib.load(tmp_path / "large.pt", map_location="meta")
    assert (result.shape, result.untyped_storage().nbytes()) == ((50_000_000,), 50_000_000)


@pytest.mark.parametrize("weights_only", [True, False])
def test_a_callable_is_called_once_per_storage(lib: Any, tree: Any, weights_only: bool) -> None:
    """With an untyped storage on the CPU and its location; the bytes can be read then."""
    calls: list[Any] = []

    def locate(storage: Any, location: str) -> Any:
        calls.append((type(storage), storage.device.type, bytes(storage), location))
        return storage

    result = loaded(lib, saved(lib, tree), map_location=locate, weights_only=weights_only)
    expected = [tree[0], tree[2], tree[3]]
    assert calls == [(torch.UntypedStorage, "cpu", bytes(t.untyped_storage()), "cpu") for t in expected]
    assert described(result) == described(tree)


def test_a_callable_is_called_once_per_storage_of_a_legacy_file(lib: Any, tree: Any) -> None:
    """The bytes come only later there."""
    calls: list[Any] = []

    def locate(storage: Any, location: str) -> Any:
        calls.append((type(storage), storage.nbytes(), location))
        return storage

    result = loaded(lib, saved(lib, tree, **LEGACY), map_location=locate)
    assert calls == [(torch.UntypedStorage, size, "cpu") for size in (16, 8, 0)]
    assert described(result) == described(tree)


def test_a_callable_may_give_another_storage(lib: Any, tree: Any) -> None:
    """What it returns is what the tensors use."""
    kept: list[Any] = []

    def locate(storage: Any, location: str) -> Any:
        kept.append(storage.clone())
        return kept[-1]

    result = loaded(lib, saved(lib, tree), map_location=locate)
    assert result[0].data_ptr() == kept[0].data_ptr()
    assert result[1].untyped_storage()._cdata == result[0].untyped_storage()._cdata
    assert described(result) == described(tree)


def test_a_callable_that_fails_is_not_called_again(lib: Any) -> None:
    """Else an error that does not come twice would be lost."""
    calls: list[str] = []

    def refuse_once(storage: Any, location: str) -> Any:
        calls.append(location)
        if len(calls) == 1:
            raise OSError("not now")
        return storage

    with pytest.raises(OSError, match="not now"):
        loaded(lib, saved(PYTORCH, [torch.ones(2), torch.ones(2)]), map_location=refuse_once)
    assert calls == ["cpu"]


def test_an_error_of_a_callable_is_the_caller_s(lib: Any, tree: Any) -> None:
    """It passes through, and the next load is not disturbed."""

    def locate(storage: Any, location: str) -> Any:
        raise ZeroDivisionError("on purpose")

    with pytest.raises(ZeroDivisionError, match="on purpose"):
        loaded(lib, saved(lib, tree), map_location=locate)
    assert described(again(lib, tree)) == described(tree)


@pytest.mark.parametrize("result", ["cpu", torch.ones(3)], ids=["text", "tensor"])
def test_a_callable_must_give_a_storage(lib: Any, tree: Any, result: Any) -> None:
    """Anything else is a TypeError."""
    with pytest.raises(TypeError, match="'wrap_storage' must be UntypedStorage"):
        loaded(lib, saved(lib, tree), map_location=lambda storage, location: result)


@pytest.mark.parametrize("location", ["nowhere", "cpu:0", "", {"cpu": "nowhere"}])
@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_an_unknown_location_is_refused(lib: Any, location: Any, options: Any) -> None:
    """With the type of the storage and the tag."""
    tag = location["cpu"] if isinstance(location, dict) else location
    message = rf"don't know how to restore data location of torch\.storage\.UntypedStorage \(tagged with {tag}\)"
    with pytest.raises(RuntimeError, match=message):
        loaded(lib, saved(lib, torch.ones(1), **options), map_location=location)


@pytest.mark.parametrize("location", ["cuda", "cuda:1", torch.device("cuda", 0), {"cpu": "cuda:3"}], ids=str)
def test_a_device_that_is_not_there_is_refused(lib: Any, location: Any) -> None:
    """With what to do about it."""
    if torch.cuda.is_available():
        return
    with pytest.raises(RuntimeError, match="Attempting to deserialize object on a CUDA device but") as caught:
        again(lib, torch.ones(1), map_location=location)
    assert "map_location=torch.device('cpu')" in str(caught.value)


def test_something_else_is_not_a_location(lib: Any) -> None:
    """A number is called, and cannot be."""
    with pytest.raises(TypeError, match="'int' object is not callable"):
        again(lib, torch.ones(1), map_location=0)


class FakeDevice:
    """A device of its own tag whose memory is the CPU's: registered, it tags the storages that are on it."""

    def __init__(self, register: Callable[..., None], priority: int = 5) -> None:
        self.held: set[int] = set()
        self.restored: list[str] = []
        register(priority, self.tag, self.restore)

    def tag(self, storage: Any) -> str | None:
        return f"{FAKE}:0" if storage._cdata in self.held else None

    def restore(self, storage: Any, location: str) -> Any:
        if not location.startswith(FAKE):
            return None
        self.restored.append(location)
        moved = storage.clone()
        self.held.add(moved._cdata)
        return moved

    def put(self, tensor: Any) -> Any:
        self.held.add(tensor.untyped_storage()._cdata)
        return tensor


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_a_registered_device_tags_and_restores(lib: Any, options: Any) -> None:
    """Its tag is in the file, and its function puts the storage back, once."""
    device = FakeDevice(lib.register_package)
    tensor = device.put(torch.arange(3.0))
    value = [tensor, tensor[1:], torch.ones(1)]
    data = saved(lib, value, **options)
    assert b"fakedevice:0" in data
    result = loaded(lib, data)
    assert device.restored == ["fakedevice:0"]
    assert lib.location_tag(result[0].untyped_storage()) == "fakedevice:0"
    assert lib.location_tag(result[2].untyped_storage()) == "cpu"
    if not options:
        assert described(result) == described(value)


def test_a_registered_device_is_saved_to_the_same_bytes(lib: Any) -> None:
    """The tag stands where `cpu` would."""
    device = FakeDevice(lib.register_package)
    value = [device.put(torch.arange(3.0)), torch.ones(1)]
    assert saved(lib, value) == saved(PYTORCH, value)


def test_map_location_overrides_the_tag(lib: Any) -> None:
    """To the CPU by any form, and from the CPU to the device."""
    device = FakeDevice(lib.register_package)
    data = saved(lib, [device.put(torch.arange(3.0)), torch.ones(1)])
    for location in ("cpu", torch.device("cpu"), {"fakedevice:0": "cpu"}, lambda storage, tag: storage):
        loaded(lib, data, map_location=location)
    assert device.restored == []
    loaded(lib, data, map_location=FAKE)
    assert device.restored == [FAKE, FAKE]
    loaded(lib, data, map_location={"cpu": f"{FAKE}:7"})
    assert device.restored[2:] == ["fakedevice:0", "fakedevice:7"]


def test_a_callable_gets_the_tag_of_the_file(lib: Any) -> None:
    """And None from it means the registry."""
    device = FakeDevice(lib.register_package)
    data = saved(lib, [device.put(torch.arange(3.0)), torch.ones(1)])
    tags: list[str] = []
    loaded(lib, data, map_location=lambda storage, tag: tags.append(tag))
    assert tags == ["fakedevice:0", "cpu"]
    assert device.restored == ["fakedevice:0"]


def test_a_tag_that_nobody_knows_is_refused(lib: Any) -> None:
    """A file of a device whose package is not imported here."""
    device = FakeDevice(lib.register_package)
    data = saved(lib, device.put(torch.arange(3.0)))
    torch.serialization._package_registry.pop(0)
    with pytest.raises(RuntimeError, match=r"tagged with fakedevice:0"):
        loaded(lib, data)
    assert loaded(lib, data, map_location="cpu").tolist() == [0, 1, 2]


def test_the_lower_priority_number_wins(lib: Any) -> None:
    """A package before the CPU's own is asked first, one behind it never."""
    late = FakeDevice(lib.register_package, priority=90)
    tensor = late.put(torch.ones(1))
    assert b"fakedevice" not in saved(lib, tensor)
    early = FakeDevice(lib.register_package, priority=1)
    assert b"fakedevice" in saved(lib, early.put(tensor))


def test_either_registry_is_the_same(lib: Any) -> None:
    """What is registered through one is known to PyTorch and the other way round."""
    device = FakeDevice(lib.register_package)
    storage = device.put(torch.ones(1)).untyped_storage()
    assert torch.serialization.location_tag(storage) == lib.location_tag(storage) == "fakedevice:0"
    other = FakeDevice(torch.serialization.register_package, priority=4)
    assert lib.location_tag(other.put(torch.ones(1)).untyped_storage()) == "fakedevice:0"


def test_location_tag_names_devices(lib: Any) -> None:
    """Of typed and untyped storages; an object without a device is an AttributeError."""
    tensor = torch.ones(1)
    assert lib.location_tag(tensor.untyped_storage()) == lib.location_tag(tensor.storage()) == "cpu"
    assert lib.location_tag(torch.UntypedStorage(1, device="meta")) == "meta"
    with pytest.raises(AttributeError):
        lib.location_tag("text")


def test_default_restore_location_moves_a_storage(lib: Any) -> None:
    """The storage itself for `cpu`, one of its size for `meta`, RuntimeError for the rest."""
    storage = torch.ones(2).untyped_storage()
    assert lib.default_restore_location(storage, "cpu") is storage
    assert lib.default_restore_location(storage, "meta").device.type == "meta"
    with pytest.raises(RuntimeError, match="tagged with elsewhere"):
        lib.default_restore_location(storage, "elsewhere")
