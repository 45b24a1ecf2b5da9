"""The digits of `.data/serialization_id`, against what PyTorch wrote and against a set that is really kept."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptfile.containers.serialization_id import BUCKET_COUNTS, LENGTH, name_hashes, serialization_id

MASK = (1 << 64) - 1

FIRST = ["data.pkl", ".format_version", ".storage_alignment", "byteorder"]

# What PyTorch 2.13 writes for `[torch.zeros(1) for _ in range(count)]`: the size and CRC of data.pkl, and the digits.
GOLDEN = {
    0: (6, 1697660620, b"0290846867776292310400077727464415439440"),
    1: (154, 1369745864, b"1572819951185464302604441509878323658693"),
    2: (204, 865377344, b"0561108523619670529406371329254125410310"),
    6: (400, 587425073, b"1268567396964646261103420395893099593947"),
    7: (449, 2275097370, b"0689529564785206557801371947102475543572"),
    8: (498, 3579702083, b"0826864773560457770007161676488206020067"),
    12: (696, 3679391162, b"1306957282387717882710025839409789086636"),
    13: (746, 222280626, b"0690349099783144375013597958724860588045"),
    14: (796, 3309883987, b"1520105792693063459808316537770150483135"),
    23: (1246, 1145762191, b"1554171884584118487700965864760209377391"),
    24: (1296, 1792250202, b"1264777550760011175301776593594919300846"),
    100: (6446, 2486923411, b"0915973700512133655603152378687785401110"),
    405: (28406, 1374681115, b"1778854794515770298212992172925381946270"),
    3000: (217250, 3973186128, b"0746031289877048488912728807191205935702"),
    100000: (7388444, 751782540, b"0594097209496690388202378618776158759072"),
}


@pytest.mark.parametrize("count", GOLDEN)
def test_it_gives_pytorchs_digits(count: int) -> None:
    """For files of PyTorch 2.13 with no storage to a hundred thousand, on both sides of each early growth."""
    size, crc, digits = GOLDEN[count]
    names = [*FIRST, *(f"data/{key}" for key in range(count)), "version"]
    contents = [b"1", b"64", b"little", *[bytes(4)] * count, b"3\n"]
    checksums = [(size, crc), *((len(content), zlib.crc32(content)) for content in contents)]

    assert serialization_id(names, checksums) == digits


def test_with_the_checksum_off_zeros_are_hashed() -> None:
    """PyTorch 2.13's digits for `a` of 3 bytes and `b` of none, with every CRC 0."""
    names = ["a", "b", "version", "byteorder"]

    assert serialization_id(names, [(3, 0), (0, 0), (2, 0), (6, 0)])[20:] == b"00000011093822414574"


# The oracle: a table kept name by name as libstdc++ keeps it, with a hash taken byte by byte.


def murmur(name: bytes) -> int:
    """MurmurHash64A, as in libstdc++'s hash_bytes.cc."""
    multiplier = 0xC6A4A7935BD1E995
    hash_ = 0xC70F6907 ^ (len(name) * multiplier & MASK)
    whole = len(name) // 8 * 8
    for at in range(0, whole, 8):
        word = int.from_bytes(name[at : at + 8], "little") * multiplier & MASK
        word = (word ^ word >> 47) * multiplier & MASK
        hash_ = (hash_ ^ word) * multiplier & MASK
    if len(name) > whole:
        hash_ = (hash_ ^ int.from_bytes(name[whole:], "little")) * multiplier & MASK
    hash_ = (hash_ ^ hash_ >> 47) * multiplier & MASK
    return hash_ ^ hash_ >> 47


def insert(order: list[int], bucket_count: int, hash_: int) -> None:
    """To the front of the bucket's run, or of the list where the bucket is empty."""
    bucket = hash_ % bucket_count
    at = next((index for index, other in enumerate(order) if other % bucket_count == bucket), 0)
    order.insert(at, hash_)


def slow_digits(names: Sequence[str], checksums: Sequence[tuple[int, int]]) -> bytes:
    order: list[int] = []
    bucket_count = 1
    for count, name in enumerate(names):
        if count + 1 > bucket_count or count == 0:
            bucket_count = next(prime for prime in BUCKET_COUNTS if prime >= max(13, 2 * bucket_count))
            old, order = order, []
            for hash_ in old:
                insert(order, bucket_count, hash_)
        insert(order, bucket_count, murmur(name.encode()))
    digits = b""
    for values in (order, [crc for size, crc in checksums if size]):
        seed = 0
        for value in values:
            seed = seed ^ (value + 0x9E3779B9 + (seed << 6 & MASK) + (seed >> 2) & MASK)
        digits += f"{seed:020d}".encode()
    return digits


@given(
    st.lists(
        st.tuples(st.text(max_size=20), st.integers(0, 9), st.integers(0, 2**32 - 1)),
        max_size=200,
        unique_by=lambda row: row[0],
    )
)
def test_it_gives_the_digits_of_a_set_kept_name_by_name(rows: list[tuple[str, int, int]]) -> None:
    """Any names, sizes and CRCs."""
    names = [name for name, _, _ in rows]
    checksums = [(size, crc) for _, size, crc in rows]
    digits = serialization_id(names, checksums)

    assert digits == slow_digits(names, checksums)
    assert len(digits) == LENGTH


@pytest.mark.parametrize("count", [12, 13, 14, 29, 30, 59, 60, 127, 128, 257, 258, 541, 542, 1200])
def test_it_grows_where_the_set_grows(count: int) -> None:
    """On both sides of each growth."""
    names = [f"data/{key}" for key in range(count)]

    assert serialization_id(names, []) == slow_digits(names, [])


@given(st.lists(st.binary(max_size=40), max_size=30))
def test_hashing_side_by_side_is_hashing_one_by_one(names: list[bytes]) -> None:
    """The hash of a name does not depend on its neighbours, nor on its length modulo 8."""
    assert name_hashes(names).tolist() == [murmur(name) for name in names]


def test_the_hash_is_libstdcxxs() -> None:
    """Digits that `std::hash<std::string>` printed."""
    assert name_hashes([b"", b"a", b"data.pkl", b"data/1000"]).tolist() == [
        6142509188972423790, 4993892634952068459, 4941642132189851806, 13495825388026654135,
    ]  # fmt: skip
