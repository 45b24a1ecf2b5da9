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
    """One for each of the next requests, taken from the front as they fit; behind them all is well."""
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

    def place(self, path: str) -> str:
        """The key in `files` for the path of a request."""
        return path.partition("?")[0]

    def fault(self, request: str) -> Fault:
        """What goes wrong with this one."""
        number = next((number for number, fault in enumerate(self.faults) if fault.on in request), None)
        return Fault() if number is None else self.faults.pop(number)


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request."""

    on: str = ""
    """What its first line holds: `GET /some`, `partNumber=3`."""
    status: int = 0
    """Answered in place of the file; 0: the file is."""
    cut_after: int | None = None
    """Bytes of body after which the connection is closed."""
    before: Callable[[], object] | None = None
    """Called before the answer is made."""


class RangeHandler(BaseHTTPRequestHandler):
    """Answers GET and HEAD. Servers that can do more inherit from it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Any

    @property
    def state(self) -> Any:
        return self.server.state

    def do_GET(self) -> None:
        state: RangeServer = self.state
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with state._lock:
            fault = state.fault(f"{self.command} {self.path}")
            state._busy += 1
            state.most_at_once = max(state.most_at_once, state._busy)
        try:
            if state.delay:
                time.sleep(state.delay)
            if fault.before:
                fault.before()
            if fault.status:
                self.empty(fault.status)
            elif fault.cut_after is not None and self.command not in ("GET", "HEAD"):
                self.close_connection = True
            else:
                self.answer(fault, content)
        finally:
            with state._lock:
                state._busy -= 1

    do_HEAD = do_GET

    def answer(self, fault: Fault, content: bytes) -> None:
        """Answer a request that had this content."""
        del content
        state: RangeServer = self.state
        path = state.place(self.path)
        body = state.files.get(path)
        if path in state.redirects:
            self.empty(302, {"Location": state.redirects[path]})
        elif body is None:
            self.empty(404)
        else:
            self._file(state, fault, path, body)

    def _file(self, state: RangeServer, fault: Fault, path: str, body: Body) -> None:
        etag = state.etags.get(path)
        wanted = self.headers.get("If-Match")
        if wanted and state.honours_if_match and wanted != etag:
            self.empty(412)
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
                self.empty(416, {"Content-Range": f"bytes */{size}"})
                return
        headers = {"Content-Length": str(stop - start), "Accept-Ranges": "bytes"}
        if status == 206:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        if etag:
            headers |= {"ETag": etag, "Last-Modified": "Tue, 24 Nov 2026 00:34:32 GMT"}
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

    def empty(self, status: int, headers: Mapping[str, str] | None = None) -> None:
        """Answer with nothing but a status."""
        self.text("", status, headers)

    def text(self, text: str, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Answer with a text."""
        body = text.encode()
        self._note(self.state, 0, len(body), status)
        self._head(status, {"Content-Length": str(len(body)), **(headers or {})})
        self.wfile.write(body)

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
def serving(state: RangeServer, handler: type[RangeHandler]) -> Iterator[None]:
    """Have a server for as long as the block lasts."""
    server = _Server(("127.0.0.1", 0), handler)
    server.state = state
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def range_server() -> Iterator[RangeServer]:
    """A server for as long as the block lasts."""
    state = RangeServer()
    with serving(state, RangeHandler):
        yield state
