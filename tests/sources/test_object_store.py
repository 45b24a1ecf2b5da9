"""Files of web servers: that they are read right, and what becomes of servers that fail."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from ptfile.errors import UnsupportedError
from ptfile.sources import Source, open_source
from tests.servers.options import QUICKLY
from tests.servers.ranges import Fault, RangeServer
from tests.sources.contract import CONTENT, SourceContract

pytest.importorskip("obstore")

Opener = Callable[..., Source]
BIG = CONTENT * 16


class TestWebSource(SourceContract):
    @pytest.fixture(autouse=True)
    def _serve(self, web: RangeServer) -> None:
        self.web = web

    def make(self, content: bytes, folder: Path) -> Source:
        self.web.files["/some.pt"] = content
        return opened(self.web)


def opened(web: RangeServer, path: str = "/some.pt") -> Source:
    return open_source(web.url(path), mmap=False, storage_options=QUICKLY)


@pytest.fixture
def etag(web: RangeServer) -> None:
    web.files["/some.pt"] = BIG
    web.etags["/some.pt"] = '"one"'


@pytest.mark.usefixtures("etag")
class TestAnETag:
    def test_a_file_that_changes_is_an_error(self, web: RangeServer) -> None:
        """The server is told which version is meant, and refuses."""
        with opened(web) as source:
            web.etags["/some.pt"] = '"two"'
            with pytest.raises(OSError, match="changed since it was opened") as caught:
                source.read(500_000, 10)

        assert caught.value.errno == errno.ESTALE
        assert caught.value.filename == web.url("/some.pt")
        assert web.requests[-1].status == 412

    def test_a_server_that_does_not_look_at_it_is_found_out(self, web: RangeServer) -> None:
        """Its answer has another ETag."""
        web.honours_if_match = False
        with opened(web) as source:
            web.etags["/some.pt"] = '"two"'
            with pytest.raises(OSError, match="changed since it was opened"):
                source.read(500_000, 10)

    def test_a_weak_one_is_compared_and_not_asked_for(self, web: RangeServer) -> None:
        """By the rules of HTTP a weak ETag matches nothing, so a server would refuse every request."""
        web.etags["/some.pt"] = 'W/"one"'
        with opened(web) as source:
            web.honours_if_match = False
            assert bytes(source.read(500_000, 10)) == BIG[500_000:500_010]
            web.etags["/some.pt"] = 'W/"two"'
            with pytest.raises(OSError, match="changed since it was opened"):
                source.read(900_000, 10)

    def test_a_change_behind_a_broken_connection_is_an_error(self, web: RangeServer) -> None:
        """The rest of a range is of the version of its beginning, or there is none."""

        def change() -> None:
            web.etags["/some.pt"] = '"two"'

        with opened(web) as source:
            web.faults = [Fault(cut_after=100_000), Fault(before=change)]
            with pytest.raises(OSError, match="changed since it was opened|412"):
                source.read(500_000, 500_000)


def test_without_etags_another_size_is_a_change(web: RangeServer) -> None:
    """There is nothing else to tell by."""
    web.files["/some.pt"] = BIG
    with opened(web) as source:
        web.files["/some.pt"] = BIG + b"more"
        with pytest.raises(OSError, match="changed since it was opened"):
            source.read(500_000, 10)


@pytest.mark.parametrize("etags", [{}, {"/some.pt": '"one"'}])
def test_a_cut_connection_goes_on_where_it_broke(web: RangeServer, etags: dict[str, str]) -> None:
    """Several times in one range; hardly any of what came is fetched again."""
    web.files["/some.pt"] = BIG
    web.etags = etags
    with opened(web) as source:
        web.forget()
        web.faults = [Fault(cut_after=200_000), Fault(cut_after=300_000), Fault(cut_after=100_000)]

        assert bytes(source.read(100_000, 800_000)) == BIG[100_000:900_000]

    assert web.sent <= 800_000 + (64 << 10)
    assert len(web.requests) == 4


def test_a_server_that_always_cuts_is_given_up(web: RangeServer) -> None:
    """After a bounded number of tries, each of which got something."""
    web.files["/some.pt"] = BIG
    with opened(web) as source:
        web.faults = [Fault(cut_after=1000)] * 500
        with pytest.raises(OSError, match="body") as caught:
            source.read(100_000, 800_000)

    assert caught.value.errno == errno.EIO
    assert len(web.faults) > 400


def test_503_is_tried_again(web: RangeServer) -> None:
    """A busy server says so, and answers later."""
    web.files["/some.pt"] = BIG
    web.faults = [Fault(status=503), Fault(status=429)]
    with opened(web) as source:
        web.faults = [Fault(status=503), Fault(status=500), Fault(status=503)]
        assert bytes(source.read(500_000, 10)) == BIG[500_000:500_010]


def test_503_forever_is_an_error_with_the_status(web: RangeServer) -> None:
    """As often as the options say, and no more."""
    web.files["/some.pt"] = BIG
    web.faults = [Fault(status=503)] * 100
    with pytest.raises(OSError, match="503 Service Unavailable") as caught:
        opened(web)

    assert caught.value.filename == web.url("/some.pt")
    assert len(web.requests) <= 8


def test_a_server_that_ignores_ranges_is_an_error_that_says_what_to_do(web: RangeServer) -> None:
    """It would send the whole file for each read."""
    web.files["/some.pt"] = BIG
    web.honours_ranges = False
    with pytest.raises(UnsupportedError, match=r"ignores Range requests. Download the file"):
        opened(web)


@pytest.mark.parametrize(("status", "kind"), [(403, PermissionError), (401, PermissionError), (404, FileNotFoundError)])
def test_refusals_are_those_of_files(web: RangeServer, status: int, kind: type[OSError]) -> None:
    """With the URL, as `open` has the path; and they are not tried again."""
    web.faults = [Fault(status=status)]
    with pytest.raises(kind) as caught:
        opened(web)

    assert caught.value.filename == web.url("/some.pt")
    assert len(web.requests) == 1


def test_nobody_there_is_an_error(web: RangeServer) -> None:
    """Connection refused, after a few tries."""
    with pytest.raises(OSError, match="error sending request"):
        open_source("http://127.0.0.1:1/some.pt", mmap=False, storage_options=QUICKLY)


def test_redirects_are_followed(web: RangeServer) -> None:
    """Downloads are often handed to another host."""
    web.files["/some.pt"] = BIG
    web.redirects = {"/here": web.url("/some.pt?token=1")}
    with opened(web, "/here") as source:
        assert bytes(source.read(500_000, 10)) == BIG[500_000:500_010]


def test_the_url_is_sent_as_it_stands(web: RangeServer) -> None:
    """A signature is over what is escaped in it, and how."""
    web.files["/a%20b/%E2%82%AC+c.pt"] = BIG
    with opened(web, "/a%20b/%E2%82%AC+c.pt?sig=a%2Fb%3D&x=1#part") as source:
        source.read(500_000, 10)

    assert {request.path for request in web.requests} == {"/a%20b/%E2%82%AC+c.pt?sig=a%2Fb%3D&x=1"}


@pytest.mark.parametrize(
    "fault", [Fault(status=403), Fault(status=404), Fault(status=503), Fault(status=412), Fault(cut_after=0), None]
)
def test_secrets_in_urls_are_in_no_error(web: RangeServer, fault: Fault | None) -> None:
    """Neither in the message, nor in what is chained to it, nor in the name of the source."""
    web.files["/some.pt"] = BIG
    url = web.url("/some.pt?X-Amz-Signature=SECRET").replace("://", "://me:SECRET@")
    if fault is None:
        web.honours_ranges = False
    web.faults = [fault] * 50 if fault else []
    with pytest.raises((OSError, UnsupportedError)) as caught:
        open_source(url, mmap=False, storage_options=QUICKLY)
    said = "".join(traceback.format_exception(caught.value))
    web.faults = []
    web.honours_ranges = True
    with open_source(url, mmap=False, storage_options=QUICKLY) as source:
        said += source.name + repr(source)

    assert "SECRET" not in said
