"""Object stores on loopback as obstore speaks to them: S3, Google's (the same XML) and Azure's blobs.

They are small, so that they can fail when and how a test wants it. Real servers vouch for them: moto's for S3's
protocol (tests/servers/s3.py), and Azurite, Microsoft's own emulator, which was tried by hand (docs/remote.md).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.servers.ranges import Fault, RangeHandler, RangeServer, serving


@dataclass
class ObjectServer(RangeServer):
    """One bucket."""

    bucket: str = "/bucket/"
    """The path of it. There is no other."""
    authorization: str = ""
    """What the header of that name begins with; who has none may do nothing."""
    uploads: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """The parts of what was begun, and neither finished nor called off."""
    numbers: Iterator[int] = field(default_factory=count)

    def place(self, path: str) -> str:
        return unquote(super().place(path))

    def put(self, place: str, content: bytes) -> str:
        """Have an object. Returns its ETag."""
        self.files[place] = content
        self.etags[place] = f'"{next(self.numbers)}"'
        return self.etags[place]


class _ObjectHandler(RangeHandler):
    """Puts and deletes as well, if the bucket and the authorization are right."""

    do_PUT = do_POST = do_DELETE = RangeHandler.do_GET

    def answer(self, fault: Fault, content: bytes) -> None:
        state: ObjectServer = self.state
        place = state.place(self.path)
        if not self.headers.get("Authorization", "").startswith(state.authorization):
            self.empty(403)
        elif not place.startswith(state.bucket):
            self.empty(404)
        elif self.command in ("GET", "HEAD"):
            super().answer(fault, content)
        else:
            query = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
            self.write(state, place, query, content)

    def write(self, state: ObjectServer, place: str, query: dict[str, str], content: bytes) -> None:
        raise NotImplementedError


class XmlHandler(_ObjectHandler):
    """The protocol of S3, which Google's XML API shares."""

    def write(self, state: ObjectServer, place: str, query: dict[str, str], content: bytes) -> None:
        name = query.get("uploadId", "")
        if self.command == "PUT" and not query:
            self.empty(200, {"ETag": state.put(place, content)})
        elif self.command == "POST" and "uploads" in query:
            name = f"upload{next(state.numbers)}"
            state.uploads[name] = {}
            self._xml("InitiateMultipartUploadResult", UploadId=name)
        elif name not in state.uploads:
            self.empty(404)
        elif self.command == "PUT":
            state.uploads[name][query["partNumber"]] = content
            self.empty(200, {"ETag": f'"part{query["partNumber"]}"'})
        elif self.command == "DELETE":
            del state.uploads[name]
            self.empty(204)
        else:
            self._finish(state, place, name, content.decode())

    def _finish(self, state: ObjectServer, place: str, name: str, listed: str) -> None:
        numbers = re.findall(r"<PartNumber>(\d+)</PartNumber>", listed)
        parts = state.uploads[name]
        if sorted(parts, key=int) != numbers or listed.count("<ETag>") != len(numbers):
            self.empty(400)
            return
        del state.uploads[name]
        etag = state.put(place, b"".join(parts[number] for number in numbers))
        self._xml("CompleteMultipartUploadResult", ETag=etag)

    def _xml(self, kind: str, **fields: str) -> None:
        inside = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
        self.text(f"<{kind}><Bucket>bucket</Bucket><Key>key</Key>{inside}</{kind}>")


class BlobHandler(_ObjectHandler):
    """Azure's blobs: blocks that stand nowhere until a list of them is put, and that nobody can call off."""

    def write(self, state: ObjectServer, place: str, query: dict[str, str], content: bytes) -> None:
        if self.command != "PUT":
            self.empty(405)
        elif query.get("comp") == "block":
            base64.b64decode(query["blockid"], validate=True)
            state.uploads.setdefault(place, {})[query["blockid"]] = content
            self.empty(201)
        elif query.get("comp") == "blocklist":
            blocks = state.uploads.get(place, {})
            wanted = re.findall("<Uncommitted>([^<]+)</Uncommitted>", content.decode())
            if set(wanted) <= set(blocks):
                state.uploads.pop(place, None)
                self.empty(201, self._facts(state, place, b"".join(blocks[block] for block in wanted)))
            else:
                self.empty(400)
        elif self.headers.get("x-ms-blob-type") == "BlockBlob":
            self.empty(201, self._facts(state, place, content))
        else:
            self.empty(400)

    def _facts(self, state: ObjectServer, place: str, content: bytes) -> dict[str, str]:
        return {"ETag": state.put(place, content), "Last-Modified": "Tue, 24 Nov 2026 00:34:32 GMT"}


@contextmanager
def object_server(handler: type[RangeHandler], bucket: str, authorization: str) -> Iterator[ObjectServer]:
    """A server for as long as the block lasts."""
    state = ObjectServer(bucket=bucket, authorization=authorization)
    with serving(state, handler):
        yield state
