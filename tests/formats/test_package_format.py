"""Reading torch.package archives: resources as data, code left alone."""

from __future__ import annotations

from typing import Any

import pytest

import ptfile
from ptfile.errors import FormatError, TensorError, UnsafeError, UnsupportedError
from tests.formats.zip_file import BAD_GLOBAL, EMPTY_TUPLE, GOLDEN, golden, zip_of

PICKLED = "model/obj.pkl"


def test_resources() -> None:
    """What was pickled is its value, with shared storages; texts, bytes and source code are bytes."""
    package = ptfile.load(GOLDEN / "package-1.10.2.pt")
    assert list(package) == ["res/note.txt", "res/b.bin", PICKLED, "mymod.py"]
    assert (package["res/note.txt"], package["res/b.bin"]) == (b"hello", b"\x00\x01")
    assert package["mymod.py"] == b"VALUE = 3\ndef f(x):\n    return x\n"
    value = package[PICKLED]
    assert value["t"].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert (value["shared"].tolist(), value["shared"].storage_offset(), value["n"]) == ([1.0, 2.0, 3.0], 1, 3)
    assert value["t"].untyped_storage() is value["shared"].untyped_storage()


def test_layout_of_1_8() -> None:
    """PyTorch 1.8 had storages under data/, by address, and the list of modules at the top."""
    new = golden("package-1.10.2.pt")
    address = b"X\x05\x00\x00\x0012345"
    pickled = new[PICKLED].replace(b"K\x00X\x03\x00\x00\x00cpu", address + b"X\x03\x00\x00\x00cpu")
    pickled = pickled.replace(b"h\x04K\x00h\x05", b"h\x04" + address + b"h\x05")
    old = {"data/12345": new[".data/0.storage"], PICKLED: pickled, "extern_modules": b"torch\n", "version": b"3\n"}
    package = ptfile.load(zip_of(old))
    assert list(package) == [PICKLED]
    assert package[PICKLED]["shared"].tolist() == [1.0, 2.0, 3.0]


def _load(pickled: bytes, more: dict[str, bytes] | None = None, **options: Any) -> Any:
    records = {".data/extern_modules": b"", "a.pkl": b"\x80\x03" + pickled, **(more or {})}
    return ptfile.load(zip_of(records), **options)["a.pkl"]


def test_classes_of_the_package_are_inert() -> None:
    """Objects of classes whose source is in the package are inert records; the same name is unsafe elsewhere."""
    pickled = b"cmine.part\nThing\n)\x81}X\x01\x00\x00\x00xK\x05sb."
    for source in ("mine/part.py", "mine/part/__init__.py"):
        thing = _load(pickled, {source: b"class Thing: pass"})
        assert (thing.inert_class, thing.x) == ("mine.part.Thing", 5)
    with pytest.raises(UnsafeError, match=r"mine\.part\.Thing"):
        _load(pickled)
    assert _load(pickled, unknown="inert").x == 5


def test_reduced_objects() -> None:
    """An object that the package's code would make is an inert record, one for each number."""
    made = b"(X\x0e\x00\x00\x00reduce_packageK\x07cmine\nmake\nK\x01\x85tQ"
    first, second = _load(made + made + b"\x86.", {"mine.py": b""})
    assert first is second
    assert (first.inert_class, first.inert_arguments) == ("mine.make", (1,))
    old = b"(X\x0e\x00\x00\x00reduce_packagecmine\nmake\nK\x01\x85tQ"
    assert _load(old + b".", {"mine.py": b""}).inert_arguments == (1,)


def test_torchscript_inside() -> None:
    """A TorchScript module in a package is read as one, and shares storages with the pickles beside it."""
    script = golden("lite-2.13.0.ptl")
    inside = {f".data/ts_code/{name}": code for name, code in script.items() if name.startswith("code/")}
    pickled = script["data.pkl"].replace(b"X\x01\x00\x00\x000", b"X\x09\x00\x00\x000.storage")
    inside[".data/ts_code/0/data.pkl"] = pickled.replace(b"X\x01\x00\x00\x001", b"X\x09\x00\x00\x001.storage")
    inside[".data/ts_code/0/constants.pkl"] = EMPTY_TUPLE
    inside |= {".data/0.storage": script["data/0"], ".data/1.storage": script["data/1"]}
    name = b"ctorch.jit._script\nunpackage_script_module\n"
    module = _load(b"(X\x0e\x00\x00\x00reduce_packageK\x07" + name + b"X\x01\x00\x00\x000\x85tQ.", inside)
    assert module.fc.bias.tolist()[0] == -0.4393689036369324


def test_weights_only_false() -> None:
    """ptfile does not run the code of a package, whatever one asks for."""
    with pytest.raises(UnsupportedError, match="does not run"):
        _load(b"N.", weights_only=False)


def test_bad_global() -> None:
    """A name that is in no table is unsafe, and the error says in which resource."""
    with pytest.raises(UnsafeError) as caught:
        ptfile.load(zip_of({**golden("package-1.10.2.pt"), "more/x.pkl": BAD_GLOBAL}))
    assert (caught.value.name, caught.value.record) == ("posix.system", "more/x.pkl")


@pytest.mark.parametrize(
    ("pickled", "error"),
    [
        (b"NQ.", FormatError),
        (b")Q.", FormatError),
        (b"X\x07\x00\x00\x00storage\x85Q.", FormatError),
        (b"(X\x0e\x00\x00\x00reduce_packageK\x01cmine\nmake\nNtQ.", FormatError),
        (b"(X\x0e\x00\x00\x00reduce_packageNcmine\nmake\n)tQ.", FormatError),
        (b"(X\x0e\x00\x00\x00reduce_packageK\x01ctorch._utils\n_rebuild_tensor_v2\n)tQ.", UnsafeError),
        (b"(X\x0e\x00\x00\x00reduce_packageK\x01N)tQ.", UnsafeError),
        (b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nK\x09X\x03\x00\x00\x00cpuK\x01tQ.", FormatError),
        (b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nK\x00X\x03\x00\x00\x00cpuK\x01tQ.", TensorError),
        (
            b"(X\x0e\x00\x00\x00reduce_packageK\x01ctorch.jit._script\nunpackage_script_module\n"
            b"X\x01\x00\x00\x009\x85tQ.",
            FormatError,
        ),
    ],
)
def test_bad_references(pickled: bytes, error: type[Exception]) -> None:
    """Persistent ids of another shape, of storages and scripts that are not there or too small: errors."""
    with pytest.raises(error):
        _load(pickled, {"mine.py": b"", ".data/0.storage": b"\0\0"})
