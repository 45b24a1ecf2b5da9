"""Every hostile file, read in every way: each gives the same answer, at once and without harm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ptfile
from tests.hostile.case import Fails, Loads
from tests.hostile.judge import faults
from tests.hostile.runner import run, write_files
from tests.hostile.sections import ALLOWED, CASES, SECTIONS
from tests.hostile.ways import WAYS, expected

_ALL = [(way, name) for way in WAYS for name, case in CASES.items() if expected(case, way) is not None]


@pytest.fixture(scope="module")
def sizes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The folder with the files of the cases, and how large each is."""
    folder = tmp_path_factory.mktemp("hostile")
    return folder, write_files(folder, _chosen(request).keys())


@pytest.fixture(scope="module")
def reports(request: pytest.FixtureRequest, sizes: Any) -> Callable[[str], dict[str, dict[str, Any]]]:
    """What came of the cases that were chosen, by way; each way is run once, when it is first asked about."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    chosen = _chosen(request)

    def of(way: str) -> dict[str, dict[str, Any]]:
        if way not in found:
            found[way] = run([name for name in chosen if way in chosen[name]], way, sizes[0])
        return found[way]

    return of


def _chosen(request: pytest.FixtureRequest) -> dict[str, set[str]]:
    """The ways in which each case is going to be read."""
    chosen: dict[str, set[str]] = {}
    for item in request.session.items:
        arguments: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
        if arguments.keys() == {"way", "name"}:
            chosen.setdefault(arguments["name"], set()).add(arguments["way"])
    return chosen


@pytest.mark.parametrize(("way", "name"), _ALL)
def test_a_hostile_file_gets_its_answer(way: str, name: str, reports: Any, sizes: Any) -> None:
    """Its value or its error, with the place and what to do about it; and Python does nothing that the file chose."""
    assert not faults(CASES[name], way, reports(way)[name], sizes[1][name])


@pytest.mark.parametrize(
    "read",
    [ptfile.load, lambda path: ptfile.load(path, mmap=True), ptfile.open, ptfile.inspect],
    ids=["path", "mmap", "lazy", "inspect"],
)
def test_a_directory_is_called_one(read: Callable[[Path], Any], tmp_path: Path) -> None:
    """The last of the things that are no checkpoint: it has no bytes to be a case of."""
    with pytest.raises(ptfile.UnsupportedError, match="it is a directory") as caught:
        read(tmp_path)
    assert (caught.value.file, bool(caught.value.fix)) == (str(tmp_path), True)


def test_every_number_of_the_list_has_its_cases() -> None:
    """Each under a name of its own, and with an answer that the list allows for it."""
    assert {case.number for case in CASES.values()} == set(ALLOWED)
    assert sum(map(len, SECTIONS.values())) == len(CASES)
    for case in CASES.values():
        allowed = ALLOWED[case.number]
        if isinstance(case.expected, Fails):
            assert set(case.expected.letters) <= set(allowed), case.id
        else:
            assert isinstance(case.expected, Loads)
            assert "+" in allowed, case.id


def test_another_answer_of_a_way_has_a_reason() -> None:
    """All else is answered alike."""
    for case in CASES.values():
        assert bool(case.but) == bool(case.why), case.id
        assert case.but.keys() <= WAYS.keys() | {"torch"}, case.id
