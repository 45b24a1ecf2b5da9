"""The golden corpus, loaded by both libraries and saved again by both: the same bytes, or an error on both sides."""

from __future__ import annotations

import io
import re
import warnings
from typing import Any

import pytest

import ptfile.torch
from tests.golden.corpus import Corpus, CorpusFile
from tests.parity.drop_in.support import PYTORCH, torch
from tests.parity.test_corpus import FILES

# Generators of older numpy load with a fresh seed: two loads of one file differ from each other, in PyTorch alone too.
DIFFERENT_AT_EACH_LOAD = re.compile(r"torch-(1\.4|1\.6|1\.10|1\.13|2\.1)\..*np_rng_object")
ZIP_1_4 = "torch-1.4.0-py3.7/"  # zip files whose storages are in tensors/, where PyTorch no longer looks
UNTYPED = re.compile(r"/(dtype_\w+|storage_untyped|uint8_tensor_and_untyped_storage)\.legacy\.pt$")
"""Legacy files with untyped storages, which PyTorch writes (for dtypes without a storage class) and cannot read."""
MADE_WHILE_SAVING = re.compile(r"/(generator|quantized_dynamic_module)\.")
"""Objects whose state is a tensor that is made when it is asked for: its address is another each time."""


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return Corpus(tmp_path_factory.mktemp("corpus"))


def saved_again(lib: Any, data: bytes) -> bytes | str:
    """What a library saves of what it has loaded; or what it cannot do."""
    step = "cannot load"
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            value = lib.load(io.BytesIO(data), weights_only=False, map_location="cpu", encoding="latin1")
            step = "cannot save"
            lib.save(value, buffer)
        except Exception:  # noqa: BLE001  (which one is the business of other tests)
            return step
    return buffer.getvalue()


@pytest.mark.parametrize("file", [file for file in FILES if not DIFFERENT_AT_EACH_LOAD.match(str(file))], ids=str)
def test_both_save_the_same_of_what_they_load(file: CorpusFile, corpus: Corpus) -> None:
    """Every version, format and object that this PyTorch can load."""
    data = corpus.path(file).read_bytes()
    theirs, ours = saved_again(PYTORCH, data), saved_again(ptfile.torch, data)
    if theirs == "cannot load" and str(file).startswith(ZIP_1_4):
        return
    if theirs == "cannot load" and UNTYPED.search(str(file)):
        (sibling,) = (other for other in FILES if str(other) == str(file).replace(".legacy.", ".zip."))
        theirs = saved_again(PYTORCH, corpus.path(sibling).read_bytes())
    assert ours == theirs


def test_zip_files_of_pytorch_1_4_are_read_by_ptfile_alone(corpus: Corpus) -> None:
    """A difference by intent, listed in docs/drop-in.md."""
    (file,) = (file for file in FILES if str(file) == "torch-1.4.0-py3.7/int64_tensor.zip.pt")
    path = corpus.path(file)
    with pytest.raises(Exception, match="file not found"):
        PYTORCH.load(path)
    assert torch.equal(ptfile.torch.load(path), torch.from_numpy(ptfile.load(path).numpy()))


@pytest.mark.parametrize("file", [file for file in FILES if "2.13" in str(file)], ids=str)
@pytest.mark.parametrize("protocol", [2, 4])
def test_both_save_the_same_in_the_legacy_format(file: CorpusFile, protocol: int, corpus: Corpus) -> None:
    """Of one object, since the keys are addresses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            value = PYTORCH.load(corpus.path(file), weights_only=False, map_location="cpu")
        except Exception:  # noqa: BLE001  (which one is the business of other tests)
            return
        theirs, ours = (saved_as_legacy(lib, value, protocol) for lib in (PYTORCH, ptfile.torch))
    if MADE_WHILE_SAVING.search(str(file)):
        assert len(ours) == len(theirs)
    else:
        assert ours == theirs


def saved_as_legacy(lib: Any, value: Any, protocol: int) -> bytes | str:
    """What a library saves; or what kind of error it raises."""
    buffer = io.BytesIO()
    try:
        lib.save(value, buffer, pickle_protocol=protocol, _use_new_zipfile_serialization=False)
    except Exception as error:  # noqa: BLE001  (the point is that both raise the same)
        return type(error).__name__
    return buffer.getvalue()
