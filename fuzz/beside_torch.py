"""A process that loads each file with ptfile and with PyTorch (`weights_only=True`), and says what came of it.

It reads files from its standard input, each behind its length (8 bytes, little endian), and answers with two lines of
JSON for each: what ptfile did, and, if it is still there to tell, what PyTorch did. It may use so much memory and no
more; `fuzz.differential` starts it, waits for it so long, and starts another one if it ends.
"""

from __future__ import annotations

import io
import json
import struct
import sys
import warnings
from typing import Any

import torch
from tests.parity.agreement import disagreements

import ptfile

MEMORY = 8 << 30
"""Bytes of address space, of which PyTorch takes several GiB by being imported."""
MOST_TEXT = 300


def main() -> None:
    """Answer until there is nothing more to read."""
    _limit_memory()
    warnings.simplefilter("ignore")
    _say({})  # that it is ready
    stream = sys.stdin.buffer
    while header := stream.read(8):
        data = stream.read(struct.unpack("<Q", header)[0])
        ours, answer = _ours(data)
        _say(answer)
        _say(_theirs(data, ours, is_loaded=not answer["error"]))


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def _ours(data: bytes) -> tuple[Any, dict[str, Any]]:
    try:
        return ptfile.load(io.BytesIO(data), map_location="cpu"), {"error": "", "text": ""}
    except Exception as error:
        # The problem alone: the message says what to do as well, in words that many errors share.
        return None, {"error": type(error).__name__, "text": getattr(error, "problem", str(error))[:MOST_TEXT]}


def _theirs(data: bytes, ours: Any, *, is_loaded: bool) -> dict[str, Any]:
    try:
        theirs = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        text = str(error).partition("WeightsUnpickler error: ")
        return {"error": type(error).__name__, "text": (text[2] or text[0])[:MOST_TEXT]}
    found: list[str] = []
    if is_loaded:
        try:
            found = disagreements(ours, theirs)
        except Exception as error:
            # PyTorch cannot do with all its dtypes what comparing takes.
            return {"error": "", "text": f"not compared: {type(error).__name__}: {error}"[:MOST_TEXT]}
    return {"error": "", "text": "", "found": [text[:MOST_TEXT] for text in found[:3]]}


if __name__ == "__main__":
    main()
