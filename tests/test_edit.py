"""`ptfile.edit`: the bytes that `save` would write for the edited object, whatever is not changed copied unseen."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ptfile
from ptfile.conversion import checking
from ptfile.conversion.checking import is_as_expected
from ptfile.conversion.reading import read_tree
from ptfile.editing import running
from ptfile.errors import FormatError, UnsupportedError
from ptfile.formats.zip_saving import ZipOptions, ZipSave
from ptfile.machine.inert import InertRecord
from ptfile.machine.names import InertName
from ptfile.sinks import FileSink, copying
from tests.golden.corpus import Corpus, files

MIB = 1 << 20
LARGE = 1_000_000
"""Elements of 4 bytes that are worth copying as a whole."""


def run() -> dict[str, Any]:
    """What a training run saves."""
    weight = ptfile.arange(LARGE, dtype=ptfile.float32).reshape(100, -1)
    model = OrderedDict({"module.a.weight": weight, "module.a.bias": ptfile.ones(3), "module.tied": weight[:]})
    vars(model)["_metadata"] = OrderedDict({"": {"version": 1}, "module": {"version": 1}, "module.a": {"version": 2}})
    return {
        "model": model,
        "optimizer": {
            "state": {0: {"step": ptfile.tensor(3), "exp_avg": ptfile.full((LARGE,), 0.5)}},
            "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999), "params": [0, 1]}],
        },
        "epoch": 3,
        "args": argparse.Namespace(lr=0.1),
    }


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.pt"
    ptfile.save(run(), path)
    return path


def edited(source: Path, **options: Any) -> tuple[bytes, ptfile.Edit]:
    out = source.parent / "out.pt"
    report = ptfile.edit(source, out, **options)
    return out.read_bytes(), report


def saved(value: Any, source: Path) -> bytes:
    """What `save` writes for a value under the name that `edited` gives."""
    folder = source.parent / "saved"
    folder.mkdir(exist_ok=True)
    ptfile.save(value, folder / "out.pt")
    return (folder / "out.pt").read_bytes()


def without_optimizer(value: Any) -> Any:
    del value["optimizer"]
    return value


def without_modules(value: Any) -> Any:
    model = value["model"]
    items = [(name.removeprefix("module."), tensor) for name, tensor in model.items()]
    model.clear()
    model.update(items)
    metadata = vars(model)["_metadata"]
    pairs = [(name.removeprefix("module."), facts) for name, facts in metadata.items()]
    metadata.clear()
    metadata.update(pairs)
    return value


def without_rest(value: Any) -> Any:
    del (
        value["optimizer"],
        value["epoch"],
        value["args"],
        value["model"]["module.tied"],
        value["model"]["module.a.bias"],
    )
    return value


def without_items(value: Any) -> Any:
    del value["optimizer"]["state"][0]["step"], value["optimizer"]["param_groups"][0], value["args"].lr
    return value


@pytest.mark.parametrize(
    ("options", "change"),
    [
        ({}, lambda value: value),
        ({"root": "model"}, lambda value: value["model"]),
        ({"root": "optimizer.state[0]"}, lambda value: value["optimizer"]["state"][0]),
        ({"root": "model.module.a.bias"}, lambda value: value["model"]["module.a.bias"]),
        ({"drop": ["optimizer"]}, without_optimizer),
        ({"keep": ["model.module.*weight"]}, without_rest),
        ({"drop": ["*.step", "optimizer.param_groups[0]", "args.lr"]}, without_items),
        ({"rename": {r"module\.(.*)": r"\1"}}, without_modules),
        ({"root": "model", "rename": {r"module\.": ""}}, lambda value: without_modules(value)["model"]),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_an_edited_file_has_the_bytes_of_the_edited_object(
    source: Path, options: dict[str, Any], change: Callable[[Any], Any]
) -> None:
    """As if it had been loaded, changed, and saved under the new name."""
    data, _ = edited(source, **options)
    assert data == saved(change(ptfile.load(source)), source)


def test_what_was_done_is_in_the_report(source: Path) -> None:
    """By the names that it had when it was done."""
    report = ptfile.edit(
        source, source.parent / "out.pt", drop=["optimizer", "epoch"], rename={r"module\.": ""}, cast="bfloat16"
    )
    assert set(report.dropped) == {
        "epoch",
        "optimizer.state[0].step",
        "optimizer.state[0].exp_avg",
        "optimizer.param_groups[0].lr",
        "optimizer.param_groups[0].betas",
        "optimizer.param_groups[0].params",
    }
    assert report.renamed == {
        "model.module.a.weight": "a.weight",
        "model.module.a.bias": "a.bias",
        "model.module.tied": "tied",
        "model._metadata.module.a": "a",
    }
    assert report.cast == ("model.a.weight", "model.a.bias", "model.tied")
    assert report.files == (str(source),)
    assert report.nbytes == (source.parent / "out.pt").stat().st_size


def test_what_stands_beside_kept_keys_is_kept(source: Path) -> None:
    """The versions of a state dict's modules; they go with it."""
    edited(source, keep=["model.module.a.*"])
    assert list(vars(ptfile.load(source.parent / "out.pt")["model"])["_metadata"]) == ["", "module", "module.a"]
    edited(source, keep=["epoch"])
    assert ptfile.load(source.parent / "out.pt") == {"epoch": 3}


