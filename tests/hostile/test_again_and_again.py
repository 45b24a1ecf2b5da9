"""One large thing that a pickle names again and again, where each time costs as much as the thing is large."""

from __future__ import annotations

import io
from typing import Literal

import pytest

import ptfile
from tests.hostile.pickle_assembler import (
    FALSE,
    NO_HOOKS,
    NONE,
    TRUE,
    call,
    checkpoint,
    integer,
    keep,
    kept,
    load,
    name,
    plain,
    storage,
    text,
    tuple_of,
)

LARGE = 200_000
"""Characters. Honest keys have a few, in a file of any size."""
TIMES = 20_000
LIMITS = ptfile.Limits(shared=1 << 20)
"""Lower than the default, to be quick: the default comes to a second."""
PATH, DECIMAL, FRACTION = name("pathlib", "PurePosixPath"), name("decimal", "Decimal"), name("fractions", "Fraction")
EITHER_WAY = pytest.mark.parametrize("unknown", ["error", "inert"])


def a_bytes(size: int) -> bytes:
    """BINBYTES."""
    return b"B" + size.to_bytes(4, "little") + b"a" * size


KEYS = {
    "a text": text("9" * LARGE),
    "bytes": a_bytes(LARGE),
    "a text in a tuple": text("9" * LARGE) + b"\x85",
    "a path": PATH + text("a" * LARGE) + b"\x85R",
    "a Decimal": DECIMAL + text("9" * LARGE) + b"\x85R",
    "a slice": call(name("builtins", "slice"), text("9" * LARGE), NONE, NONE) + b"\x85",
    "a text of numpy's": call(
        name("numpy._core.multiarray", "scalar"),
        call(name("numpy", "dtype"), text(f"S{LARGE}"), FALSE, TRUE),
        a_bytes(LARGE),
    ),
}
"""Each is compared with an equal one to its end, if it can be a key at all."""


@EITHER_WAY
@pytest.mark.parametrize("kind", KEYS)
def test_a_long_key_is_not_compared_with_its_equal_again_and_again(
    kind: str, unknown: Literal["error", "inert"]
) -> None:
    """In a dict, where it is stored four bytes at a time, and in a set."""
    two = KEYS[kind] + keep(1000) + KEYS[kind] + keep(1001)
    for begin, again in ((b"}", b"Ns"), (b"\x8f", b"\x90")):
        mark = b"" if begin == b"}" else b"("
        body = two + begin + mark + kept(1000) + again + (mark + kept(1001) + again) * TIMES
        with pytest.raises((ptfile.LimitError, ptfile.FormatError)) as caught:
            load(body, unknown=unknown, limits=LIMITS)
        # Before Python 3.12 slices are no keys at all.
        assert "have too many parts" in caught.value.problem or "a slice cannot be a key" in caught.value.problem


def test_one_long_key_is_no_harm() -> None:
    """It costs what the file costs."""
    assert load(b"}" + text("9" * LARGE) + b"Ns") == {"9" * LARGE: None}


@EITHER_WAY
def test_a_structured_scalar_of_numpy_is_no_key(unknown: Literal["error", "inert"]) -> None:
    """As in numpy, where what can be written has no hash: it would be taken of each of its fields, each time."""
    fields = b"}" + plain("a") + call(name("numpy", "dtype"), plain("i4"), FALSE, TRUE) + b"K\0\x86s"
    state = tuple_of(*map(plain, (3, "|")), NONE, plain(("a",)), fields, plain(4), plain(1), plain(0x10))
    dtype = call(name("numpy", "dtype"), plain("V4"), FALSE, TRUE) + state + b"b"
    scalar = call(name("numpy._core.multiarray", "scalar"), dtype, plain(b"abcd"))
    assert load(scalar, unknown=unknown).flags.writeable
    with pytest.raises(ptfile.FormatError, match="a void cannot be a key"):
        load(b"}" + scalar + b"Ns", unknown=unknown)


