"""Zip files taken apart into records, changed, and put together again."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

GOLDEN = Path(__file__).parent.parent / "golden" / "torchscript"


def golden(name: str) -> dict[str, bytes]:
    """The records of a golden file, by name without the root folder."""
    with zipfile.ZipFile(GOLDEN / name) as file:
        return {record.partition("/")[2]: file.read(record) for record in file.namelist()}


def zip_of(records: Mapping[str, bytes], *, root: str = "net/", deflated: bool = False) -> io.BytesIO:
    """A zip file with these records, as a file object that stands at its start."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED) as file:
        for name, content in records.items():
            file.writestr(root + name, content)
    stream.seek(0)
    return stream


BAD_GLOBAL = b"\x80\x02cposix\nsystem\n\x8c\x02ls\x85R."
"""A pickle that calls os.system."""
EMPTY_TUPLE = b"\x80\x02)."
EMPTY_DICT = b"\x80\x02}."
