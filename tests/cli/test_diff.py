"""`ptfile diff`: what it prints, and its exit codes."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path

import pytest

import ptfile
from ptfile.cli import main
from tests.cli.test_ls import run, run_in_terminal, without_colour


@pytest.fixture
def a(tmp_path: Path) -> str:
    path = tmp_path / "a.pt"
    value = {
        "layer": {"weight": ptfile.arange(1000.0), "bias": ptfile.tensor([1.0, 2.0]), "old": ptfile.zeros(3, 4)},
        "shape": ptfile.zeros(3, 4),
        "lr": 0.1,
        "note": "x\x1b[2J",
        "bad": ptfile.tensor([1.0]),
    }
    ptfile.save(value, path)
    return str(path)


@pytest.fixture
def b(tmp_path: Path) -> str:
    path = tmp_path / "b.pt"
    weight = ptfile.arange(1000.0)
    weight[5] = 7.5
    value = {
        "layer": {"weight": weight, "bias": ptfile.tensor([1.0, 2.0], dtype=ptfile.bfloat16)},
        "shape": ptfile.zeros(4, 3),
        "lr": 0.2,
        "note": "y\x1b[2J",
        "bad": ptfile.tensor([float("nan")]),
        "new": ptfile.ones(2),
    }
    ptfile.save(value, path)
    return str(path)


def test_the_report_in_a_pipe(a: str, b: str) -> None:
    """A line for each name, and the total; exit code 1."""
    result = run("diff", a, b)

    assert result.returncode == 1
    assert result.stdout == (
        "~ layer.weight  1 of 1,000 elements, by at most 2.5\n"
        "~ layer.bias    float32 → bfloat16, the values are the same\n"
        "- layer.old     float32 [3, 4]\n"
        "~ shape         [3, 4] → [4, 3]\n"
        "~ lr            0.1 → 0.2\n"
        "~ note          'x\\x1b[2J' → 'y\\x1b[2J'\n"
        "~ bad           1 of 1 element, NaN in one of them\n"
        "+ new           float32 [2]\n"
        "\n"
        "different: 1 removed, 1 added, 6 changed; 6 names compared\n"
    )


def test_exit_codes(a: str, b: str, capsys: pytest.CaptureFixture[str]) -> None:
    """0 the same, 1 different, 2 no answer; with --json as well."""
    for form in ([], ["--json"]):
        assert main(["diff", a, a, *form]) == 0
        assert main(["diff", a, b, *form]) == 1
        assert main(["diff", a, f"{b}.none", *form]) == 2
    assert "b.pt.none: No such file" in capsys.readouterr().err
    Path(b).write_bytes(b"<html>")
    assert main(["diff", a, b]) == 2
    assert main(["diff", a]) == 2
    assert main(["diff", a, b, "--rtol", "-1"]) == 2


def test_tolerances(tmp_path: Path) -> None:
    """Are passed on."""
    paths = [str(tmp_path / name) for name in ("a.pt", "b.pt")]
    for path, number in zip(paths, (1.0, 1.01), strict=True):
        ptfile.save([ptfile.tensor([number, float("nan")])], path)

    assert main(["diff", *paths]) == 1
    assert main(["diff", *paths, "--atol", "0.1"]) == 0
    assert main(["diff", *paths, "--rtol", "0.1"]) == 0
    assert main(["diff", *paths, "--rtol", "0.1", "--nan-differs"]) == 1


def test_json_has_the_documented_keys(a: str, b: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Strict JSON."""
    main(["diff", "--json", a, b])
    printed = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    found = {one["name"]: one for one in printed.pop("differences")}

    assert printed == {"a": a, "b": b, "same": False, "compared": 6}
    vector = {"dtype": "float32", "shape": [1000]}
    assert found["layer.weight"] == {
        "name": "layer.weight", "kind": "value", "a": vector, "b": vector, "elements": 1000, "differing": 1,
        "max_abs": 2.5,
    }  # fmt: skip
    nothing = {"elements": None, "differing": None, "max_abs": None}
    matrix = {"dtype": "float32", "shape": [3, 4]}
    assert found["layer.old"] == {"name": "layer.old", "kind": "removed", "a": matrix, "b": None, **nothing}
    assert found["lr"]["b"] == {"type": "float", "value": 0.2}
    assert found["bad"]["max_abs"] == "nan"


@pytest.mark.parametrize("columns", [80, 160])
def test_lines_fit_the_terminal(tmp_path: Path, columns: int) -> None:
    """Names and values are cut."""
    name = "encoder.layers.0.self_attention.query_projection.weight_quantizer.running_average_of_the_maximum"
    for number in range(2):
        value = {name: ptfile.full((3, 4), number), "\x1b[2J" * 30: f"a long text {number} " * 30}
        ptfile.save(value, tmp_path / f"{number}.pt")
    output = run_in_terminal(columns, "diff", tmp_path / "0.pt", tmp_path / "1.pt", exit_code=1)
    lines = without_colour(output).splitlines()

    assert "\x1b[" in output
    assert max(map(len, lines)) <= columns
    assert "\x1b" not in without_colour(output)


def test_attributes_of_dicts_are_different_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As anything else is: a line, an object in JSON, exit code 1."""
    paths = []
    for version in (1, 2):
        state = OrderedDict(weight=ptfile.ones(2))
        vars(state)["_metadata"] = {"layer": {"version": version}}
        paths.append(str(tmp_path / f"{version}.pt"))
        ptfile.save(state, paths[-1])
    assert main(["diff", *paths]) == 1
    assert capsys.readouterr().out == "~ _metadata.layer.version  1 → 2\n\ndifferent: 1 changed; 2 names compared\n"
    assert main(["diff", *paths, "--json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)["differences"]
    assert (found["name"], found["kind"]) == ("_metadata.layer.version", "value")
    assert (found["a"], found["b"]) == ({"type": "int", "value": 1}, {"type": "int", "value": 2})
