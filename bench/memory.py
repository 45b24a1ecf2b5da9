"""How much memory this process has, and has had at most.

Linux tells the most since it was last asked to forget it; elsewhere there is only the most since the process began,
which is too little if the process needed more before.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import mmap
import sys
from pathlib import Path

if sys.platform != "win32":
    import resource

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
if sys.platform == "linux":
    _PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
_FORGET_THE_PEAK = "5"  # proc_pid_clear_refs(5)


def settle() -> None:
    """Collect garbage and give the heap's free pages back, so that the next run is seen to ask for its memory."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # glibc


def provide(nbytes: int) -> None:
    """Have the system hold so much free memory that has been in use a moment ago.

    A virtual machine gives memory that it doesn't use back to its host. Getting it again takes several times as long
    as filling it, and falls on whichever contestant comes next.
    """
    with contextlib.ExitStack() as held:
        for huge in (False, True):  # whatever size of pages the run will ask for
            if nbytes and sys.platform == "linux":
                _touch(held.enter_context(mmap.mmap(-1, nbytes, flags=_PRIVATE)), huge=huge)


def _touch(memory: mmap.mmap, *, huge: bool) -> None:
    with contextlib.suppress(OSError):  # a system without huge pages
        memory.madvise(mmap.MADV_HUGEPAGE if huge else mmap.MADV_NOHUGEPAGE)
    piece = bytes(min(len(memory), 4 << 20))
    for start in range(0, len(memory), len(piece)):
        memory[start : start + len(piece)] = piece[: len(memory) - start]


def start() -> int | None:
    """Begin to watch the peak, and return the bytes in use now; None if the system does not tell."""
    if _STATUS.exists():
        with contextlib.suppress(OSError):
            _CLEAR_REFS.write_text(_FORGET_THE_PEAK)
        return _status("VmRSS")
    return _peak_of_process()


def peak() -> int | None:
    """The most bytes in use since `start`."""
    return _status("VmHWM") if _STATUS.exists() else _peak_of_process()


def now() -> int | None:
    """The bytes in use."""
    return _status("VmRSS") if _STATUS.exists() else None


def _status(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def _peak_of_process() -> int | None:
    if sys.platform == "win32":
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
