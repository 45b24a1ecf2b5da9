"""`make fuzz`: run the targets under atheris, one after the other, and keep what they find.

    python -m fuzz.run [--target NAME] [--seconds N]

Inputs that reach something new are kept in `.fuzz/grown/NAME`, those that break a promise in `.fuzz/finds/NAME`, each
with its story beside it; neither is committed. The exit code is 1 if there is any find.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from random import Random

WORK = Path(".fuzz")
SECONDS = 8
"""For each target, if nothing else is said."""
_STUCK = 30
"""Seconds after which one input counts as one on which ptfile hangs."""
_MEGABYTES = 4_096
_SEEDS = 500
"""Golden inputs to begin with, chosen at random: all of them would take longer than a short run."""


def main() -> int:
    """Run one target or all of them, each in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.run", description=__doc__.partition("\n")[0])
    parser.add_argument("--target", default="all", help="one of fuzz/targets.py, or all")
    parser.add_argument("--seconds", type=int, default=SECONDS, help=f"for each target (default {SECONDS})")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _fuzz(options.target, options.seconds)
    from fuzz.targets import TARGETS

    names = list(TARGETS) if options.target == "all" else [options.target]
    finds = 0
    for name in names:
        executions, found = _run(name, options.seconds)
        print(f"{name:12} {executions:>10,} executions, {found} finds")
        finds += found
    return 1 if finds else 0


def _run(name: str, seconds: int) -> tuple[int, int]:
    """How many inputs were tried, and how many finds there are now."""
    finds = WORK / "finds" / name
    finds.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "fuzz.run", "--child", "--target", name, "--seconds", str(seconds)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace", check=False)
    (WORK / f"{name}.log").write_text(done.stderr)
    units = re.search(r"number_of_executed_units:\s*(\d+)", done.stderr)
    if done.returncode and units is None:
        print(done.stderr[-3000:], file=sys.stderr)
    return int(units[1]) if units else 0, sum(not path.name.endswith(".txt") for path in finds.iterdir())


def _fuzz(name: str, seconds: int) -> None:
    """Never returns: the fuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["ptfile"]):
        from tests.everything import import_all

        import_all()  # to be watched by the fuzzer, it has to be imported in here first
    from fuzz.seeds import inputs, write
    from fuzz.targets import CORPUS, TARGETS

    target = TARGETS[name]
    grown = WORK / "grown" / name
    grown.mkdir(parents=True, exist_ok=True)
    finds = WORK / "finds" / name
    if not any(grown.iterdir()):
        found = list(inputs(name, committed=False))
        write(grown, Random().sample(found, min(len(found), _SEEDS)))
    committed = CORPUS / target.corpus
    pool = [path.read_bytes() for folder in (committed, grown) for path in folder.iterdir()]

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        chance = Random(seed)
        if chance.random() < 0.1:
            return target.generate(chance)[:most]
        if chance.random() < 0.1:
            return bytes(atheris.Mutate(data, most))
        changed = target.mutate(chance, data, chance.choice(pool))[:most]
        if chance.random() < 0.02:
            pool[chance.randrange(len(pool))] = changed
        return changed

    arguments = [
        sys.argv[0], str(grown), str(committed), f"-max_total_time={seconds}",
        f"-max_len={target.largest}", f"-timeout={_STUCK}", f"-rss_limit_mb={_MEGABYTES}", f"-artifact_prefix={finds}/",
        "-print_final_stats=1", "-close_fd_mask=0",
    ]  # fmt: skip
    atheris.Setup(arguments, _collecting(target.check, finds), custom_mutator=mutate)
    atheris.Fuzz()


def _collecting(check: Callable[[bytes], None], finds: Path) -> Callable[[bytes], None]:
    """The check, as a function that writes down what breaks a promise and goes on: once for each kind of break."""
    from fuzz.oracle import Violation

    seen: set[str] = set()

    def collect(data: bytes) -> None:
        try:
            check(data)
        except Violation as violation:
            cause = violation.__cause__ or violation
            place = traceback.extract_tb(cause.__traceback__)[-1]
            kind = (
                re.sub(r"[0-9]+|'[^']*'", "#", str(violation))[:80] + f"{type(cause)} {place.filename}:{place.lineno}"
            )
            if kind not in seen:
                seen.add(kind)
                path = _keep(finds, data)
                path.with_name(path.name + ".txt").write_text("".join(traceback.format_exception(violation)))

    return collect


def _keep(folder: Path, data: bytes) -> Path:
    path = folder / hashlib.sha256(data).hexdigest()[:16]
    path.write_bytes(data)
    return path


if __name__ == "__main__":
    sys.exit(main())
