"""The tar format of PyTorch 0.1, from files: nothing else is a whole file to PyTorch."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import pytest

from tests.formats.old_files import Id, Name, Python2, floats, tar
from tests.formats.tar_file import FLOAT_TENSOR, FLOATS, checkpoint, geometry, storages, tensors
from tests.golden.corpus import Corpus, CorpusFile, files
from tests.parity.drop_in.support import PYTORCH, described, implementation, torch

TARS = [file for file in files() if file.version == "synthetic" and file.name.startswith("tar_")]
READ_BY_PTFILE_ONLY = ("tar_no_location.py3.pt",)  # the very first layout
TWO = storages(((1, "cpu", FLOATS), floats(1, 2, 3, 4)), ((2, "cpu", FLOATS), floats(5, 6)), views=((3, 1, 1, 2),))
PARTS = tensors(
    ((10, 1, FLOAT_TENSOR), geometry((2, 2), (2, 1))),
    ((11, 1, FLOAT_TENSOR), geometry((2,), (2,), 1)),
    ((12, 3, FLOAT_TENSOR), geometry((2,), (1,))),
    ((13, 2, FLOAT_TENSOR), geometry((2,), (1,))),
)
OUTSIDE = checkpoint(tensors=tensors(((10, 1, FLOAT_TENSOR), geometry((9,), (1,)))))


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return Corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "old.pt"


@pytest.mark.parametrize("file", TARS, ids=str)
@pytest.mark.parametrize("as_file", [False, True])
def test_both_load_the_same(file: CorpusFile, as_file: bool, corpus: Corpus) -> None:
    """By path and from an open file, which is left where PyTorch leaves it."""
    results = []
    for lib in (implementation("torch"), implementation("ptfile")):
        with corpus.path(file).open("rb") as opened:
            source: Any = opened if as_file else corpus.path(file)
            try:
                value = lib.load(source, weights_only=False, map_location="cpu", encoding="latin1")
            except ValueError:
                assert file.name in READ_BY_PTFILE_ONLY
                return
            results.append((described(value), opened.tell()))
    assert results[0] == results[1]


@pytest.mark.parametrize("arguments", [{}, {"weights_only": True}])
def test_weights_only_refuses_it(lib: Any, arguments: Any, path: Path) -> None:
    """A RuntimeError that says so."""
    path.write_bytes(checkpoint())
    with pytest.raises(
        RuntimeError, match=r"Cannot use ``weights_only=True`` with files saved in the legacy .tar form"
    ):
        lib.load(path, **arguments)


def test_it_is_no_checkpoint_in_a_buffer(lib: Any, path: Path) -> None:
    """Nor behind other bytes of a file."""
    with pytest.raises(Exception, match=r"."):
        lib.load(io.BytesIO(checkpoint()), weights_only=False)
    path.write_bytes(b"before" + checkpoint())
    with path.open("rb") as file:
        file.seek(6)
        with pytest.raises(Exception, match=r"."):
            lib.load(file, weights_only=False)


def test_it_cannot_be_mapped(lib: Any, path: Path) -> None:
    """The error of a legacy file."""
    path.write_bytes(checkpoint())
    with pytest.raises(RuntimeError, match="mmap can only be used with files saved with"):
        lib.load(path, weights_only=False, mmap=True)


def test_storages_views_and_tensors_share_memory(lib: Any, path: Path) -> None:
    """What has one key is one object."""
    path.write_bytes(checkpoint([Id("10"), Id("11"), Id("12"), Id("1"), Id("3"), Id("10"), Id("13")], TWO, PARTS))
    whole, column, part, storage, view, again, other = lib.load(path, weights_only=False)
    assert whole is again
    assert (type(storage), storage.dtype, view.dtype) == (torch.storage.TypedStorage, torch.float32, torch.float32)
    assert storage._untyped_storage._cdata == whole.untyped_storage()._cdata == column.untyped_storage()._cdata
    assert view._untyped_storage._cdata == part.untyped_storage()._cdata
    assert (column.tolist(), part.tolist(), other.tolist()) == ([2, 4], [2, 3], [5, 6])
    part[0] = 50
    assert (storage.tolist(), column.tolist()) == ([1, 50, 3, 4], [50, 4])
    assert (part.untyped_storage().nbytes(), whole.resize_(5).shape) == (8, (5,))


def test_a_callable_is_called_once_per_root_storage(lib: Any, path: Path) -> None:
    """In the order of the file, with its bytes; also for one that nothing shows. Views are of what it returns."""
    path.write_bytes(checkpoint(Id("12"), TWO, PARTS))
    seen: list[Any] = []

    def locate(storage: Any, location: str) -> Any:
        seen.append((type(storage), bytes(storage), location))
        return storage.clone()

    result = lib.load(path, weights_only=False, map_location=locate)
    assert seen == [(torch.UntypedStorage, floats(*numbers)[8:], "cpu") for numbers in ((1, 2, 3, 4), (5, 6))]
    assert result.tolist() == [2, 3]


def test_every_form_of_map_location_moves_storages(lib: Any, path: Path) -> None:
    """And the one of the file must be there."""
    path.write_bytes(checkpoint(storages=storages(((1, "cuda:7", FLOATS), floats(1, 2, 3, 4)))))
    for target in ("cpu", torch.device("cpu"), {"cuda:7": "cpu"}, lambda storage, _: storage):
        assert lib.load(path, weights_only=False, map_location=target).tolist() == [[1, 2], [3, 4]]
    with pytest.raises((RuntimeError, AssertionError), match=r"(?i)cuda"):
        lib.load(path, weights_only=False)


def test_classes_of_modules_are_compared_with_their_source_code(lib: Any, path: Path) -> None:
    """A SourceChangeWarning for another; none if there is no source."""
    linear = Name("torch.nn.modules.linear", "Linear")
    path.write_bytes(checkpoint([Id((linear, "linear.py", "class Linear: pass\n")), Id((linear, None, None))]))
    with pytest.warns(lib.SourceChangeWarning, match=r"source code of class 'torch.nn.modules.linear.Linear' has cha"):
        assert lib.load(path, weights_only=False) == [torch.nn.Linear] * 2


def test_text_of_python_2_is_read_in_its_encoding(lib: Any, path: Path) -> None:
    """Keys and locations are understood with any."""
    path.write_bytes(
        checkpoint([Id(Python2(b"10")), Python2(b"\xe9")], storages(((1, Python2(b"cpu"), FLOATS), floats(1, 2, 3, 4))))
    )
    assert lib.load(path, weights_only=False, encoding="latin1")[1] == "é"
    with pytest.raises(UnicodeDecodeError):
        lib.load(path, weights_only=False)


@pytest.mark.parametrize(
    "data",
    [
        tar({"readme": b"text"}),
        checkpoint(storages=storages(((1, "cpu", FLOATS), floats(1, 2, 3, 4)[:-4]))),
        checkpoint(storages=storages(((1, "cpu", FLOATS), b"\xff" * 8))),
        OUTSIDE,
        checkpoint(tensors=tensors(((10, 7, FLOAT_TENSOR), geometry((2,), (1,))))),
        checkpoint(Id("99")),
        checkpoint(Id("text")),
    ],
    ids=["other files", "cut", "negative", "outside", "no storage", "no object", "no key"],
)
@pytest.mark.filterwarnings("ignore")
def test_files_that_make_no_sense_are_refused(lib: Any, data: bytes, path: Path) -> None:
    """With one error or another, though PyTorch makes a larger storage where one is too small."""
    path.write_bytes(data)
    if lib is PYTORCH and data == OUTSIDE:
        return
    with pytest.raises((RuntimeError, KeyError, ValueError, EOFError, pickle.UnpicklingError)):
        lib.load(path, weights_only=False)
