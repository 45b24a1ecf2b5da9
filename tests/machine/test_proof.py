"""What is proved harmless, and what is left to the vm."""

from __future__ import annotations

import io
import pickle
import random
import time
from collections import OrderedDict
from typing import Any
from unittest.mock import patch
from zipfile import ZipFile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ptfile
from ptfile.errors import PtfileError
from ptfile.formats.proved_tensors import tensors_of
from ptfile.formats.storages import LoadedStorages
from ptfile.formats.vocabulary import ROLES, find, policy
from ptfile.limits import Limits
from ptfile.machine import proof
from ptfile.machine.fast import _within, run_if_harmless
from ptfile.machine.phrases import record
from ptfile.machine.proof import is_harmless
from ptfile.machine.vm import Machine
from ptfile.tensors.storage import Storage
from tests.hostile.pickle_assembler import call, name, plain, storage, tuple_of


def pickled(value: Any) -> bytes:
    """The pickle of a checkpoint."""
    buffer = io.BytesIO()
    ptfile.save(value, buffer)
    return ZipFile(buffer).read("archive/data.pkl")


def state_dict() -> OrderedDict[str, Any]:
    made: OrderedDict[str, Any] = OrderedDict()
    for number in range(40):
        made[f"layer.{number}.weight"] = ptfile.zeros(2, 3, number % 3, dtype=ptfile.bfloat16)
        made[f"layer.{number}.bias"] = ptfile.zeros(3)
    made["count"] = ptfile.tensor(7)
    made["tied"] = made["count"][None]
    made._metadata = OrderedDict({"": {"version": 1}, "layer": {}})  # type: ignore[attr-defined]
    return made


def training() -> dict[str, Any]:
    group = {
        "lr": 1e-3,
        "betas": (0.9, 0.999),
        "size": (1, 2, 3, 4),
        "amsgrad": False,
        "params": [0, 1, 2],
        "name": None,
    }
    state = {number: {"step": ptfile.tensor(5.0), "exp_avg": ptfile.zeros(4)} for number in range(30)}
    return {
        "model": state_dict(),
        "ema": state_dict(),
        "optimizer": {"state": state, "param_groups": [group, {**group, "params": [3, 4]}]},
        "epoch": 300,
        "loss": [float(number) for number in range(2500)],
        "large": 1 << 50,
        "flags": [(), [], {}, (True, None), [[1], [2, [3]]], -7, 70_000],
        "parameters": [ptfile.Parameter(ptfile.zeros(3)), "text", ptfile.Parameter(ptfile.zeros(3), False), "text"],
        "odd names": {7: 1, None: 2, True: 3, 2.5: 4},
        "args": OrderedDict(a=1),
    }


def records(count: int) -> dict[str, Any]:
    """Dicts with the same keys and others among them, in a list and by name."""
    scalars: list[Any] = [0.5, 300, -1, None, True, 1 << 40, (), 7]

    def entry(number: int) -> dict[Any, Any]:
        made: dict[Any, Any] = {key: scalars[(number + place) % len(scalars)] for place, key in enumerate("abcde")}
        if number % 50 == 7:
            made["b"] = "a text"
        if number % 50 == 9:
            made = {key: made[key] for key in "edcba"}
        if number % 50 == 11:
            made[number] = number
        return made

    return {"list": [entry(number) for number in range(count)], "dict": {f"r{n}": entry(n) for n in range(count)}}


HONEST: dict[str, Any] = {
    "tensor": ptfile.zeros(2, 3),
    "state_dict": state_dict(),
    "training": training(),
    "numbers": list(range(5_000)),
    "one": 1,
    "a thousand texts": {f"k{number}": number for number in range(1_000)},  # the last batch of which is empty
    "records": records(3_000),
    "many dicts": [{"a": number, "b": "x"} for number in range(3_000)],
}
UNPROVED: dict[str, Any] = {
    "a long text": "a" * 256,
    "a sparse tensor": ptfile.SparseTensor(ptfile.zeros(1, 1, dtype=ptfile.int64), ptfile.zeros(1), (3,)),
    "a dtype": ptfile.float32,
    "a set": {1},
    "bytes": b"abc",
    "a huge integer": 1 << 70,
    "one list twice": [HONEST["numbers"][:3]] * 2,
    "a tuple as a key": {(1, 2): 3},
    "an attribute of another name": None,
    "the name of the attribute as a key": None,
}
UNPROVED["an attribute of another name"] = OrderedDict(a=1)
UNPROVED["an attribute of another name"].keys_ = 1
UNPROVED["the name of the attribute as a key"] = OrderedDict(_metadata=1)
UNPROVED["the name of the attribute as a key"]._metadata = 2


