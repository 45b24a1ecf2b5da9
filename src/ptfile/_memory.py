"""How much memory this process may still take."""

from __future__ import annotations

from pathlib import Path

_UNKNOWN = 4 << 30
"""Bytes to reckon with where the system does not say."""
_SYSTEM = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")
"""The limits of a container, as it sees them itself."""


def available(system: Path = _SYSTEM, group: Path = _GROUP) -> int:
    """Bytes that can be had without swapping, and without being ended for it in a container; 4 GiB if nobody knows."""
    return min(_of_system(system), _of_group(group))


def _of_system(path: Path) -> int:
    found = _numbers(path).get("MemAvailable:")
    return _UNKNOWN if found is None else found << 10


def _of_group(folder: Path) -> int:
    """What is left of a container's limit (cgroup v2). The files it has cached are given back when memory is wanted."""
    try:
        limit = int((folder / "memory.max").read_text())
        used = int((folder / "memory.current").read_text())
    except (OSError, ValueError):  # no such limit ("max"), or no such system
        return 1 << 63
    return max(0, limit - used + _numbers(folder / "memory.stat").get("inactive_file", 0))


def _numbers(path: Path) -> dict[str, int]:
    """A file of names and numbers, one pair a line."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {line[0]: int(line[1]) for line in lines if len(line) > 1 and line[1].isdigit()}
