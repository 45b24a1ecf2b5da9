"""How much memory there is: what Linux says of the machine, and of a container."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ptfile._memory import available

GIB = 1 << 30


def system(folder: Path) -> Path:
    path = folder / "meminfo"
    path.write_text("MemTotal: 33554432 kB\nMemFree: 1048576 kB\nMemAvailable: 8388608 kB\nHugePages_Total: 0\n")
    return path


def group(folder: Path, limit: str, used: int, cached: int) -> Path:
    (folder / "memory.max").write_text(limit)
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 4096\ninactive_file {cached}\nactive_file 123\n")
    return folder


def test_without_a_limit_it_is_what_the_system_has(tmp_path: Path) -> None:
    """Not what is free, most of which is kept for files."""
    assert available(system(tmp_path), tmp_path / "missing") == 8 * GIB
    assert available(system(tmp_path), group(tmp_path, "max\n", GIB, 0)) == 8 * GIB


def test_a_container_has_what_is_left_of_its_limit(tmp_path: Path) -> None:
    """What it has cached of files is given back when it is needed."""
    assert available(system(tmp_path), group(tmp_path, f"{4 * GIB}\n", 3 * GIB, GIB)) == 2 * GIB
    assert available(system(tmp_path), group(tmp_path, f"{GIB}\n", 2 * GIB, 0)) == 0
    assert available(system(tmp_path), group(tmp_path, f"{100 * GIB}\n", GIB, 0)) == 8 * GIB


def test_a_system_that_does_not_say_has_4_gib(tmp_path: Path) -> None:
    """It is not Linux."""
    assert available(tmp_path / "missing", tmp_path / "missing") == 4 * GIB


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_this_machine_has_some() -> None:
    """More than a page, less than it could address."""
    assert 1 << 20 < available() < 1 << 60