def test_items_go_from_lists_tuples_and_deques(tmp_path: Path) -> None:
    """Tuples are made anew, also those in other tuples; what is in two places is changed in both."""
    pair = (ptfile.ones(1), [ptfile.zeros(1), 5])
    ptfile.save({"list": [1, pair, pair], "deep": ((pair,), 7, {}), "deque": deque([{}, 1, 2])}, tmp_path / "x.pt")
    ptfile.edit(tmp_path / "x.pt", tmp_path / "y.pt", drop=["list[1][0]", "list[0]", "deque[1]"])
    value = ptfile.load(tmp_path / "y.pt")
    assert str(value["list"]) == "[([tensor([0.]), 5],), ([tensor([0.]), 5],)]"
    assert value["deep"][0][0] is value["list"][0]
    assert list(value["deque"]) == [{}, 2]


def test_brackets_in_a_pattern_are_brackets(tmp_path: Path) -> None:
    """Names are full of them."""
    ptfile.save({0: ptfile.ones(1), 10: ptfile.ones(1), "a": ptfile.ones(1)}, tmp_path / "x.pt")
    ptfile.edit(tmp_path / "x.pt", tmp_path / "y.pt", drop=["[?]"])
    assert list(ptfile.load(tmp_path / "y.pt")) == [10, "a"]


