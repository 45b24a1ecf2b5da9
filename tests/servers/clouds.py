"""Every kind of store that a URL can lead to, on loopback, alike for the tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tests.servers.hub import REPOSITORY, TOKEN, hub_server
from tests.servers.objects import BlobHandler, ObjectServer, XmlHandler, object_server
from tests.servers.options import QUICKLY
from tests.servers.ranges import RangeServer, range_server

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Those that everybody knows: Microsoft's emulator has them."""


@dataclass(frozen=True)
class Cloud:
    """A store with one bucket, seen from its server."""

    kind: str
    server: RangeServer
    options: Mapping[str, Any]
    """The `storage_options` for it, credentials included."""
    url: Callable[[str], str]
    """Of an object in it, by its name."""
    put: Callable[[str, bytes], object]
    """Have an object there."""
    content: Callable[[str], bytes | None]
    """What an object has; None if there is none."""
    reading: str = "GET "
    """What is in the first lines of requests for bytes, and in no other's."""


@contextmanager
def s3() -> Iterator[Cloud]:
    with object_server(XmlHandler, "/bucket/", "AWS4-HMAC-SHA256 Credential=SECRET1/") as server:
        place = {"endpoint": server.url(""), "region": "us-east-1", "client_options": {"allow_http": True}}
        keys = {"access_key_id": "SECRET1", "secret_access_key": "SECRET2"}
        yield _of_objects("s3", server, {**QUICKLY, **place, **keys})


@contextmanager
def gs() -> Iterator[Cloud]:
    with object_server(XmlHandler, "/bucket/", "Bearer SECRET") as server:
        options = {"base_url": server.url(""), "bearer_token": "SECRET", "client_options": {"allow_http": True}}
        yield _of_objects("gs", server, {**QUICKLY, **options})


@contextmanager
def az() -> Iterator[Cloud]:
    with object_server(BlobHandler, f"/{ACCOUNT}/bucket/", f"SharedKey {ACCOUNT}:") as server:
        place = {"endpoint": server.url(f"/{ACCOUNT}"), "client_options": {"allow_http": True}}
        yield _of_objects("az", server, {**QUICKLY, **place, "account_name": ACCOUNT, "account_key": KEY})


def _of_objects(kind: str, server: ObjectServer, options: Mapping[str, Any]) -> Cloud:
    def content(name: str) -> bytes | None:
        return server.files.get(server.bucket + name)  # type: ignore[return-value]

    def put(name: str, content: bytes) -> None:
        server.put(server.bucket + name, content)

    return Cloud(kind, server, options, lambda name: f"{kind}://bucket/{name}", put, content)


@contextmanager
def http() -> Iterator[Cloud]:
    with range_server() as server:

        def url(name: str) -> str:
            return server.url(f"/{quote(name)}?X-Amz-Signature=SECRET").replace("://", "://me:SECRET@")

        def put(name: str, content: bytes) -> None:
            place = f"/{quote(name)}"
            server.files[place] = content
            server.etags[place] = f'"{len(server.requests)}{len(content)}{hash(content)}"'

        def content(name: str) -> bytes | None:
            return server.files.get(f"/{quote(name)}")  # type: ignore[return-value]

        yield Cloud("http", server, QUICKLY, url, put, content)


@contextmanager
def hf() -> Iterator[Cloud]:
    with hub_server() as server:
        options = {"endpoint": server.url(""), "token": TOKEN}

        def url(name: str) -> str:
            return f"hf://{REPOSITORY}/{name}"

        yield Cloud("hf", server, options, url, server.commit, server.content, "GET /stored")


CLOUDS = {"s3": s3, "gs": gs, "az": az, "http": http, "hf": hf}
