"""A real S3 server (moto's) in a process of its own, on loopback, that notes what it was asked.

A process of its own, so that what it holds and what its libraries warn of are not the tests'.
"""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_KEYS = {"access_key_id": "test", "secret_access_key": "test"}


@dataclass(frozen=True)
class S3Server:
    """Where it is, and what it was asked."""

    endpoint: str
    log: Path

    @property
    def options(self) -> dict[str, Any]:
        """The `storage_options` for it, keys included."""
        return {**_KEYS, **self.place}

    @property
    def place(self) -> dict[str, Any]:
        return {"endpoint": self.endpoint, "region": "us-east-1", "client_options": {"allow_http": True}}

    def bucket(self, name: str) -> str:
        """Make a bucket. Returns its URL, with a slash."""
        self._ask("PUT", f"/{name}")
        return f"s3://{name}/"

    def keys(self, bucket: str) -> list[str]:
        """Of the objects in a bucket."""
        return _texts(self._ask("GET", f"/{bucket}?list-type=2"), "Key")

    def uploads(self, bucket: str) -> list[str]:
        """Keys of the uploads that were begun and neither finished nor called off."""
        return _texts(self._ask("GET", f"/{bucket}?uploads"), "Key")

    def content(self, bucket: str, key: str) -> bytes:
        return self._ask("GET", f"/{bucket}/{key}")

    def forget(self) -> None:
        """Count from here on."""
        self.log.write_text("")

    @property
    def requests(self) -> list[tuple[str, str, int]]:
        """(method, path with its query, bytes of the answer's body), in the order of the answers."""
        lines = (line.split() for line in self.log.read_text().splitlines())
        return [(method, path, int(size)) for method, path, size in lines]

    def _ask(self, method: str, path: str) -> bytes:
        request = urllib.request.Request(self.endpoint + path, method=method)
        with urllib.request.urlopen(request) as answer:
            return answer.read()  # type: ignore[no-any-return]


def _texts(xml: bytes, tag: str) -> list[str]:
    return [part.partition(f"</{tag}>")[0] for part in xml.decode().split(f"<{tag}>")[1:]]


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """A server for as long as the block lasts."""
    log = folder / "requests"
    log.touch()
    with subprocess.Popen([sys.executable, __file__, str(log)], stdout=subprocess.PIPE, stdin=subprocess.PIPE) as child:
        assert child.stdout is not None
        port = child.stdout.readline().decode().strip()
        try:
            yield S3Server(f"http://127.0.0.1:{port}", log)
        finally:
            child.kill()


def _serve(log: Path) -> None:
    import logging
    import threading

    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = DomainDispatcherApplication(create_backend_app)

    def noting(environ: Any, start_response: Any) -> Any:
        path = environ["PATH_INFO"] + ("?" + environ["QUERY_STRING"] if environ["QUERY_STRING"] else "")
        body = b"".join(app(environ, start_response))
        with log.open("a") as file:
            file.write(f"{environ['REQUEST_METHOD']} {path.replace(' ', '%20')} {len(body)}\n")
        return [body]

    server = make_server("127.0.0.1", 0, noting, threaded=True)
    print(server.server_port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()  # ends with the process that started this one


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