class Storages:
    """Stands in for a file: storages of zeros, whatever is asked for."""

    def __init__(self) -> None:
        self._loaded = LoadedStorages(lambda _key, nbytes, _dtype: Storage(bytearray(min(nbytes, 1 << 20))), None)
        self.load = self._loaded.load
        self.tensor = tensors_of(self._loaded)


def fast(data: bytes) -> tuple[Any, bool]:
    storages = Storages()
    return run_if_harmless(data, ROLES, find, storages.load, Limits(), storages.tensor)


def plainly(data: bytes) -> Any:
    value, end = Machine(policy("error"), Storages().load).run(data)
    assert end == len(data)
    return value


@pytest.mark.parametrize("case", HONEST)
def test_what_pytorch_writes_is_proved_and_gives_what_the_vm_gives(case: str) -> None:
    """Equal to the last byte when it is saved again: types, order, identity."""
    data = pickled(HONEST[case])
    value, is_run = fast(data)
    assert is_run
    assert pickled(value) == pickled(plainly(data)) == data


def test_many_dicts_with_the_same_keys_are_learned() -> None:
    """And read by one expression each from then on."""
    data = pickled({"list": [dict.fromkeys("abc", number) for number in range(5_000)]})
    with patch.object(proof, "record", wraps=record) as learned:
        assert is_harmless(data, ROLES)
    assert learned.call_count == 1


def test_only_so_many_kinds_of_dicts_are_learned() -> None:
    """An expression takes longer to make than a few dicts to read."""
    kinds = [dict.fromkeys([f"{kind}{key}" for key in "abc"], 1) for kind in range(20)]
    data = pickled([dict(kind) for kind in kinds for _ in range(3)])
    with patch.object(proof, "_WORTH_LEARNING", 2), patch.object(proof, "record", wraps=record) as learned:
        assert is_harmless(data, ROLES)
    assert learned.call_count == 4


@pytest.mark.parametrize("case", UNPROVED)
def test_what_is_no_phrase_is_left_to_the_vm(case: str) -> None:
    """It is right all the same, and loads."""
    data = pickled(UNPROVED[case])
    assert not is_harmless(data, ROLES)
    assert pickled(plainly(data)) == data


FALSE = b"\x89"
ORDERED = name("collections", "OrderedDict")
HOOKS = ORDERED + b")R"
VIEW = (plain(0), plain((2,)), plain((1,)), FALSE)
TENSOR = call(name("torch._utils", "_rebuild_tensor_v2"), storage("FloatStorage", "0", plain(2)), *VIEW, HOOKS).replace(
    b"q\0", b"q\xff"
)
PARAMETER = name("torch._utils", "_rebuild_parameter") + TENSOR + FALSE + HOOKS + b"\x87R"
TEXT = b"X\x01\0\0\0aq\xff"
META = b"X\t\0\0\0_metadataq\xff"


def numbered(body: bytes) -> bytes:
    """A pickle in which the memo entries that are called 255 have the numbers 0, 1, 2 and so on."""
    first, *rest = body.split(b"q\xff")
    return b"\x80\x02" + first + b"".join(b"q%c" % number + part for number, part in enumerate(rest)) + b"."


