"""A stand-in for Hugging Face's hub on loopback: one repository, read and committed to as huggingface_hub does it.

Files are kept as large ones are: an answer sends who asks for one to a signed address elsewhere, and a commit names
what was put there before.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

from tests.servers.ranges import Fault, RangeHandler, RangeServer, serving

REPOSITORY = "org/net"
BUCKET = "org/box"
TOKEN = "hf_SECRET"


@dataclass
class Hub(RangeServer):
    """The repository's commits, the last of which its branch is at. What they hold is in `files`, by its hash."""

    commits: list[dict[str, str]] = field(default_factory=lambda: [{}])
    """Each: the hashes of its files, by their names."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Of what was ever committed, by its hash."""
    ignored: frozenset[str] = frozenset()
    """Names that the repository's .gitignore has."""
    xet: str = ""
    """Where hf_xet puts what is uploaded; without, it comes here."""

    bucket: dict[str, str] = field(default_factory=dict)
    """The hashes of the files in the bucket, by their names."""

    def commit(self, name: str, content: bytes) -> None:
        """Have the branch at a new commit, with this file."""
        self.commits.append({**self.commits[-1], name: self.store(content)})

    def store(self, content: bytes) -> str:
        oid = hashlib.sha256(content).hexdigest()
        self.files[f"/stored/{oid}"] = content
        self.sizes[oid] = len(content)
        return oid

    def content(self, name: str) -> bytes | None:
        """What the branch has by this name."""
        oid = self.commits[-1].get(name)
        return None if oid is None else self.files[f"/stored/{oid}"]  # type: ignore[return-value]

    def number(self, revision: str) -> int:
        """Of a commit; all branches are one."""
        return int(revision, 16) if len(revision) == len(self.sha(0)) else len(self.commits) - 1

    def names(self, revision: str) -> dict[str, str]:
        """The files of a commit, or of the branch."""
        return self.commits[self.number(revision)]

    def sha(self, number: int) -> str:
        return f"{number:040x}"

    def about(self, name: str, oid: str) -> dict[str, Any]:
        lfs = {"oid": oid, "size": self.sizes[oid], "pointerSize": 100}
        return {"type": "file", "path": name, "oid": oid[:40], "size": self.sizes[oid], "lfs": lfs}


