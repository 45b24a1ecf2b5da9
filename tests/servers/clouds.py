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
ALLOW_HTTP = {"client_options": {"allow_http": True}}


@dataclass(frozen=True)
class Cloud:
    """A store with one bucket, seen from its server."""

    kind: str
    server: RangeServer
    where: Mapping[str, Any]
    """The `storage_options` for it, but for credentials."""
    credentials: Mapping[str, str]
    """Those, by their names in the environment. Each has SECRET in it."""
    url: Callable[[str], str]
    """Of an object in it, by its name."""
    put: Callable[[str, bytes], object]
    """Have an object there."""
    content: Callable[[str], bytes | None]
    """What an object has; None if there is none."""
    reading: str = "GET "
    """What is in the first lines of requests for bytes, and in no other's."""

    @property
    def options(self) -> dict[str, Any]:
        """The `storage_options` for it, with credentials."""
        return {**self.where, **{_OPTIONS[name]: value for name, value in self.credentials.items()}}


_OPTIONS = {
    "AWS_ACCESS_KEY_ID": "access_key_id",
    "AWS_SECRET_ACCESS_KEY": "secret_access_key",
    "GOOGLE_BEARER_TOKEN": "bearer_token",
    "AZURE_STORAGE_ACCOUNT_KEY": "account_key",
    "HF_TOKEN": "token",
}


@contextmanager
def s3() -> Iterator[Cloud]:
    with object_server(XmlHandler, "/bucket/", "AWS4-HMAC-SHA256 Credential=SECRET1/") as server:
        where = {**QUICKLY, **ALLOW_HTTP, "endpoint": server.url(""), "region": "us-east-1"}
        keys = {"AWS_ACCESS_KEY_ID": "SECRET1", "AWS_SECRET_ACCESS_KEY": "SECRET2"}
        yield _of_objects("s3", server, where, keys)


@contextmanager
def gs() -> Iterator[Cloud]:
    with object_server(XmlHandler, "/bucket/", "Bearer SECRET") as server:
        where = {**QUICKLY, **ALLOW_HTTP, "base_url": server.url("")}
        yield _of_objects("gs", server, where, {"GOOGLE_BEARER_TOKEN": "SECRET"})


@contextmanager
def az() -> Iterator[Cloud]:
    with object_server(BlobHandler, f"/{ACCOUNT}/bucket/", f"SharedKey {ACCOUNT}:") as server:
        where = {**QUICKLY, **ALLOW_HTTP, "endpoint": server.url(f"/{ACCOUNT}"), "account_name": ACCOUNT}
        yield _of_objects("az", server, where, {"AZURE_STORAGE_ACCOUNT_KEY": "SECRETSECRET"})


def _of_objects(kind: str, server: ObjectServer, where: Mapping[str, Any], credentials: Mapping[str, str]) -> Cloud:
    def content(name: str) -> bytes | None:
        return server.files.get(server.bucket + name)  # type: ignore[return-value]

    def put(name: str, content: bytes) -> None:
        server.put(server.bucket + name, content)

    return Cloud(kind, server, where, credentials, lambda name: f"{kind}://bucket/{name}", put, content)


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

        yield Cloud("http", server, QUICKLY, {}, url, put, content)


@contextmanager
def hf() -> Iterator[Cloud]:
    with hub_server() as server:

        def url(name: str) -> str:
            return f"hf://{REPOSITORY}/{name}"

        where = {"endpoint": server.url("")}
        yield Cloud("hf", server, where, {"HF_TOKEN": TOKEN}, url, server.commit, server.content, "GET /stored")


CLOUDS = {"s3": s3, "gs": gs, "az": az, "http": http, "hf": hf}
