"""PyTorch and ptfile load the same from every file of the golden corpus that this PyTorch can load."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch.package.package_importer import PackageImporter

import ptfile
from tests.golden.corpus import Corpus, CorpusFile, files
from tests.golden.outcome import load, natural_encoding
from tests.parity.agreement import disagreements

CLASSES_OF_THE_CORPUS = re.compile(
    r".*/(main_class|module_net|module_tiny|pickler_(cloudpickle|dill)_lambda|tensor_subclass(_with_attr)?"
    r"|wrapper_subclass|py_(class_reference|dataclass|dict_subclass|enum|function_reference|int_subclass|list_subclass"
    r"|namedtuple|plain_object|recursive_object|slotted_object|state_object))\..*"
)
"""Files that name classes of the program that made the corpus, which is not here: PyTorch would import them."""
CHANGED_BY_PYTORCH = re.compile(
    r".*/optim_object\..*"  # optimizers of older versions get the options that were new since
    r"|torch-1\.0\..*/packed_sequence\..*"  # it adds the fields that are new since
    r"|.*/pickler_dill\..*"  # it runs dill's functions, which are records here
    r"|.*/nested_strided(_2d)?\.legacy\..*"  # it uses the shapes before it has read them: anything may happen
    r"|torch-1\.10\..*/dtype_views_share\..*"  # it gives wrong values for it; ptfile refuses
)
"""Files from which PyTorch makes something else than what they hold."""
KINDS = ("zip", "legacy", "synthetic")
FILES = [
    file
    for file in files()
    if file.kind in KINDS
    and not CLASSES_OF_THE_CORPUS.fullmatch(str(file))
    and not CHANGED_BY_PYTORCH.fullmatch(str(file))
]
SCRIPTS = [
    file
    for file in files()
    if file.kind == "torchscript"
    and file.number != "1.0.1"  # which PyTorch cannot load
    and str(file) != "torch-1.4.0-py3.7/jit_container.jit.pt"  # of which it takes the buffers for other attributes
]
PACKAGES = [file for file in files() if file.kind == "package"]

PYTORCH_CANNOT = (
    r".*/proto0\..*",  # persistent ids as text
    r"torch-1\.0\..*/module_lstm\..*",  # states that have changed since
    r"torch-1\.(6|10)\..*/quantized_dynamic_module\..*",
    r"torch-1\.13\..*/sparse_csr(_int32)?\..*",  # a function that is gone
    r".*/sharded_tensor_object\..*",  # a process group
    r"torch-2\.15\..*/(nested_jagged|torch_dtypes|dtype_bcomplex32)\..*",  # newer than this PyTorch
    r"torch-2\.6\..*/py_pathlib\..*",  # a module that only Python 3.13 has
    # Legacy files that name UntypedStorage, which the reader of the format does not expect.
    r".*/dtype_(bcomplex32|bits.*|complex32|float4.*|float8.*|uint16|uint32|uint64)\.legacy\..*",
    r".*/(storage_untyped|uint8_tensor_and_untyped_storage)\.legacy\..*",
    r"synthetic/tar_no_location\..*",
)
"""Files that this PyTorch fails to load, and ptfile does not."""

pytestmark = pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return Corpus(tmp_path_factory.mktemp("corpus"))


def torch_loads(corpus: Corpus, file: CorpusFile) -> Any:
    """What PyTorch makes of a file. The corpus is our own, so its pickles may run."""
    with corpus.opened(file) as f, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(f, weights_only=False, map_location="cpu", encoding=natural_encoding(file))


def pytorch_cannot(corpus: Corpus, file: CorpusFile) -> bool:
    if file.number == "1.4.0" and file.kind == "zip":  # it no longer looks for storages where 1.4 put them
        with zipfile.ZipFile(corpus.path(file)) as archive:
            return any("/tensors/" in name for name in archive.namelist())
    return any(re.fullmatch(pattern, str(file)) for pattern in PYTORCH_CANNOT)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_both_load_the_same(corpus: Corpus, file: CorpusFile) -> None:
    """Values, dtypes, strides, sharing, requires_grad, attributes; and `torch()` gives PyTorch's own tensors.

    Or PyTorch cannot load the file, as the list here says.
    """
    if pytorch_cannot(corpus, file):
        with pytest.raises((RuntimeError, AttributeError, ImportError, ValueError, AssertionError)):
            torch_loads(corpus, file)
        return
    theirs = torch_loads(corpus, file)
    with corpus.opened(file) as f:
        ours = ptfile.load(f, map_location="cpu", unknown="inert", encoding=natural_encoding(file))
    assert disagreements(ours, theirs) == []


@pytest.mark.parametrize("file", SCRIPTS, ids=str)
def test_both_find_the_same_weights_in_torchscript(corpus: Corpus, file: CorpusFile) -> None:
    """The state dict, in the same order."""
    scripts: Any = torch.jit
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = dict(scripts.load(corpus.path(file)).state_dict())
    assert disagreements(dict(ptfile.state_dict(load(corpus, file, "utf-8"))), theirs) == []


@pytest.mark.parametrize("file", PACKAGES, ids=str)
def test_both_load_the_same_from_a_package(corpus: Corpus, file: CorpusFile) -> None:
    """The pickled resource."""
    theirs = PackageImporter(str(corpus.path(file))).load_pickle("model", "obj.pkl")
    assert disagreements(load(corpus, file, "utf-8"), theirs) == []


BASE = torch.arange(6.0)
CSR = torch.eye(3).to_sparse_csr()
UNLIKE = {
    "value": (BASE, torch.arange(1.0, 7.0)),
    "dtype": (torch.zeros(2, dtype=torch.int32), torch.zeros(2)),
    "stride": (BASE.reshape(2, 3), BASE.reshape(3, 2).t()),
    "offset": (BASE[1:3], BASE[2:4]),
    "sharing": ([BASE, BASE[1:]], [BASE, BASE.clone()[1:]]),
    "requires_grad": (torch.nn.Parameter(BASE), torch.nn.Parameter(BASE, requires_grad=False)),
    "class": (BASE.clone().requires_grad_(), torch.nn.Parameter(BASE)),
    "identity": ([BASE, BASE], [BASE, BASE[:]]),
    "layout": (CSR, CSR.to_sparse_csc()),
    "sparse values": (CSR, (2 * torch.eye(3)).to_sparse_csr()),
    "coalesced": (torch.eye(2).to_sparse(), torch.eye(2).to_sparse()._coalesced_(False)),
    "scale": (
        torch.quantize_per_tensor(BASE, 0.5, 1, torch.qint8),
        torch.quantize_per_tensor(BASE, 0.5, 2, torch.qint8),
    ),
    "order": ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    "kind of dict": (OrderedDict(a=1), {"a": 1}),
    "kind of number": ([1], [True]),
    "device": (torch.device("cuda"), torch.device("cuda", 0)),
}
"""Two values, which differ in one respect."""


@pytest.mark.parametrize("name", UNLIKE)
def test_the_comparison_sees_what_differs(name: str) -> None:
    """One value loaded by ptfile, the other by PyTorch."""
    ours, theirs = UNLIKE[name]
    buffer = io.BytesIO()
    torch.save(ours, buffer)
    buffer.seek(0)
    loaded = ptfile.load(buffer, unknown="inert")
    buffer.seek(0)
    assert disagreements(loaded, torch.load(buffer, weights_only=False)) == []
    assert disagreements(loaded, theirs) != []


NO_REPR = ("py_namespace.legacy.pt", "training_checkpoint.legacy.pt")
"""argparse's Namespace cannot be shown with attributes of bytes, in PyTorch no more than here."""
PYTHON_2 = [file for file in FILES if "py2.7" in str(file) and not str(file).endswith(NO_REPR)]


@pytest.mark.parametrize("file", PYTHON_2, ids=str)
def test_what_pytorch_reads_with_encoding_bytes_is_read(corpus: Corpus, file: CorpusFile) -> None:
    """Names of dtypes, attributes and devices are bytes then, as all strings of Python 2 are."""
    path = corpus.path(file)
    try:
        theirs = torch.load(path, weights_only=False, encoding="bytes")
    except Exception:  # noqa: BLE001  (classes that take no bytes)
        return
    ours = ptfile.load(path, unknown="inert", encoding="bytes")
    assert disagreements(ours, theirs) == []