class _HubHandler(RangeHandler):
    do_PUT = do_POST = RangeHandler.do_GET

    def answer(self, fault: Fault, content: bytes) -> None:
        state: Hub = self.state
        path = unquote(state.place(self.path)).replace("/datasets/", "/models/").removeprefix("/models")
        path = path.removeprefix(f"/api/models/{REPOSITORY}")
        if path.startswith(f"/{REPOSITORY}/resolve/"):
            revision, _, name = path.removeprefix(f"/{REPOSITORY}/resolve/").partition("/")
            self._resolve(state, state.names(revision).get(name))
        elif path.startswith(f"/buckets/{BUCKET}/resolve/"):
            self._resolve(state, state.bucket.get(path.removeprefix(f"/buckets/{BUCKET}/resolve/")))
        elif path.startswith("/stored/") and self.command == "PUT":
            is_right = state.store(content) == path.removeprefix("/stored/")
            self.empty(200 if is_right else 400)
        elif path.startswith("/stored/"):
            super().answer(fault, content)
        elif self.command == "POST" and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.empty(403, {"X-Error-Message": "You do not have the right to write"})
        elif path == f"/{REPOSITORY}.git/info/lfs/objects/batch":
            transfer = "xet" if state.xet else "basic"
            self._json({"transfer": transfer, "objects": [self._place(state, **it) for it in self._asked(content)]})
        elif path.startswith(f"/api/buckets/{BUCKET}"):
            self._of_bucket(state, path.removeprefix(f"/api/buckets/{BUCKET}"), content)
        else:
            kind, _, rest = path.lstrip("/").partition("/")
            self._api(state, kind, rest.partition("/")[0], content)

    def _api(self, state: Hub, kind: str, revision: str, content: bytes) -> None:
        if kind in ("", "revision"):
            repository = {"_id": "1", "id": REPOSITORY, "sha": state.sha(state.number(revision)), "private": False}
            self._json({**repository, "tags": [], "siblings": [], "downloads": 0, "likes": 0})
        elif kind == "tree":
            self._json([state.about(name, oid) for name, oid in state.names(revision).items()])
        elif kind == "paths-info":
            wanted = parse_qs(content.decode())["paths"]
            self._json([state.about(name, oid) for name, oid in state.names(revision).items() if name in wanted])
        elif kind == "preupload":
            names = [entry["path"] for entry in json.loads(content)["files"]]
            modes = [{"path": name, "uploadMode": "lfs", "shouldIgnore": name in state.ignored} for name in names]
            self._json({"files": modes})
        elif kind == "xet-write-token":
            self._xet_token(state)
        elif kind == "commit":
            self._commit(state, [json.loads(line) for line in content.splitlines()])
        else:
            self.empty(404, {"X-Error-Code": "RepoNotFound"})

    def _of_bucket(self, state: Hub, what: str, content: bytes) -> None:
        if what == "":
            facts = {"createdAt": "2026-11-24T00:00:00.000Z", "size": 0, "totalFiles": len(state.bucket)}
            self._json({"id": BUCKET, "private": False, **facts})
        elif what == "/tree":
            files = [{**state.about(name, oid), "xetHash": oid} for name, oid in state.bucket.items()]
            self._json(files)
        elif what == "/xet-write-token":
            self._xet_token(state)
        else:
            for line in map(json.loads, content.splitlines()):
                state.bucket[line["path"]] = line["xetHash"]
            self._json({"failed": []})

    def _xet_token(self, state: Hub) -> None:
        token = {"X-Xet-Cas-Url": state.xet, "X-Xet-Access-Token": "x", "X-Xet-Token-Expiration": "9999999999"}
        self.text(json.dumps({"casUrl": state.xet, "accessToken": "x", "exp": 9999999999}), 200, token)

    def _commit(self, state: Hub, lines: list[dict[str, Any]]) -> None:
        files = dict(state.commits[-1])
        for line in lines:
            if line["key"] == "lfsFile":
                files[line["value"]["path"]] = line["value"]["oid"]
                state.sizes[line["value"]["oid"]] = line["value"]["size"]
            elif line["key"] == "file":
                files[line["value"]["path"]] = state.store(base64.b64decode(line["value"]["content"]))
        if not state.xet and any(f"/stored/{oid}" not in state.files for oid in files.values()):
            self.empty(400)
            return
        state.commits.append(files)
        oid = state.sha(state.number(""))
        self._json({"commitUrl": f"https://huggingface.co/{REPOSITORY}/commit/{oid}", "commitOid": oid})

    def _resolve(self, state: Hub, oid: str | None) -> None:
        if oid is None:
            self.empty(404, {"X-Error-Code": "EntryNotFound"})
        else:
            self.empty(302, {"Location": state.url(f"/stored/{oid}?X-Amz-Signature=SECRET")})

    @staticmethod
    def _asked(content: bytes) -> list[dict[str, Any]]:
        objects: list[dict[str, Any]] = json.loads(content)["objects"]
        return objects

    @staticmethod
    def _place(state: Hub, oid: str, size: int) -> dict[str, Any]:
        href = state.url(f"/stored/{oid}?X-Amz-Signature=SECRET")
        return {"oid": oid, "size": size, "actions": {"upload": {"href": href}}}

    def _json(self, value: object) -> None:
        self.text(json.dumps(value), 200, {"Content-Type": "application/json"})


@contextmanager
def hub_server() -> Iterator[Hub]:
    """A hub for as long as the block lasts."""
    state = Hub()
    with serving(state, _HubHandler):
        yield state
