"""`ptfile.edit`: another checkpoint made of parts of one or several, without reading their tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ptfile._types import Path, Progress
from ptfile.editing.report import Edit
from ptfile.limits import Limits
from ptfile.machine.vm import Python2Text
from ptfile.stores.urls import StorageOptions
from ptfile.tensors.dtypes import DType

_DEFAULT_LIMITS = Limits()


def edit(
    src: Path | Sequence[Path],
    dst: Path,
    *,
    root: str = "",
    keep: Sequence[str] = (),
    drop: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
    cast: str | DType | Mapping[str, str | DType] | None = None,
    verify: bool = True,
    encoding: str = "utf-8",
    errors: str = "strict",
    limits: Limits = _DEFAULT_LIMITS,
    storage_options: StorageOptions = None,
    progress: Progress | None = None,
) -> Edit:
    r"""Write a checkpoint made of parts of another, in the bytes in which `save` would write that object.

    Names are those of `ptfile ls`. In a pattern `*` stands for any characters, `?` for any one, and all else for
    itself; what it describes is meant with all that is in it. Things are done in the order of the arguments:

    src: a path or a URL, or several, whose dicts are merged: what two of them have at one place is an error, unless
        both are dicts or the same plain value. Files of the formats that `convert` reads will do.
    dst: a path or a URL, which may be that of `src`, and is written as `save` writes, all of it or nothing.
    root: the name of what shall be the whole object, such as "model"; of each source.
    keep: patterns of what shall stay. What they do not describe goes, but for what stands beside the keys of dicts
        that stay, such as the `_metadata` of a state dict.
    drop: patterns of what shall go. Items go from lists, too, so that those behind them move up.
    rename: replacements by regular expressions, as in `re.sub`: in each key of a dict that is a text the first match is
        replaced. A key is the last part of a name: that of `model.module.a.weight` in `model` is `module.a.weight`.
    cast: a dtype, or dtypes by patterns of names, for floating point tensors; others stay as they are. Numbers become
        what PyTorch 2.13 makes of them; too large ones infinite, NaN or the largest, as the dtype has it. Tensors that
        share a storage are cast together.
    verify: read the new file once more before it takes its place, and compare it with what was to be written, the
        storages by their CRC-32. What cannot be read before it is in place, a pipe or a URL, is not verified.
    storage_options: how to open the stores that URLs are in, as in `load`.
    progress: is called with the bytes that are done and those to do, again and again.

    Storages that stay as they are go from file to file as whole records, on Linux without passing through the memory
    of this process. Their checksums go with them: damage in `src` is found when the new file is verified, and without
    that it is damage in `dst`, found there as it is here. All else is verified as `load` does.

    Raises ValueError for a name or pattern that describes nothing, two things of one name, and sources that cannot be
    merged; UnsupportedError for tensors that cannot be cast; what `load` raises; and OSError. `dst` is then as it was.

    >>> import os, ptfile
    >>> ptfile.save({"model": {"module.weight": ptfile.ones(2)}, "epoch": 3}, "checkpoint.pt")
    >>> ptfile.edit("checkpoint.pt", "weights.pt", root="model", rename={r"^module\.": ""}, cast="float16").cast
    ('weight',)
    >>> ptfile.load("weights.pt")
    {'weight': tensor([1., 1.], dtype=ptfile.float16)}
    """
    from ptfile.conversion.checking import Watch  # as in `convert`
    from ptfile.editing.running import Changes, run

    changes = Changes(root, keep, drop, rename or {}, {} if cast is None else cast)
    watch = Watch(progress, compares=verify)
    return run(src, dst, changes, Python2Text(encoding, errors), limits, storage_options, watch)