@pytest.mark.parametrize(
    "body",
    [
        name("os", "system"),
        call(name("os", "system"), plain("id")),
        ORDERED,  # as a value
        name("torch", "FloatStorage"),
        call(ORDERED, plain([])),
        call(ORDERED, storage("FloatStorage", "0", plain(2)), *VIEW, HOOKS),
        call(name("torch._utils", "_rebuild_parameter"), storage("FloatStorage", "0", plain(2)), *VIEW, HOOKS),
        call(name("torch._utils", "_rebuild_tensor_v2"), TENSOR, FALSE, HOOKS),
        storage("FloatStorage", "0", plain(2)),  # a storage by itself
        name("torch._utils", "_rebuild_parameter"),  # as a value, in each place that a value can have
        b"]" + name("torch._utils", "_rebuild_parameter") + b"a",
        b"](" + name("torch._utils", "_rebuild_parameter") + b"e",
        b"}K\x01" + name("torch._utils", "_rebuild_parameter") + b"s",
        b"}(K\x01" + name("torch._utils", "_rebuild_parameter") + b"u",
        name("torch._utils", "_rebuild_parameter") + b"\x85",
        b"(" + name("torch._utils", "_rebuild_parameter") + b"t",
        name("torch._utils", "_rebuild_parameter") + TENSOR + FALSE + HOOKS + b"\x87",
        b"K\x01(K\x02e",  # items for no list
        b"K\x01K\x02a",
        b"](K\x01K\x02u",
        b"}(K\x01K\x02e",
        b"}K\x01K\x02K\x03s",
        b"}(K\x01u",  # a key without a value
        b"}(](e" + b"K\x01u",  # keys that are no plain values
        b"}(K\x01K\x02\x86K\x01u",
        b"}(" + TENSOR + b"K\x01u",
        b"}" + TENSOR + b"K\x01s",
        b"K\x01K\x02",  # two results
        b"(K\x01",  # an open mark
        b"(K\x01t0",  # POP
        b"K\x012\x86",  # DUP
        HOOKS + b"}" + TEXT + b"K\x01sb",  # an attribute that PyTorch does not write
        HOOKS + b"}(" + META + b"K\x01" + TEXT + b"K\x02ub",
        HOOKS + b"}" + META + b"K\x01s" + TEXT + b"K\x02sb",
        b"]}" + META + b"K\x01sb",
        HOOKS + b"}" + META + b"K\x01sbh\0\x86",  # the name of the attribute as a value
        b"](" + HOOKS + b"}" + META + b"K\x01sb}h\0K\x02se",  # it as a key
        b"](" + HOOKS + b"}" + META + b"K\x01sb}h\0e",
        b"](" + (HOOKS + b"}" + META + b"K\x01sb") * 2 + b"e",  # that name twice: CPython would make one of them
        b"](K\x01q\0e",  # what is no text goes into the memo
        b"]r\0\1\0\0",  # far away, for a pickle of its size
        b"X\x01\0\0\0aq\0X\x01\0\0\0aq\0\x86",  # the same memo entry again
        b"X\x01\0\0\0aq\1X\x01\0\0\0aq\0\x86",
        b"X\x01\0\0\0aq\0h\1\x86",
        b"]q\0h\0\x86",  # a list out of the memo
        b"(" + b"N" * 17 + b"tq\0h\0\x86",  # a long tuple
        b"](K\x01t\x85q\0h\0\x86",  # a tuple in a tuple
        b"}(K\x01\x85q\0N\x86K\x01h\0K\x01u",  # a tuple as a key
        b"(" * 101 + b"t" * 101,
        b"(K\x01t.",  # STOP in the middle
        b"\x8c\x01a",  # protocol 4
        b"X\xff\0\0\0a",  # cut off
        b"\x8a\x08" + bytes(8),
    ],
)
def test_what_could_do_harm_or_is_malformed_is_not_proved(body: bytes) -> None:
    """One thing is wrong in each."""
    assert not is_harmless(numbered(body), ROLES)


@pytest.mark.parametrize(
    "data", [b"", b"\x80\x02", b"\x80\x02.", b"\x80\x02N", b"\x80\x02N.N", b"\x80\x04N.", b"\x80\x02N..", b"N."]
)
def test_what_is_no_whole_pickle_of_these_protocols_is_not_proved(data: bytes) -> None:
    """Nor is one that goes on behind its end."""
    assert not is_harmless(data, ROLES)


def test_values_cost_about_the_same_whatever_the_memo_gives() -> None:
    """A tuple among them does not have the rest of them read again."""

    def seconds(reference: bytes) -> float:
        data = b"\x80\x02(K\x01\x85q\0X\x01\0\0\0aq\1" + (b"K\x01" + reference) * 20_000 + b"t."
        start = time.perf_counter()
        assert is_harmless(data, ROLES)
        return time.perf_counter() - start

    assert min(seconds(b"h\0") for _ in range(3)) < 20 * min(seconds(b"h\1") for _ in range(3)) + 0.05


