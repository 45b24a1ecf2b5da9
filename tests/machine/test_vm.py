"""The machine: values as CPython's unpickler makes them, and nothing else."""

from __future__ import annotations

import contextlib
import pickle
import time
from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptfile.errors import FormatError, LimitError, PtfileError, UnsafeError, UnsupportedError
from ptfile.limits import Limits
from ptfile.machine.names import Global
from ptfile.machine.policy import Meaning, Policy, TypeRules, python3_name
from ptfile.machine.vm import Machine, Python2Text
from tests.machine.test_opcodes import VALUES

POLICY = Policy(
    names={
        ("torch", "float32"): Meaning("the dtype"),
        ("torch", "FloatStorage"): Meaning(),
        ("collections", "OrderedDict"): Meaning(call=OrderedDict, new=OrderedDict),
        ("builtins", "bytearray"): Meaning(call=lambda *args: bytearray(*args)),
        ("builtins", "set"): Meaning(set, call=set),
        ("builtins", "frozenset"): Meaning(frozenset, call=frozenset),
        ("_codecs", "encode"): Meaning(call=lambda text, coding: text.encode(coding)),
        ("builtins", "bytes"): Meaning(call=bytes),
    },
    types={OrderedDict: TypeRules(update=OrderedDict.update, set_state=lambda obj, state: vars(obj).update(state))},
)


def run(data: bytes, **options: Any) -> Any:
    return Machine(POLICY, lambda pid: ("persistent", pid), **options).run(data)[0]


def typed(value: Any) -> Any:
    """The value with the types of all parts, so that 1, 1.0 and True differ, and nan equals nan."""
    if isinstance(value, dict):
        return (type(value), [(typed(key), typed(item)) for key, item in value.items()])
    if isinstance(value, (list, tuple)):
        return (type(value), [typed(item) for item in value])
    return (type(value), repr(sorted(value) if isinstance(value, (set, frozenset)) else value))


@given(value=VALUES, protocol=st.integers(0, 5))
def test_values_are_the_ones_that_were_pickled(value: Any, protocol: int) -> None:
    """Any tree of Python's own values comes back, whatever the protocol."""
    assert typed(run(pickle.dumps(value, protocol))) == typed(value)


def test_objects_met_twice_stay_one_object() -> None:
    """The memo keeps identity, also for a list that holds itself."""
    inner: list[Any] = [1]
    inner.append(inner)
    first, second = run(pickle.dumps([inner, inner], 2))
    assert first is second
    assert first[1] is first


def test_an_attribute_state_is_given_back() -> None:
    """BUILD on a type with a rule sets the state."""
    value = OrderedDict(a=1)
    value._metadata = "kept"  # type: ignore[attr-defined]
    assert vars(run(pickle.dumps(value, 2))) == {"_metadata": "kept"}


def test_constants_become_values_and_builders_stay_names() -> None:
    """A constant is pushed as its value; the name of a builder that is not called stays a name."""
    assert run(b"\x80\x02ctorch\nfloat32\nctorch\nFloatStorage\n\x86.") == (
        "the dtype",
        Global("torch", "FloatStorage"),
    )


def test_persistent_ids_are_resolved_from_outside() -> None:
    """BINPERSID gives the whole id to the function, PERSID its text."""
    assert run(b"\x80\x02K\x01K\x02\x86Q.") == ("persistent", (1, 2))
    assert run(b"Pkey\n.") == ("persistent", "key")


def test_the_position_behind_stop_is_returned() -> None:
    """Pickles can follow one another: the machine starts and ends where it is told."""
    machine = Machine(POLICY, lambda pid: pid)
    assert machine.run(b"junkN.rest", start=4) == (None, 6)


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\nX\x02\x00\x00\x00id\x85R.",  # REDUCE
        b"cos\nsystem\n0N.",  # named, never used
        b"\x80\x04\x8c\x02os\x8c\x06system\x93N\x85R.",  # STACK_GLOBAL
        b"(S'id'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'id'\no.",  # OBJ
        b"(cos\nsystem\nS'id'\no0N.",  # OBJ, result dropped
        b"ccollections\nOrderedDict.fromkeys\n.",  # a dotted name in an allowed module
        b"c__builtin__\neval\n.",  # a Python 2 name
        b"\x82\x01.",  # an extension code
        b"\x80\x04ccollections\nOrderedDict\n)}\x8c\x01ak\x01s\x92.".replace(b"k\x01", b"K\x01"),  # NEWOBJ_EX, keywords
        b"ctorch\nFloatStorage\n(I8\ntR.",  # a class that would allocate
    ],
)
def test_names_outside_the_table_are_refused_and_not_imported(data: bytes) -> None:
    """However a pickle spells it, a name that the policy lacks is an UnsafeError that says the name."""
    with pytest.raises(UnsafeError) as caught:
        run(data)
    assert caught.value.name
    assert caught.value.offset is not None
    assert isinstance(caught.value, pickle.UnpicklingError)