def test_a_container_in_itself_is_edited_once(tmp_path: Path) -> None:
    """It does not go on for ever."""
    loop: dict[str, Any] = {"a": ptfile.ones(1), "b": 2}
    loop["self"] = [loop]
    ptfile.save(loop, tmp_path / "x.pt")
    ptfile.edit(tmp_path / "x.pt", tmp_path / "y.pt", drop=["b"], rename={"^a$": "c"})
    value = ptfile.load(tmp_path / "y.pt")
    assert (list(value), value["self"][0] is value) == (["c", "self"], True)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"root": "modle"}, "there is no modle: there is model"),
        ({"drop": ["optimiser*"]}, "there is no optimiser*: there is optimizer"),
        (
            {"drop": ["model.module.a"]},
            "a group of 2 names: model.module.a.weight",
        ),
        ({"keep": ["nothing"]}, "there is no nothing: there is "),
        ({"cast": {"none.*": "float16"}}, "there is no none.*: there is "),
        (
            {"rename": {"nowhere": "x"}},
            "'nowhere' changes no key of a dict in it: it is matched against keys, such as 'model'",
        ),
        ({"rename": {"(": "x"}}, "'(' is no regular expression"),
        ({"rename": {"model": r"\2"}}, "cannot replace 'model'"),
        ({"rename": {r"module\.a\.bias": "module.a.weight"}}, "two things would be called 'model.module.a.weight'"),
        ({"rename": {r"^model\.module": "net"}}, "changes no key"),
        ({"cast": "int8"}, "'int8' is no dtype"),
        ({"cast": "float4_e2m1fn_x2"}, "'float4_e2m1fn_x2' is no dtype"),
        ({"cast": "half"}, "'half' is no dtype"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_meant_is_an_error_and_the_target_is_as_it_was(
    source: Path, options: dict[str, Any], problem: str
) -> None:
    """It is most often a slip of the pen."""
    (source.parent / "out.pt").write_bytes(b"old")
    with pytest.raises(ValueError, match=re.escape(problem)):
        edited(source, **options)
    assert (source.parent / "out.pt").read_bytes() == b"old"


def test_the_name_of_another_format_is_an_error(source: Path) -> None:
    """What is written is a .pt file."""
    with pytest.raises(ValueError, match="convert"):
        ptfile.edit(source, "x.safetensors")


# several files


def test_files_are_merged(tmp_path: Path) -> None:
    """Dicts in dicts, attributes of dicts, plain values that are the same; the order is that of the files."""
    first, second = run(), run()
    del first["optimizer"], first["model"]["module.tied"], second["model"]["module.a.weight"], second["args"]
    del second["model"]["module.a.bias"]
    for name, value in (("a", first), ("b", second)):
        ptfile.save(value, tmp_path / f"{name}.pt")
    ptfile.edit([tmp_path / "a.pt", tmp_path / "b.pt"], tmp_path / "c.pt")
    value = ptfile.load(tmp_path / "c.pt")
    assert list(value) == ["model", "epoch", "args", "optimizer"]
    assert list(value["model"]) == ["module.a.weight", "module.a.bias", "module.tied"]
    assert vars(value["model"])["_metadata"] == vars(run()["model"])["_metadata"]


@pytest.mark.parametrize(
    ("one", "other", "name"),
    [
        ({"m": {"w": ptfile.ones(1)}}, {"m": {"w": ptfile.ones(1)}}, "m.w"),
        ({"epoch": 1}, {"epoch": 2}, "epoch"),
        ({"epoch": 1}, {"epoch": True}, "epoch"),
        ({"m": {}}, {"m": 1}, "m"),
        ([1], {}, "it"),
        ({"m": [1]}, {"m": [1]}, "m"),
    ],
    ids=str,
)
def test_what_two_files_have_at_one_place_is_an_error_that_names_it(
    one: Any, other: Any, name: str, tmp_path: Path
) -> None:
    """And the file."""
    ptfile.save(one, tmp_path / "a.pt")
    ptfile.save(other, tmp_path / "b.pt")
    with pytest.raises(ValueError, match=rf"b\.pt: {name} is there already"):
        ptfile.edit([tmp_path / "a.pt", tmp_path / "b.pt"], tmp_path / "c.pt")


def test_other_formats_can_be_merged_into_one(tmp_path: Path) -> None:
    """A file of numpy's, and one of the legacy format."""
    np.savez(tmp_path / "a.npz", a=np.arange(3))
    ptfile.save({"b": ptfile.ones(2)}, tmp_path / "b.pt", _use_new_zipfile_serialization=False)
    report = ptfile.edit([tmp_path / "a.npz", tmp_path / "b.pt"], tmp_path / "c.pt")
    value = ptfile.load(tmp_path / "c.pt")
    assert (value["a"].tolist(), value["b"].tolist(), report.copied) == ([0, 1, 2], [1, 1], 0)


# casting


def test_only_floating_point_tensors_are_cast(tmp_path: Path) -> None:
    """And those keep shape, stride, gradient and what they are."""
    base = ptfile.arange(24, dtype=ptfile.float32).reshape(4, 6)
    value = {
        "t": base.transpose(0, 1),
        "row": base[1],
        "parameter": ptfile.Parameter(ptfile.ones(3), requires_grad=False),
        "int": ptfile.arange(3),
        "complex": ptfile.tensor([1j]),
        "double": ptfile.tensor([1.5], dtype=ptfile.float64),
    }
    value["again"] = value["t"]
    ptfile.save(value, tmp_path / "x.pt")
    ptfile.edit(tmp_path / "x.pt", tmp_path / "y.pt", cast={"*": "float16", "double": ptfile.bfloat16})
    back = ptfile.load(tmp_path / "y.pt")
    names = ["float16", "float16", "float16", "int64", "complex64", "bfloat16", "float16"]
    assert [tensor.dtype.name for tensor in back.values()] == names
    assert [tensor.tolist() for tensor in back.values()] == [tensor.tolist() for tensor in value.values()]
    assert (back["t"].stride(), back["row"].storage_offset()) == ((1, 6), 6)
    assert back["t"].untyped_storage() is back["row"].untyped_storage()
    assert back["again"] is back["t"]
    assert (type(back["parameter"]), back["parameter"].requires_grad) == (ptfile.Parameter, False)


def test_numbers_are_rounded_as_numpy_does(tmp_path: Path) -> None:
    """A megabyte and a bit of them, a piece at a time."""
    numbers = np.random.default_rng(0).normal(size=300_001).astype(np.float32) * 1e5
    ptfile.save(ptfile.from_numpy(numbers)[1:], tmp_path / "x.pt")
    ptfile.edit(tmp_path / "x.pt", tmp_path / "y.pt", cast="float16")
    with np.errstate(over="ignore"):
        expected = numbers.astype(np.float16)
    assert np.array_equal(ptfile.load(tmp_path / "y.pt").numpy(), expected[1:])


def test_tensors_of_one_storage_are_cast_together_or_not_at_all(source: Path) -> None:
    """The error names them."""
    with pytest.raises(UnsupportedError, match=r"model\.module\.a\.weight, model\.module\.tied"):
        edited(source, cast={"*.weight": "float16"})


def test_tensors_that_cannot_be_cast_are_errors(tmp_path: Path) -> None:
    """Those inside an object of an unknown class, and sparse ones; they can be left out."""
    record = InertRecord(InertName("my.module", "Net"), (), "new")
    record.inert_state = {"weight": ptfile.ones(2)}
    ptfile.save({"net": record, "x": ptfile.ones(2)}, tmp_path / "x.pt")
    with pytest.raises(UnsupportedError, match=r"net is an object of my\.module\.Net"):
        ptfile.edit(tmp_path / "x.pt", tmp_path / "y.pt", cast="float16")
    assert ptfile.edit(tmp_path / "x.pt", tmp_path / "y.pt", cast={"x": "float16"}).cast == ("x",)


# copying


def test_whole_records_go_from_file_to_file(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of large storages nothing is read, and the report says how many bytes they are."""
    read = 0
    from ptfile.sources import LocalSource

    def counted(self: LocalSource, offset: int, length: int, read_all: Any = LocalSource.read) -> Any:
        nonlocal read
        read += length
        return read_all(self, offset, length)

    monkeypatch.setattr(LocalSource, "read", counted)
    _, report = edited(source, drop=["epoch"], verify=False)
    assert (report.copied, report.verified) == (2 * 4 * LARGE, False)
    assert read < LARGE


@pytest.mark.parametrize("number", [5, 28])
def test_where_the_system_cannot_copy_it_is_read_and_written(
    source: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two file systems, say. Another error is an error, and has the path."""

    def cannot(*_: Any) -> int:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "copy_file_range", cannot, raising=False)
    data, report = edited(source, root="model")
    assert data == saved(ptfile.load(source)["model"], source)
    assert report.copied == 4 * LARGE

    def fails(*_: Any) -> int:
        raise OSError(number, "no")

    monkeypatch.setattr(os, "copy_file_range", fails, raising=False)
    with pytest.raises(OSError, match="no") as caught:
        edited(source)
    assert caught.value.filename == str(source.parent / "out.pt")


def test_the_system_may_copy_less_than_it_was_asked_for(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked again."""
    monkeypatch.setattr(
        "ptfile.sinks.local_file.copy_some",
        lambda file, target, offset, length: copying.copy_some(file, target, offset, min(length, 7001)),
    )
    assert edited(source)[0] == saved(ptfile.load(source), source)


def damage(source: Path) -> None:
    """Change a byte of the large tensor."""
    data = bytearray(source.read_bytes())
    weight = ptfile.arange(LARGE, dtype=ptfile.float32).numpy().tobytes()
    data[data.index(weight) + 1000] ^= 1
    source.write_bytes(data)


def test_damage_in_the_source_is_told_of_the_source(source: Path) -> None:
    """It is found in the new file, which then does not take its place; but that is not what has to be looked at."""
    damage(source)
    (source.parent / "out.pt").write_bytes(b"old")
    with pytest.raises(FormatError, match="checksum") as caught:
        edited(source, root="model")
    assert (caught.value.file, caught.value.record) == (str(source), "data/0")
    assert (source.parent / "out.pt").read_bytes() == b"old"


@pytest.mark.parametrize("cast", [{}, "float16"], ids=["copied", "cast"])
def test_what_cannot_be_read_again_is_not_put_in_place(
    source: Path, cast: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that changes a byte, of what is copied and of what is not."""
    (source.parent / "out.pt").write_bytes(b"old")

    def spoil(sink: FileSink, *arguments: Any, **options: Any) -> bool:
        assert sink.unfinished is not None
        with open(sink.unfinished, "r+b") as file:
            file.seek(200_000)
            byte = file.read(1)[0]
            file.seek(200_000)
            file.write(bytes([byte ^ 1]))
        return is_as_expected(sink, *arguments, **options)

    monkeypatch.setattr(running, "is_as_expected", spoil)
    with pytest.raises(FormatError, match="checksum") as caught:
        edited(source, cast=cast)
    assert caught.value.file == str(source.parent / "out.pt")
    assert (source.parent / "out.pt").read_bytes() == b"old"
    _, report = edited(source, cast=cast, verify=False)
    assert not report.verified


@pytest.mark.parametrize("change", [lambda root: root.update(epoch=4), lambda root: root["model"].popitem()])
def test_a_file_that_says_another_thing_is_noticed(
    source: Path, change: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison looks at values, and at names."""

    def read_wrong(*arguments: Any) -> Any:
        opened = read_tree(*arguments)
        change(opened.root)
        return opened

    monkeypatch.setattr(checking, "read_tree", read_wrong)
    with pytest.raises(FormatError, match="not what is read again"):
        edited(source)
    assert not (source.parent / "out.pt").exists()


def test_a_tensor_that_looks_elsewhere_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Storages are compared whole; tensors by where in them they look."""
    ptfile.save({"x": ptfile.arange(10)[2:5]}, tmp_path / "x.pt")

    def read_wrong(*arguments: Any) -> Any:
        opened = read_tree(*arguments)
        x = opened.root["x"]
        opened.root["x"] = ptfile.Tensor(x.untyped_storage(), x.dtype, 3, (3,), (1,))
        return opened

    assert ptfile.edit(tmp_path / "x.pt", tmp_path / "y.pt").verified
    monkeypatch.setattr(checking, "read_tree", read_wrong)
    with pytest.raises(FormatError, match="not what is read again"):
        ptfile.edit(tmp_path / "x.pt", tmp_path / "y.pt")


def test_files_of_the_corpus_are_verified(tmp_path: Path) -> None:
    """What it was written from and what is read again are the same to the comparison, whatever it is."""
    corpus = Corpus(tmp_path)
    verified = 0
    for file in files():
        if file.number == "2.13.0" and file.kind in ("zip", "legacy"):
            path = corpus.path(file)
            try:
                ptfile.load(path, unknown="inert")
                ptfile.edit(path, tmp_path / "out.pt", verify=False)
            except ptfile.PtfileError:
                continue
            assert ptfile.edit(path, tmp_path / "out.pt").verified, file
            verified += 1
    assert verified > 200


def test_progress_is_told_up_to_the_end(source: Path) -> None:
    """Also within a storage that is copied at once, and while the new file is read again."""
    told: list[tuple[int, int]] = []
    _, report = edited(source, progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert {total for _, total in told} == {2 * report.nbytes}
    assert told[-1][0] == 2 * report.nbytes
    assert len(told) >= 4


def test_damage_is_copied_with_the_checksum_that_tells_of_it(source: Path) -> None:
    """Nobody has looked at the bytes; whoever does finds it in the copy as in the source."""
    damage(source)
    edited(source, root="model", verify=False)
    with pytest.raises(FormatError, match="checksum"):
        ptfile.load(source.parent / "out.pt")
    with pytest.raises(FormatError, match="checksum"):
        edited(source, root="model", cast="float16")


def test_a_file_without_checksums_gets_some(source: Path) -> None:
    """They are what `save` writes."""
    value = ptfile.load(source)
    ptfile.save(value, source, checksum=False)
    data, report = edited(source)
    assert (data == saved(value, source), report.copied) == (True, 0)


def test_a_file_that_shrinks_meanwhile_is_an_error(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the target is not there."""
    monkeypatch.setattr("ptfile.sinks.local_file.copy_some", lambda *_: 0)
    with pytest.raises(FormatError, match="cut off"):
        edited(source)
    assert not (source.parent / "out.pt").exists()


def test_a_file_can_take_its_own_place(source: Path) -> None:
    """The old one is read to the end."""
    value = ptfile.load(source)["model"]
    expected = source.parent / "saved" / source.name
    expected.parent.mkdir()
    ptfile.save(value, expected)
    ptfile.edit(source, source, root="model")
    assert source.read_bytes() == expected.read_bytes()


_MEASURE = """
import sys, ptfile
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) // 1024
ptfile.edit(sys.argv[1], sys.argv[3], root="a", cast="float64")
before = peak()
ptfile.edit(sys.argv[1], sys.argv[2], drop=["a"], cast={"b": "float16"})
print(peak() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="VmHWM is Linux's")
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Neither that of what is copied nor that of what is cast."""
    with FileSink(tmp_path / "x.pt") as sink:
        value: dict[str, Any] = {"a": ptfile.ones(3)}
        for name in "bc":
            storage = ptfile.UntypedStorage.deferred(64 * MIB, None)
            value[name] = ptfile.Tensor(storage, ptfile.float32, 0, (4, 4 * MIB), (1, 4))  # transposed
        ZipSave(value, "x", options=ZipOptions(contents=False)).write(sink)
    arguments = [tmp_path / name for name in ("x.pt", "y.pt", "z.pt")]
    result = subprocess.run(
        [sys.executable, "-c", _MEASURE, *arguments], capture_output=True, encoding="utf-8", check=True
    )
    assert int(result.stdout) < 24
