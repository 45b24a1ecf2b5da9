"""Servers on loopback, for the tests that ask for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.clouds import CLOUDS, Cloud
from tests.servers.ranges import RangeServer, range_server
from tests.servers.s3 import S3Server, s3_server


@pytest.fixture
def web() -> Iterator[RangeServer]:
    """A web server that answers Range requests."""
    with range_server() as server:
        yield server


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server, the same for all tests: each makes a bucket of its own."""
    pytest.importorskip("moto.server")
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(params=CLOUDS)
def cloud(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """A store of each kind, read and written as users do it, but with no long pauses before another try."""
    if request.param == "hf":
        _hurry_the_hub(monkeypatch)
    else:
        pytest.importorskip("obstore")
    with CLOUDS[request.param]() as store:
        yield store


def _hurry_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the hub's library upload by plain HTTP, and without a bar."""
    pytest.importorskip("huggingface_hub")
    from huggingface_hub import constants
    from huggingface_hub.utils._http import http_backoff

    assert http_backoff.__kwdefaults__ is not None
    monkeypatch.setattr("ptfile.stores.filesystems._FIRST_PAUSE", 0.001)
    monkeypatch.setitem(http_backoff.__kwdefaults__, "base_wait_time", 0.001)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
