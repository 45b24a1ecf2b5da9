"""`ptfile.convert`: a checkpoint as a file of another format, and back."""

from __future__ import annotations

from ptfile._types import Path, Progress, Readable
from ptfile.conversion.report import Conversion, Format
from ptfile.limits import Limits
from ptfile.machine.vm import Python2Text
from ptfile.stores.urls import StorageOptions

_DEFAULT_LIMITS = Limits()


def convert(
    src: Path | Readable,
    dst: Path,
    *,
    to: Format | None = None,
    leave_out: bool = False,
    verify: bool = True,
    encoding: str = "utf-8",
    errors: str = "strict",
    limits: Limits = _DEFAULT_LIMITS,
    storage_options: StorageOptions = None,
    progress: Progress | None = None,
) -> Conversion:
    """Write what is in a checkpoint to a file of another format: `.pt`, `.safetensors` or `.npz`.

    Tensors keep their names, dtypes and values, and lie in the other file row by row, as its other readers want them.
    A note in its metadata has the rest: nested trees, plain values, strides, and which tensors share a storage, whose
    bytes are written once. Converted back, the tree is the same again (docs/convert-and-edit.md). Files without such
    a note, of whatever program, become a dict of tensors.

    src: a path, a URL, or a binary file object that can seek; the format is told by the bytes. Nothing that the file
        names is run.
    dst: a path or a URL, which is written as `save` writes, all of it or nothing.
    to: the format of `dst`; None: the one that its name ends in.
    leave_out: leave out what has no form in the other format, such as objects of unknown classes, instead of raising an
        error: their keys go from dicts, and elsewhere None takes their place. They are named in the result.
    verify: read the new file once more before it takes its place, and compare all that it says with the old one, the
        elements of tensors by a CRC-32. What cannot be read before it is in place, a pipe or a URL, is not verified.
    encoding, errors: how to read the strings of Python 2, as in `load`.
    storage_options: how to open the stores that URLs are in, as in `load`.
    progress: is called with the bytes that are done and those to do, again and again.

    Takes memory for the pickle or header and for a piece of a tensor; for all of a tensor whose elements do not lie row
    by row, and of what is compressed. Checksums are verified.

    Raises UnsupportedError, which names them, for values that have no form in the other format, and what `load` raises.
    `dst` is then as it was.
    """
    from ptfile.conversion.running import Job, run  # a tenth of the time that importing ptfile takes

    job = Job(src, dst, to, leave_out, verify, Python2Text(encoding, errors), limits, storage_options)
    return run(job, progress)
