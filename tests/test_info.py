"""`ptfile.info`: what it tells of a file."""

from __future__ import annotations

import io
import zipfile

import pytest

import ptfile
from ptfile.formats.origin import writer
from tests.formats.zip_file import zip_of
from tests.golden.corpus import Corpus, files

BEFORE = {"1.0.1": "1.0 to 1.5", "1.4.0": "1.0 to 1.5", "1.6.0": "1.6 to 2.0", "1.10.2": "1.6 to 2.0"}
BEFORE |= {"1.13.1": "1.6 to 2.0", "2.1.2": "2.1 to 2.6", "2.6.0": "2.1 to 2.6"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return Corpus(tmp_path_factory.mktemp("corpus"))


def saved(value: object, **options: object) -> io.BytesIO:
    buffer = io.BytesIO()
    ptfile.save(value, buffer, **options)  # type: ignore[arg-type]
    buffer.seek(0)
    return buffer


@pytest.mark.parametrize("number", sorted({file.number for file in files() if file.kind == "zip"}))
def test_the_writer_of_real_files(number: str, corpus: Corpus) -> None:
    """What is said of a file's writer is true of each version of PyTorch."""
    chosen = [file for file in files() if file.number == number and file.kind == "zip"][:3]
    for file in chosen:
        with corpus.opened(file) as f:
            assert ptfile.info(f).writer == f"PyTorch {BEFORE.get(number, '2.7 or newer')}"


def test_the_writer_of_other_formats() -> None:
    """As much as their records say."""
    assert ptfile.info(saved(1, _use_new_zipfile_serialization=False)).writer.startswith("any PyTorch")
    assert writer("safetensors", (), {}) == "the safetensors library"
    assert writer("export", {"archive_format"}, {}) == "torch.export, PyTorch 2.9 or newer"
    assert writer("torchscript", {".data/serialization_id"}, {"version": "3"}) == "PyTorch 2.1 or newer"


def test_the_protocol_is_that_of_the_pickle() -> None:
    """As it was saved."""
    assert ptfile.info(saved({}, pickle_protocol=4)).protocol == 4


def test_a_view_with_two_names_counts_once() -> None:
    """Sizes by dtype add up to what there is."""
    weight = ptfile.zeros(10)
    about = ptfile.info(saved({"a": weight, "b": weight, "c": weight[2:4]}))

    assert [(share.tensors, share.elements) for share in about.by_dtype()] == [(3, 12)]


def test_prefixes_are_opened_while_they_are_few() -> None:
    """A large one, that is; and never so many that nobody looks at them all."""
    layers = {f"layers.{i}.weight": ptfile.zeros(100) for i in range(20)}
    about = ptfile.info(saved({"model": {**layers, "embed": ptfile.zeros(3000)}, "other.x": ptfile.zeros(1)}))

    assert [share.name for share in about.by_prefix()] == ["model.embed", "model.layers", "other.x"]
    assert [share.name for share in about.by_prefix(2)] == ["model", "other.x"]
    assert len(about.by_prefix(22)) == 22


def test_too_many_prefixes_are_put_together() -> None:
    """The largest are there, and one share for all others."""
    about = ptfile.info(saved([ptfile.zeros(size) for size in range(1, 31)]))
    shares = about.by_prefix(5)

    assert [share.name for share in shares] == ["[29]", "[28]", "[27]", "[26]", "(others)"]
    assert (shares[-1].tensors, shares[-1].elements, shares[-1].nbytes) == (26, 351, 1404)


def test_names_that_are_too_deep_to_open_end() -> None:
    """Names are compared by their first steps."""
    deep = {".".join("a" * 30) + f".{i}": ptfile.zeros(1) for i in range(3)}

    assert [share.tensors for share in ptfile.info(saved(deep)).by_prefix()] == [3]


def test_records_that_nothing_names_are_waste() -> None:
    """A storage in the file that no tensor of the pickle looks at."""
    with zipfile.ZipFile(saved([ptfile.zeros(10), ptfile.ones(500)])) as whole:
        records = {name.partition("/")[2]: whole.read(name) for name in whole.namelist()}
    with zipfile.ZipFile(saved([ptfile.zeros(10)])) as part:
        records["data.pkl"] = part.read("archive/data.pkl")
    about = ptfile.info(zip_of(records))

    assert about.unused == {"data/1": 2000}
    assert about.waste == 2000
