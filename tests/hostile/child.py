"""Read hostile files in this process and say what came of each: `python -m tests.hostile.child WAY FOLDER`.

Takes names of cases from standard input, one a line, and answers each with a line of JSON. The process has limits: a
file that breaks through one ends it, and whoever started it sees that there is no answer to that case.
"""

from __future__ import annotations

import codecs
import contextlib
import faulthandler
import gc
import io
import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import ptfile
from tests.everything import import_all
from tests.hostile.case import LETTERS, Case, Loads
from tests.hostile.sections import CASES
from tests.hostile.ways import WAYS, expected

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

MEMORY = 512 << 20
"""Bytes of address space beyond what the process has when it begins."""
SECONDS = 20
"""That a case may take, of the processor and of the clock."""
_WATCHED = (
    "import", "exec", "compile", "open", "socket.", "os.", "subprocess.", "ctypes.", "marshal.", "pickle.", "shutil.",
    "tempfile.", "urllib.", "glob.", "code.", "builtins.input", "pty.", "signal.", "sys.settrace", "sys.setprofile",
    "cpython.", "ftplib.", "http.", "imaplib.", "poplib.", "smtplib.", "sqlite3.", "winreg.", "webbrowser.",
)  # fmt: skip
"""Audit events by their beginning: all by which code is found or run, or the world outside the process is touched."""
_FIELDS = ("problem", "fix", "file", "record", "offset", "name", "limit", "allowed", "actual")


class Watch:
    """An audit hook, which cannot be removed; it notes something only while a file is being read."""

    def __init__(self) -> None:
        self.path: str | None = None
        """Of the file that is being read, which may be opened."""
        self.events: list[str] = []
        sys.addaudithook(self._see)

    def _see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.path is None or not event.startswith(_WATCHED):
            return
        if event == "ctypes.cdata":  # the address of a PyTorch storage as bytes to read into: the drop-in's own doing
            return
        if event == "open" and arguments[0] in (self.path, Path(self.path)) and "w" not in (arguments[1] or "r"):
            return
        if event == "open" and type(arguments[0]) is int:  # what is open already: the memory for a safetensors header
            return
        self.events.append(f"{event} {str(arguments)[:200]}")


def answer(way: str, case: Case, path: str, watch: Watch) -> dict[str, Any]:
    """What came of reading one file."""
    gc.collect()
    before = _start_of_peak()
    began, worked = time.perf_counter(), time.process_time()
    report: dict[str, Any] = {"case": case.id}
    value: Any = None
    watch.path = path
    try:
        value = WAYS[way].run(path)
    except Exception as error:  # noqa: BLE001  (which ones may escape is for the tests to say)
        watch.path = None
        # Some have classes of their own below those that are public.
        kinds = [kind.__name__ for kind in LETTERS.values() if isinstance(error, kind)]
        report["error"] = kinds[0] if kinds else type(error).__name__
        report["message"] = str(error)[:2000]
        report["fields"] = {name: getattr(error, name) for name in _FIELDS if hasattr(error, name)}
    finally:
        watch.path = None
    report["seconds"] = time.perf_counter() - began
    report["processor"] = time.process_time() - worked
    report["peak"] = _peak() - before
    report["events"], watch.events = watch.events, []
    outcome = expected(case, way)
    if "error" not in report and WAYS[way].loads and isinstance(outcome, Loads) and outcome.check:
        try:
            outcome.check(value)
        except Exception as error:  # noqa: BLE001
            report["check"] = f"{type(error).__name__}: {str(error)[:2000]}"
    return report


def _start_of_peak() -> int:
    """Bytes of memory in use. From here on, Linux counts the peak anew."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
        return _status("VmRSS")
    return _peak()


def _peak() -> int:
    """The most bytes of memory that were in use; 0 where there is no way to know."""
    with contextlib.suppress(OSError):
        return _status("VmHWM")
    unit = 1 if sys.platform == "darwin" else 1024
    return 0 if resource is None else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) << 10


def _limit_memory() -> None:
    with contextlib.suppress(OSError):  # where there is no /proc, there is no limit either
        size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, resource.RLIM_INFINITY))


def _limit_time() -> None:
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    if resource is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(used.ru_utime + used.ru_stime) + SECONDS + 1
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


def warm_up(way: str, folder: str) -> None:
    """Read an honest file, so that what is imported on first use is there."""
    import_all()
    path = os.path.join(folder, "honest.pt")
    weight = ptfile.tensor([1.5, 2.5])
    value = {"weight": weight, "array": np.arange(3), "flags": ptfile.tensor([True]), "text": "é", "parts": [(1, 2)]}
    for zipped in (True, False):
        buffer = io.BytesIO()
        ptfile.save(value, buffer, _use_new_zipfile_serialization=zipped)
        Path(path).write_bytes(buffer.getvalue())
        with contextlib.suppress(Exception):  # the drop-in refuses the array; it has been imported by then
            WAYS[way].run(path)
    for other in (b"no checkpoint", b"\2\0\0\0\0\0\0\0{}"):  # the second is a safetensors file
        Path(path).write_bytes(other)
        with contextlib.suppress(Exception):
            WAYS[way].run(path)
    repr(weight)
    for encoding in ("latin1", "cp437", "raw-unicode-escape", "utf-16"):
        codecs.lookup(encoding)


def main(way: str, folder: str) -> None:
    """Answer until there are no more questions."""
    warnings.simplefilter("ignore")
    numbers = {name: number for number, name in enumerate(CASES)}
    warm_up(way, folder)
    gc.collect()
    gc.freeze()  # what is there by now need not be looked at after each case
    watch = Watch()
    if resource is not None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _limit_memory()
    for line in sys.stdin:
        _limit_time()
        name = line.rstrip("\n")
        path = os.path.join(folder, f"{numbers[name]}.pt")
        print(json.dumps(answer(way, CASES[name], path, watch), default=repr), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
