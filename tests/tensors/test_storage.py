"""Storages: bytes now or later."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import threading
import time
from typing import Any

import numpy as np
import pytest

from ptfile.errors import TensorError, UnsupportedError
from ptfile.tensors import dtypes
from ptfile.tensors.storage import _MAKING_A_LOCK, Storage, TypedStorage


def test_storage_shares_writable_memory() -> None:
    """What is written into the storage is in the caller's buffer."""
    buffer = bytearray(b"abc")
    storage = Storage(buffer)
    storage.data[0] = ord("x")
    assert buffer == b"xbc"


def test_read_only_bytes_stay_read_only() -> None:
    """numpy refuses the write."""
    with pytest.raises(ValueError, match="read-only"):
        Storage(b"abc").data[0] = 1


@pytest.mark.parametrize("data", [b"", bytearray(), memoryview(b""), np.zeros(0, np.uint8), np.zeros((0, 3))])
def test_storage_may_be_empty(data: bytes) -> None:
    """An empty storage has a size and an address of 0."""
    storage = Storage(data)
    assert (storage.nbytes(), storage.size(), len(storage), storage.data_ptr()) == (0, 0, 0, 0)
    assert storage.tolist() == []


def test_storage_of_an_array_is_its_bytes() -> None:
    """Arrays of any plain type are shared, without gaps or not copied."""
    array = np.array([[1, 2], [3, 4]], np.uint16)
    storage = Storage(array)
    assert storage.tobytes() == array.tobytes()
    assert storage.data_ptr() == array.ctypes.data
    assert Storage(array[:, 1]).tobytes() == array[:, 1].tobytes()
    assert Storage(memoryview(b"abcd")[::2]).tobytes() == b"ac"


def test_storage_of_objects_is_refused() -> None:
    """Their bytes would be addresses."""
    with pytest.raises(TensorError, match="plain bytes"):
        Storage(np.array([object()]))


def test_storage_reads_like_a_sequence_of_ints() -> None:
    """Index, length, iteration and list agree."""
    storage = Storage(b"\x01\x02\xff")
    assert [storage[0], storage[-1], len(storage)] == [1, 255, 3]
    assert list(storage) == storage.tolist() == [1, 2, 255]
    with pytest.raises(IndexError):
        storage[3]


def test_device_tag_is_kept_as_the_very_object() -> None:
    """An equal string of another identity would change the bytes of a pickle."""
    device = "cuda:{}".format(*"0")
    assert Storage(b"", device).device is device
    assert Storage.deferred(1, None, device).device is device


def test_deferred_bytes_are_fetched_once_and_late() -> None:
    """Size, device and repr need no bytes; the first look does, the second does not."""
    calls: list[int] = []

    def fetch() -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        calls.append(1)
        return np.arange(4, dtype=np.uint8)

    storage = Storage.deferred(4, fetch)
    assert storage.nbytes() == len(storage) == 4
    assert "4 bytes" in repr(storage)
    assert "not read" in repr(storage)
    assert calls == []
    assert storage.tolist() == storage.tolist() == [0, 1, 2, 3]
    assert "not read" not in repr(storage)
    assert calls == [1]


def test_deferred_fetch_function_is_dropped_after_use() -> None:
    """It may hold a file open."""
    storage = Storage.deferred(1, lambda: np.zeros(1, np.uint8))
    before = storage.is_loaded
    storage.load()
    assert (before, storage.is_loaded) == (False, True)
    assert storage._provider is None