@EITHER_WAY
def test_a_dtype_is_not_given_its_fields_again_and_again(unknown: Literal["error", "inert"]) -> None:
    """They are checked each time."""
    names = tuple(f"f{number}" for number in range(3_000))
    field = call(name("numpy", "dtype"), plain("i1"), FALSE, TRUE) + keep(1000)
    fields = b"}(" + b"".join(text(part) + kept(1000) + b"K\0\x86" for part in names) + b"u"
    listed = b"(" + b"".join(map(text, names)) + b"t"
    state = tuple_of(plain(3), plain("|"), NONE, listed, fields, plain(4), plain(1), plain(0x10)) + keep(1001)
    dtype = call(name("numpy", "dtype"), plain("V4"), FALSE, TRUE)
    with pytest.raises(ptfile.LimitError) as caught:
        load(field + state + dtype + (kept(1001) + b"b") * 3_000, unknown=unknown, limits=LIMITS)
    assert caught.value.limit == "shared"


@EITHER_WAY
@pytest.mark.parametrize("kind", ["integers", "text"])
def test_fractions_of_many_digits_are_counted(kind: str, unknown: Literal["error", "inert"]) -> None:
    """Each takes a thousand times what its twelve bytes take otherwise."""
    first, second = 10**4299 + 7, 10**4298 + 9
    arguments = tuple_of(integer(first), integer(second))
    if kind == "text":
        arguments = tuple_of(text(f"1{'0' * 4298}7/1{'0' * 4297}9"))
    body = FRACTION + keep(1000) + arguments + keep(1001) + b"](" + (kept(1000) + kept(1001) + b"R") * TIMES + b"e"
    with pytest.raises(ptfile.LimitError) as caught:
        load(body, unknown=unknown, limits=LIMITS)
    assert caught.value.limit == "shared"


@pytest.mark.parametrize("number", ["9" * 4_302, "1/" + "9" * 4_302])
def test_a_fraction_of_too_many_digits_is_refused(number: str) -> None:
    """Also where Python is told not to count them."""
    with pytest.raises(ptfile.FormatError, match="digits"):
        load(call(FRACTION, text(number)))


def test_a_long_name_is_not_compared_again_and_again() -> None:
    """Names that only inert records have may be of any length in a file."""
    body = text("a" * LARGE) + keep(1000) + plain("b") + keep(1001) + (kept(1000) + kept(1001) + b"\x930") * 2 + NONE
    with pytest.raises(ptfile.LimitError) as caught:
        load(body, unknown="inert")
    assert (caught.value.limit, caught.value.actual) == ("name_characters", LARGE + 1)


@pytest.mark.parametrize(
    "owner", [name("argparse", "Namespace") + b")\x81", name("collections", "OrderedDict") + b")R"]
)
def test_an_attribute_of_a_long_name_is_refused(owner: bytes) -> None:
    """A state may be given again and again."""
    with pytest.raises(ptfile.FormatError, match=f"a name of {LARGE} characters"):
        load(owner + b"}" + text("a" * LARGE) + b"Nsb")


@pytest.mark.parametrize("place", ["key", "location"])
def test_an_id_that_is_a_long_text_is_refused(place: str) -> None:
    """Protocol 0 writes ids as texts, which other protocols can name again and again."""
    parts = {"key": "0", "location": "cpu"} | {place: "a" * LARGE}
    written = f"('storage', <class 'torch.FloatStorage'>, '{parts['key']}', '{parts['location']}', 1)"
    with pytest.raises(ptfile.FormatError, match="a persistent id is not of the form"):
        load(text(written) + b"Q", bytes(4))


@EITHER_WAY
def test_attributes_that_many_objects_share_are_not_named_for_each(unknown: Literal["error", "inert"]) -> None:
    """A path to each of a thousand attributes of each of a thousand objects would be a million, of a few kilobytes."""
    attributes = b"}(" + b"".join(text(f"a{place}") + NONE for place in range(1_000)) + b"u" + keep(1000)
    if unknown == "inert":
        made = name("a", "b") + b")\x81" + kept(1000) + b"b"
    else:
        place = tuple_of(storage("FloatStorage", "0", plain(1)), plain(0), plain((1,)), plain((1,)), FALSE, NO_HOOKS)
        rebuild = name("torch._utils", "_rebuild_tensor_v2") + name("torch", "Tensor") + place + kept(1000)
        made = call(name("torch._tensor", "_rebuild_from_type_v2"), rebuild)
    data = checkpoint(attributes + b"](" + made * 1_000 + b"e", bytes(4))
    with pytest.raises(ptfile.LimitError) as caught:
        ptfile.inspect(io.BytesIO(data))
    assert caught.value.limit == "repeated_characters"
