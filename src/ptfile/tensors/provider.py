"""What gives a storage its bytes, when someone first looks at them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ptfile.errors import TensorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ptfile.tensors.storage import Bytes, Run


class Origin(Protocol):
    """Where the bytes of a storage that has not been read come from."""

    @property
    def offset(self) -> int:
        """Where they are in their file, by which those who read many storages put them in order."""

    @property
    def crc(self) -> int | None:
        """Their CRC-32, with which `pieces` compares them; None: nobody knows it."""

    def pieces(self) -> Iterator[Bytes]:
        """All of them, from front to back, none of which is kept. Raises FormatError, at the end, if they are wrong."""


class Provider(Protocol):
    """What gives a storage its bytes."""

    @property
    def origin(self) -> Origin | None:
        """Where they come from; None if nothing is known of it."""

    @property
    def has_parts(self) -> bool:
        """Whether `read_range` reads no more than it is asked for."""

    def read(self) -> Bytes:
        """All of them, as a 1-D uint8 array of just as many, for the storage to keep."""

    def read_range(self, start: int, stop: int) -> Bytes:
        """Those from `start` to `stop` alone, any number of times, for who wants no more."""

    def will_read(self, runs: Iterable[Run]) -> None:
        """Hear of all the parts that somebody is going to read, in rising order."""


class Functions:
    """The provider of `Storage.deferred`."""

    __slots__ = ("_fetch", "_fetch_range", "_will_read", "has_parts", "origin")

    def __init__(
        self,
        fetch: Callable[[], Bytes] | None,
        fetch_range: Callable[[int, int], Bytes] | None,
        will_read: Callable[[Iterable[Run]], None] | None,
        origin: Origin | None,
    ) -> None:
        self._fetch = fetch
        self._fetch_range = fetch_range
        self._will_read = will_read
        self.has_parts = fetch_range is not None
        self.origin = origin

    def read(self) -> Bytes:
        if self._fetch is None:
            raise TensorError("the bytes of this storage were never provided")
        return self._fetch()

    def read_range(self, start: int, stop: int) -> Bytes:
        return self.read()[start:stop] if self._fetch_range is None else self._fetch_range(start, stop)

    def will_read(self, runs: Iterable[Run]) -> None:
        if self._will_read is not None:
            self._will_read(runs)
