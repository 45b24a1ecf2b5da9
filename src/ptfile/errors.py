"""Every error that ptfile raises for a file, a value or a request it cannot serve.

    PtfileError
    ├── FormatError        also a ValueError: the bytes are not what the format says
    ├── UnsafeError        also a pickle.UnpicklingError: the file asks for something that could run code
    ├── LimitError         a number in the file is larger than the limits allow
    ├── TensorError        also a ValueError: a tensor that does not fit its storage, or an impossible view
    └── UnsupportedError   also a NotImplementedError: sound, but ptfile cannot do it

An error is raised where the fault is seen and learns on its way up where that was: the machine knows the byte, the
format knows the record, the API knows the file (`located`). The message is computed from the fields and is for people;
programs read the fields.
"""

from __future__ import annotations

import pickle
from types import TracebackType
from typing import ClassVar


class PtfileError(Exception):
    """The base of all of them. `problem` says what is wrong, `fix` what to do about it; neither ends in a full stop."""

    advice: ClassVar[str] = ""
    """What to do about a file, where nothing better is known."""

    def __init__(
        self,
        problem: str,
        *,
        fix: str = "",
        file: str | None = None,
        record: str | None = None,
        offset: int | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix
        self.file = file
        """Name of the file, or of the kind of object the bytes came from."""
        self.record = record
        """Name of the record inside the container, without its root folder."""
        self.offset = offset
        """Position of the fault in bytes: from the start of the record if there is one, else of the file."""

    def __str__(self) -> str:
        place = [part for part in (self.file, self.record) if part]
        if self.offset is not None:
            place.append(f"byte {self.offset}")
        where = ", ".join(place)
        sentence = f"{where}: {self.problem}" if where else self.problem
        fix = self.fix or (self.advice if self.file else "")
        return f"{sentence}. {fix}" if fix else sentence

    def __reduce__(self) -> tuple[object, ...]:
        # The default would call the class with `args` alone; subclasses take more than that.
        return (_revive, (type(self), self.args, self.__dict__))


def _revive(kind: type[PtfileError], args: tuple[object, ...], fields: dict[str, object]) -> PtfileError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(fields)
    return error


class FormatError(PtfileError, ValueError):
    """The bytes are cut off, damaged, or not a checkpoint at all."""

    advice = "The file is damaged, or PyTorch did not write it: copy or download it again"


class UnsafeError(PtfileError, pickle.UnpicklingError):
    """The pickle names or calls something outside ptfile's own table. Nothing was imported or called."""

    advice = "No pickler of PyTorch's writes that: do not trust the file"

    def __init__(self, problem: str, *, name: str, **place: object) -> None:
        super().__init__(problem, **place)  # type: ignore[arg-type]
        self.name = name
        """The name in the pickle, `module.qualname`."""


class LimitError(PtfileError):
    """Reading on would cost more than the limits allow."""

    advice = "No checkpoint needs as much: do not trust the file, or, if you do, load it with larger `limits`"

    def __init__(self, problem: str, *, limit: str, allowed: int, actual: int, **place: object) -> None:
        super().__init__(problem, **place)  # type: ignore[arg-type]
        self.limit = limit
        """What is limited: a field of `Limits`, or one of the few bounds that are fixed."""
        self.allowed = allowed
        self.actual = actual


class TensorError(PtfileError, ValueError):
    """Numbers that describe a tensor contradict each other, or ask for a view that does not exist."""

    advice = "The file is damaged, or was changed after it was saved: copy or download it again"


class UnsupportedError(PtfileError, NotImplementedError):
    """The request or the file is sound, but ptfile does not do this."""

    advice = "If you trust the file, load it with PyTorch and save it again"


def brief(value: object) -> str:
    """A few words about a value from a file, for a message: never a walk into it, which could take forever."""
    if value is None or type(value) is bool or (type(value) is int and value.bit_length() <= 64):
        return repr(value)
    if type(value) in (str, bytes):
        return repr(value[:40])  # type: ignore[index]
    return f"a {type(value).__name__}"


class located:  # noqa: N801  (it is called as a function is)
    """A context: tells every PtfileError that passes through where it happened, unless it knows already."""

    __slots__ = ("_file", "_record")

    def __init__(self, *, file: str | None = None, record: str | None = None) -> None:
        self._file = file
        self._record = record

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if isinstance(error, PtfileError):
            error.file = self._file if error.file is None else error.file
            error.record = self._record if error.record is None else error.record