def test_the_phrases_of_the_test_above_are_sound_in_themselves() -> None:
    """Else it would not show anything."""
    for body in (
        TENSOR,
        HOOKS,
        b"](K\x01e",
        b"}(K\x01K\x02u",
        b"}K\x01K\x02s",
        tuple_of(TENSOR, TEXT),
        b"(K\x01t",
        PARAMETER,
    ):
        assert is_harmless(numbered(body), ROLES)
    assert is_harmless(numbered(HOOKS + b"}" + META + b"K\x01sb"), ROLES)
    assert is_harmless(numbered(b"X\x01\0\0\0aq\0h\0\x86"), ROLES)
    assert is_harmless(numbered(b"](K\x01\x85q\0h\0e"), ROLES)


def outcome(run: Any, data: bytes) -> Any:
    try:
        return pickled(run(data))
    except PtfileError as error:
        return type(error), str(error)


@given(case=st.sampled_from(["tensor", "state_dict", "training", "records"]), seed=st.integers(0, 1 << 60))
@settings(max_examples=600, deadline=None)
def test_a_changed_pickle_that_is_still_proved_gives_what_the_vm_gives(case: str, seed: int) -> None:
    """Bytes changed, taken out, doubled and moved at random, as a fuzzer does."""
    chance = random.Random(seed)
    data = bytearray(PICKLES[case])
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(2, len(data))
        length = chance.choice((1, 1, 2, 5, 20))
        other = chance.randrange(2, len(data))
        match chance.randrange(4):
            case 0:
                data[place] = chance.randrange(256)
            case 1:
                del data[place : place + length]
            case 2:
                data[place:place] = data[other : other + length]
            case _:
                data[place : place + length] = data[other : other + length]
    changed = bytes(data)
    with patch.object(proof, "_WORTH_LEARNING", 2):
        value, is_run = fast(changed)
    if is_run:
        assert outcome(lambda _: value, changed) == outcome(plainly, changed)


PICKLES = {case: pickled(HONEST[case]) for case in ("tensor", "state_dict")}
PICKLES["records"] = pickled(records(12))
PICKLES["training"] = pickled({**training(), "loss": []})


def test_a_proof_takes_time_in_proportion_to_the_pickle() -> None:
    """Also where the phrases break off again and again."""
    begin = b"\x80\x02(K\x01\x85q\0"  # the memo has a tuple
    for piece in (b"](", b"(K\x01", TEXT, b"h\0", b"K\x01K\x01", TENSOR[:-1], b"](K\x01e\x85", b"K\x01h\0"):

        def seconds(times: int, piece: bytes = piece) -> float:
            data = begin + piece * times + b"."
            start = time.perf_counter()
            is_harmless(data, ROLES)
            return time.perf_counter() - start

        few = min(seconds(2_000) for _ in range(3))
        assert seconds(20_000) < 60 * few + 0.05


@pytest.mark.parametrize(
    "limits", [Limits(opcodes=100), Limits(memo=100), Limits(text_size=200), Limits(integer_digits=9), Limits(names=2)]
)
def test_tighter_limits_than_a_proof_can_promise_are_the_vms(limits: Limits) -> None:
    """It counts what a proof does not."""
    data = pickled(HONEST["state_dict"])
    assert run_if_harmless(data, ROLES, find, Storages().load, limits) == (None, False)


def test_the_pickle_of_a_million_tensors_is_within_the_limits() -> None:
    """It has more bytes than the memo may have entries, but not as many entries."""
    assert _within(Limits(), 150 << 20, len(ROLES))
    assert not _within(Limits(memo=1 << 20), 150 << 20, len(ROLES))


def test_what_fails_when_it_is_run_is_left_to_the_vm() -> None:
    """So that the error is the vm's, with its place."""
    data = numbered(TENSOR.replace(b"K\x02\x85", b"K\x09\x85"))
    assert is_harmless(data, ROLES)
    assert fast(data) == (None, False)


def test_pickle_protocol_3_is_proved_too() -> None:
    """It differs in bytes alone."""
    assert is_harmless(pickle.dumps({"a": [1, 2.5, None, "b"]}, 3), ROLES)
