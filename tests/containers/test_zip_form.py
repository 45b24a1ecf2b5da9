"""A small file that is filled in against the writer that writes record by record."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptfile.containers.zip_form import fill, plan_form
from ptfile.containers.zip_writer import ZipWriter, plan
from ptfile.sinks import StreamSink

NAMES = ["data.pkl", ".format_version", "byteorder", "data/0", "data/1", "version"]


def written(root: str, contents: list[bytes], alignment: int, *, checksum: bool) -> tuple[bytes, list[int]]:
    file = io.BytesIO()
    records = [(name, len(content)) for name, content in zip(NAMES, contents, strict=True)]
    writer = ZipWriter(StreamSink(file), plan(root, records, alignment=alignment), checksum=checksum)
    for content in contents:
        writer.write(content)
    writer.finish()
    return file.getvalue(), list(writer.checksums)


@given(
    st.text("abcd.-_ ", min_size=1, max_size=90),
    st.lists(st.tuples(st.binary(max_size=90), st.booleans()), min_size=len(NAMES), max_size=len(NAMES)),
    st.sampled_from([1, 64, 256]),
    st.booleans(),
)
def test_it_is_what_the_writer_writes(
    root: str, contents: list[tuple[bytes, bool]], alignment: int, checksum: bool
) -> None:
    """Whichever payloads were known beforehand, under each root of that length, and more than once."""
    records = [
        (name, content if is_known else len(content)) for name, (content, is_known) in zip(NAMES, contents, strict=True)
    ]
    form = plan_form(len(root), records, alignment=alignment, checksum=checksum)
    to_come = [content for content, is_known in contents if not is_known]
    for folder in (root, root[::-1]):
        checksums: list[int] = []
        file = fill(form, folder, to_come, checksums)
        expected = written(folder, [content for content, _ in contents], alignment, checksum=checksum)
        assert (bytes(file), checksums) == expected


def test_a_payload_may_depend_on_the_checksums_before_it() -> None:
    """They are there when it is asked for."""
    form = plan_form(1, [("a", b"known"), ("b", 3), ("c", 2)], alignment=64, checksum=True)
    checksums: list[int] = []
    seen: list[list[int]] = []

    def payloads() -> Iterator[bytes]:
        for payload in (b"one", b"tw"):
            seen.append(list(checksums))
            yield payload

    fill(form, "r", payloads(), checksums)
    assert [[bool(crc) for crc in crcs] for crcs in seen] == [[True, False, False], [True, True, False]]


@pytest.mark.parametrize("payload", [b"12", b"1234"])
def test_a_payload_of_another_size_is_refused(payload: bytes) -> None:
    """What is behind it would be elsewhere."""
    form = plan_form(1, [("a", 3)], alignment=64, checksum=True)
    with pytest.raises(ValueError, match="planned with 3 bytes"):
        fill(form, "r", [payload], [])


def test_a_root_of_another_length_is_refused() -> None:
    """So would everything be."""
    form = plan_form(1, [("a", 3)], alignment=64, checksum=True)
    with pytest.raises(ValueError, match="another length"):
        fill(form, "root", [b"123"], [])


@pytest.mark.parametrize("payloads", [[], [b"123", b"123"]])
def test_too_few_or_too_many_payloads_are_refused(payloads: list[bytes]) -> None:
    """There is one for each slot."""
    form = plan_form(1, [("a", 3)], alignment=64, checksum=True)
    with pytest.raises(ValueError, match="zip"):
        fill(form, "r", payloads, [])