@pytest.mark.parametrize(
    "data",
    [
        b".",  # nothing on the stack
        b"NN.",  # two values
        b"(N.",  # an open mark
        b"0.",  # underflow
        b"2.",
        b"q\x00.",
        b"t.",  # no mark
        b"1.",
        b"]N}s.",  # not a dict
        b"}(K\x01u.",  # a key without a value
        b"}Na.",  # not a list
        b"](K\x01\x90.",  # not a set
        b"]}b.",  # a state for a list
        b"h\x05.",  # no such memo entry
        b"Np-1\n.",  # a negative memo number
        b"K\x01)R.",  # calling a number
        b"ctorch\nFloatStorage\nK\x01R.",  # arguments that are no tuple
        b"(o.",  # an object of no class
        b"}]N}s.",  # a list as a key
        b"}](]tNs.",  # a list inside a key
        b"\x80\x04K\x01\x8c\x01a\x93.",  # a module that is no text
        b"cbuiltins\nfrozenset\nK\x01\x85R.",  # arguments that do not fit the builder
        b"(]\x91.",  # an element that cannot be hashed
    ],
)
def test_programs_that_no_pickler_writes_are_a_format_error(data: bytes) -> None:
    """Each slip of structure is an error with a position, never a crash or a guess."""
    with pytest.raises(FormatError) as caught:
        run(data)
    assert caught.value.offset is not None


def test_buffers_outside_the_pickle_are_unsupported() -> None:
    """No checkpoint has them."""
    with pytest.raises(UnsupportedError):
        run(b"\x80\x05\x97.")


def test_a_huge_memo_number_costs_nothing() -> None:
    """The memo is sparse: LONG_BINPUT with the largest index allocates one entry."""
    assert run(b"Nr\xff\xff\xff\xff0j\xff\xff\xff\xff.") is None


@pytest.mark.parametrize(
    "data",
    [
        b"}" + b"(" + b")" + b"\x85" * 10_000 + b"N" + b"u.",  # ten thousand tuples deep
        b"}" + b"(" + b")" + b"2\x86" * 30 + b"N" + b"u.",  # halves shared thirty times over
    ],
)
def test_keys_that_are_dangerous_to_hash_are_refused_at_once(data: bytes) -> None:
    """Hashing recurses in C and walks shared parts again and again: such keys never reach it."""
    start = time.perf_counter()
    with pytest.raises(FormatError):
        run(data)
    assert time.perf_counter() - start < 5  # exponential work would take minutes


def test_open_marks_are_limited() -> None:
    """A LimitError names the limit."""
    with pytest.raises(LimitError) as caught:
        run(b"(" * 50 + b"N.", limits=Limits(depth=20))
    assert (caught.value.limit, caught.value.allowed, caught.value.actual) == ("depth", 20, 21)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (Python2Text("latin1"), "\xe9"),
        (Python2Text("bytes"), b"\xe9"),
        (Python2Text("ascii", "replace"), "�"),
    ],
)
def test_python_2_strings_are_read_as_asked(text: Python2Text, expected: object) -> None:
    """`encoding` and `errors` mean what they mean in `pickle.load`."""
    assert run(b"U\x01\xe9.", text=text) == expected


def test_python_2_strings_in_the_wrong_encoding_are_an_error_that_says_what_to_do() -> None:
    """The message names the argument to give."""
    with pytest.raises(FormatError, match="encoding='latin1'"):
        run(b"U\x01\xe9.")


def test_python_2_names_are_found_under_their_new_name() -> None:
    """The renames are pickle's own."""
    assert python3_name("__builtin__", "xrange") == ("builtins", "range")
    assert python3_name("copy_reg", "_reconstructor") == ("copyreg", "_reconstructor")
    assert python3_name("torch", "float32") == ("torch", "float32")
    assert run(b"c__builtin__\nset\n]\x85R.") == set()


