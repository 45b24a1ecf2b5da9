"""Servers on loopback, for the tests that ask for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
