"""An HTTP server on loopback that answers Range requests, counts what it is asked for, and fails when told to."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

_PIECE = 1 << 16


class Body(Protocol):
    """The bytes of one file: as long as it says, given a range at a time."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: slice, /) -> bytes: ...


@dataclass(frozen=True)
class Request:
    """One request, as it was answered."""

    method: str
    path: str
    """With its query."""
    start: int
    sent: int
    """Bytes of body."""
    status: int


@dataclass
class RangeServer:
    """What is served, how badly, and what was asked for."""

    files: dict[str, Body] = field(default_factory=dict)
    """By path without a query: `/model.pt`."""
    etags: dict[str, str] = field(default_factory=dict)
    """By path; a file without has none."""
    delay: float = 0
    """Seconds before each answer."""
    faults: list[Fault] = field(default_factory=list)
    """One for each of the next requests, taken from the front; behind them all is well."""
    requests: list[Request] = field(default_factory=list)
    port: int = 0
    honours_ranges: bool = True
    honours_if_match: bool = True
    redirects: Mapping[str, str] = field(default_factory=dict)
    most_at_once: int = 0
    _busy: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    @property
    def sent(self) -> int:
        """Bytes of bodies in all."""
        return sum(request.sent for request in self.requests)

    def forget(self) -> None:
        """Count from here on."""
        self.requests.clear()
        self.most_at_once = 0


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request."""

    status: int = 0
    """Answered in place of the file; 0: the file is."""
    cut_after: int | None = None
    """Bytes of body after which the connection is closed."""
    before: Callable[[], object] | None = None
    """Called before the answer is made."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Any

    def do_GET(self) -> None:
        state: RangeServer = self.server.state
        with state._lock:
            fault = state.faults.pop(0) if state.faults else Fault()
            state._busy += 1
            state.most_at_once = max(state.most_at_once, state._busy)
        try:
            if state.delay:
                time.sleep(state.delay)
            if fault.before:
                fault.before()
            self._answer(state, fault)
        finally:
            with state._lock:
                state._busy -= 1

    do_HEAD = do_GET

    def _answer(self, state: RangeServer, fault: Fault) -> None:
        path = self.path.partition("?")[0]
        body = state.files.get(path)
        if path in state.redirects:
            self._empty(state, 302, {"Location": state.redirects[path]})
        elif fault.status:
            self._empty(state, fault.status)
        elif body is None:
            self._empty(state, 404)
        else:
            self._file(state, fault, path, body)

    def _file(self, state: RangeServer, fault: Fault, path: str, body: Body) -> None:
        etag = state.etags.get(path)
        wanted = self.headers.get("If-Match")
        if wanted and state.honours_if_match and wanted != etag:
            self._empty(state, 412)
            return
        size = len(body)
        start, stop, status = 0, size, 200
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if match and state.honours_ranges:
            status = 206
            if match[1]:
                start, stop = int(match[1]), min(size, int(match[2]) + 1 if match[2] else size)
            else:
                start = max(0, size - int(match[2]))
            if start >= size:
                self._empty(state, 416, {"Content-Range": f"bytes */{size}"})
                return
        headers = {"Content-Length": str(stop - start), "Accept-Ranges": "bytes"}
        if status == 206:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        if etag:
            headers["ETag"] = etag
        self._head(status, headers)
        end = stop if fault.cut_after is None else min(stop, start + fault.cut_after)
        end = start if self.command == "HEAD" else end
        self._note(state, start, end - start, status)
        try:
            for at in range(start, end, _PIECE):
                self.wfile.write(body[at : min(at + _PIECE, end)])
        except ConnectionError:
            pass
        if fault.cut_after is not None:
            self.close_connection = True

    def _empty(self, state: RangeServer, status: int, headers: Mapping[str, str] | None = None) -> None:
        self._note(state, 0, 0, status)
        self._head(status, {"Content-Length": "0", **(headers or {})})

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _note(self, state: RangeServer, start: int, sent: int, status: int) -> None:
        with state._lock:
            state.requests.append(Request(self.command, self.path, start, sent, status))

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    state: RangeServer

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that goes away in the middle


@contextmanager
def range_server() -> Iterator[RangeServer]:
    """A server for as long as the block lasts."""
    state = RangeServer()
    server = _Server(("127.0.0.1", 0), _Handler)
    server.state = state
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