@pytest.mark.parametrize("array", [np.zeros(3, np.uint8), np.zeros(4, np.int8), np.zeros((2, 2), np.uint8)])
def test_fetching_something_else_than_promised_is_an_error(array: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> None:
    """Length and type are checked."""
    with pytest.raises(TensorError, match="storage of 4 bytes was given"):
        Storage.deferred(4, lambda: array).load()


def test_bytes_never_provided_are_an_error() -> None:
    """A storage without a source does not make up zeros."""
    with pytest.raises(TensorError, match="never provided"):
        _ = Storage.deferred(1, None).data


@pytest.mark.parametrize("nbytes", [-1, True, 1.0, "1"])
def test_deferred_size_is_checked(nbytes: int) -> None:
    """A number from a file is not trusted."""
    with pytest.raises(TensorError, match="0 or more bytes"):
        Storage.deferred(nbytes, None)


def test_threads_that_look_at_once_get_one_array() -> None:
    """The second waits for the first one's bytes."""
    started, release = threading.Event(), threading.Event()
    calls: list[int] = []

    def fetch() -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        calls.append(1)
        started.set()
        assert release.wait(10)
        return np.zeros(1, np.uint8)

    storage = Storage.deferred(1, fetch)
    seen: list[object] = []
    threads = [threading.Thread(target=lambda: seen.append(storage.data)) for _ in range(2)]
    threads[0].start()
    assert started.wait(10)
    threads[1].start()
    release.set()
    for thread in threads:
        thread.join(10)
    assert calls == [1]
    assert seen[0] is seen[1]


def test_who_looks_while_bytes_are_given_gets_the_same_array_as_all_others() -> None:
    """Two arrays of one storage would hide from each other what is written into them."""
    started, release = threading.Event(), threading.Event()

    def fetch() -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        started.set()
        assert release.wait(10)
        return np.zeros(1, np.uint8)

    storage = Storage.deferred(1, fetch)
    seen: list[object] = []
    looks = threading.Thread(target=lambda: seen.append(storage.data))
    gives = threading.Thread(target=lambda: storage.settle(np.ones(1, np.uint8)))
    looks.start()
    assert started.wait(10)
    gives.start()
    gives.join(0.1)
    release.set()
    for thread in (looks, gives):
        thread.join(10)
    assert seen[0] is storage.data


def test_bytes_are_given_once() -> None:
    """Whoever has looked has written into the first."""
    storage = Storage.deferred(1, None)
    storage.settle(np.ones(1, np.uint8))
    storage.settle(np.zeros(1, np.uint8))
    assert storage.tolist() == [1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_does_not_wait_for_a_thread_that_it_has_not() -> None:
    """Another thread gives a storage its bytes when the process is forked."""
    started = threading.Event()

    def give() -> None:
        with _MAKING_A_LOCK:
            started.set()
            time.sleep(0.2)

    thread = threading.Thread(target=give)
    thread.start()
    assert started.wait(10)
    child = os.fork()
    if not child:
        signal.alarm(10)
        Storage.deferred(1, lambda: np.ones(1, np.uint8)).load()
        os._exit(0)
    thread.join(10)
    assert os.waitpid(child, 0)[1] == 0


def test_deepcopy_has_its_own_writable_bytes_and_keeps_the_device() -> None:
    """A deferred storage is read for it; references to one storage stay to one."""
    storage = Storage.deferred(2, lambda: np.array([1, 2], np.uint8), "cuda:1")
    first, second = copy.deepcopy([storage, storage])
    assert first is second
    first.data[0] = 9
    assert (storage.tolist(), first.tolist(), first.device) == ([1, 2], [9, 2], "cuda:1")
    assert copy.deepcopy(Storage(b"a")).data.flags.writeable


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_keeps_bytes_and_device(protocol: int) -> None:
    """By every protocol that is in use."""
    again = pickle.loads(pickle.dumps(Storage(b"abc", "meta"), protocol))
    assert (again.tobytes(), again.device) == (b"abc", "meta")


def test_typed_storage_counts_elements() -> None:
    """Where a storage counts bytes."""
    typed = TypedStorage(Storage(np.array([1.5, -2.0], np.float32), "cuda:0"), dtypes.float32)
    assert (typed.size(), typed.numel(), len(typed), typed.nbytes()) == (2, 2, 2, 8)
    assert typed.tolist() == list(typed) == [1.5, -2.0]
    assert typed[1] == -2.0
    assert type(typed[1]) is float
    assert typed.untyped() is typed.storage
    assert typed.device == "cuda:0"
    assert repr(typed) == "<ptfile.FloatStorage of 2 elements, dtype=ptfile.float32, device='cuda:0'>"


def test_typed_storage_of_half_an_element_is_refused() -> None:
    """Its size is a whole number of elements."""
    with pytest.raises(TensorError, match="whole number"):
        TypedStorage(Storage(b"abc"), dtypes.int16)


def test_typed_storage_of_bytes_that_are_no_bools_is_corrected() -> None:
    """Every byte but 0 is True, and numpy never sees it."""
    assert TypedStorage(Storage(b"\x00\x01\x02"), dtypes.bool).tolist() == [False, True, True]


def test_typed_storage_without_numpy_type_has_no_values() -> None:
    """Quantized integers mean nothing alone."""
    typed = TypedStorage(Storage(b"ab"), dtypes.qint8)
    assert len(typed) == 2
    with pytest.raises(UnsupportedError):
        typed.tolist()


def deferred_digits() -> tuple[Storage, list[object]]:
    """A storage of the bytes 0 to 9, not read, and a list of what is asked for."""
    asked: list[object] = []

    def fetch() -> Any:
        asked.append("all")
        return np.arange(10, dtype=np.uint8)

    def fetch_range(start: int, stop: int) -> Any:
        asked.append((start, stop))
        return np.arange(start, stop, dtype=np.uint8)

    return Storage.deferred(10, fetch, "cuda:0", fetch_range=fetch_range), asked


def test_a_peek_reads_only_what_is_asked_for_and_keeps_nothing() -> None:
    """Once the storage has been read, it is a view of that."""
    storage, asked = deferred_digits()
    assert storage.peek(3, 5).tolist() == [3, 4]
    assert not storage.is_loaded
    storage.load()
    storage.data[4] = 99
    assert storage.peek(3, 5).tolist() == [3, 99]
    assert asked == [(3, 5), "all"]


def test_a_peek_into_a_storage_that_has_no_parts_reads_it() -> None:
    """There is no other way."""
    storage = Storage.deferred(10, lambda: np.arange(10, dtype=np.uint8))
    assert storage.peek(3, 5).tolist() == [3, 4]
    assert storage.is_loaded


def test_a_part_of_a_storage_that_was_read_shares_its_memory() -> None:
    """And its device tag."""
    storage = Storage(bytearray(10), "cuda:0")
    part = storage.part(3, 5)
    part.data[0] = 7
    assert (storage[3], part.nbytes(), part.device) == (7, 2, "cuda:0")


def test_a_part_of_a_storage_that_was_not_read_is_not_either() -> None:
    """It can be peeked into, and read."""
    storage, asked = deferred_digits()
    part = storage.part(3, 8)
    assert (part.is_loaded, part.device, asked) == (False, "cuda:0", [])
    assert part.peek(1, 3).tolist() == [4, 5]
    assert part.tolist() == [3, 4, 5, 6, 7]
    assert asked == [(4, 6), (3, 8)]
    assert not storage.is_loaded