@given(data=st.binary(max_size=60))
def test_no_bytes_raise_anything_but_our_errors(data: bytes) -> None:
    """Garbage is a value or a PtfileError."""
    with contextlib.suppress(PtfileError):
        run(data)


@given(st.lists(st.sampled_from(sorted(Machine._actions)), max_size=20), st.data())
def test_no_program_raises_anything_but_our_errors(names: list[str], data: st.DataObject) -> None:
    """Programs of real opcodes with random arguments are a value or a PtfileError."""
    from ptfile.machine.opcodes import TABLE

    codes = {row.name: row for row in TABLE}
    program = bytearray()
    for name in names:
        program.append(codes[name].code)
        if codes[name].read is not None:
            program += data.draw(st.binary(max_size=9))
    with contextlib.suppress(PtfileError):
        run(bytes(program) + b".")


@pytest.mark.parametrize(
    ("data", "limits"),
    [
        (b"(NNNNNl.", Limits(opcodes=7)),
        (pickle.dumps("a" * 21, 4), Limits(text_size=20)),
        (pickle.dumps(b"a" * 21, 4), Limits(text_size=20)),
        (pickle.dumps(bytearray(21), 5), Limits(text_size=20)),
        (pickle.dumps(["a", "b", "c"], 2), Limits(memo=3)),
        (pickle.dumps(["a", "b", "c"], 4), Limits(memo=3)),
        (pickle.dumps(10**20, 2), Limits(integer_digits=19)),
        (pickle.dumps(10**20, 0), Limits(integer_digits=19)),
        (pickle.dumps(1 << 30_000, 2), Limits()),
        (b"(ctorch\nfloat32\nctorch\nFloatStorage\nl.", Limits(names=1)),
        (b"]" * 2_000 + b"a" * 1_999 + b".", Limits()),  # no mark, and deep all the same
        (b"]q\x00" + b"h\x00]q\x01a0h\x01q\x000" * 2_000 + b".", Limits()),  # from the outside in
    ],
)
def test_what_a_pickle_may_cost_is_limited(data: bytes, limits: Limits) -> None:
    """Each bound is an error that says which, before more than that was spent."""
    with pytest.raises(LimitError) as caught:
        run(data, limits=limits)
    assert caught.value.actual > caught.value.allowed
    assert caught.value.offset is not None


def doubling(levels: int) -> bytes:
    """A list that is twice in the next one, and so on."""
    steps = b"".join(b"(h%ch%clq%c0" % (level, level, level + 1) for level in range(levels))
    return b"\x80\x02]q\x000" + steps + b"h%c." % levels


def test_lists_that_double_are_loaded_while_a_walk_through_all_of_it_ends() -> None:
    """Python itself writes such a list out without noticing what it has written before."""
    value = run(doubling(10))
    assert value[0] is value[1]
    with pytest.raises(LimitError) as caught:
        run(doubling(30))
    assert caught.value.limit == "shared"
    assert run(doubling(12), limits=Limits(shared=10_000))[0][0][0]
    with pytest.raises(LimitError):
        run(doubling(14), limits=Limits(shared=10_000))


def test_one_text_handed_to_calls_again_and_again_is_refused() -> None:
    """Each call makes a copy of it: memory that the file does not have."""
    text = pickle.dumps("a" * 100_000, 2)[:-1]
    call = b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R"
    few, many = (text + b"]" + (call + b"a") * count + b"\x86." for count in (10, 1_000))
    assert run(few)[1] == [b"a" * 100_000] * 10
    with pytest.raises(LimitError) as caught:
        run(many)
    assert caught.value.limit == "shared"


@pytest.mark.parametrize("wrap", ["set", "frozenset"])
def test_elements_that_are_given_to_a_call_are_checked_as_keys_are(wrap: str) -> None:
    """Protocols up to 3 make sets that way."""
    keys = pickle.dumps([n * ((1 << 61) - 1) for n in range(200)], 2)[2:-1]
    with pytest.raises(LimitError) as caught:
        run(b"\x80\x02c__builtin__\n" + wrap.encode() + b"\n" + keys + b"\x85R.")
    assert caught.value.limit == "collisions"
