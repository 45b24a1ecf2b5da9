"""Every kind of store, at a server that fails: what is read is right or an error, what is saved is whole or not there.

What obstore and huggingface_hub do when a server misbehaves is theirs; what becomes of a checkpoint is ours.
"""

from __future__ import annotations

import errno
import io
import pickle
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ptfile
from ptfile.errors import FormatError, UnsupportedError
from tests.servers.clouds import Cloud
from tests.servers.objects import ObjectServer
from tests.servers.ranges import Fault

MIB = 1 << 20

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub, of httpx
saved_to = pytest.mark.parametrize("cloud", ["s3", "gs", "az", "hf"], indirect=True)
"""Nothing is saved to a web server."""


def model(tensors: int, elements: int) -> dict[str, ptfile.Tensor]:
    rng = np.random.default_rng(7)
    return {f"layer.{i}": ptfile.from_numpy(rng.random(elements, np.float32)) for i in range(tensors)}


SMALL = model(4, 50_000)
LARGE = model(5, MIB)  # of 20 MiB, three parts


def saved(value: object) -> bytes:
    buffer = io.BytesIO()
    ptfile.save(value, buffer)
    return buffer.getvalue()


def load(cloud: Cloud, name: str = "model.pt") -> Any:
    return ptfile.load(cloud.url(name), storage_options=cloud.options)


def save(cloud: Cloud, value: object, name: str = "model.pt") -> None:
    ptfile.save(value, cloud.url(name), storage_options=cloud.options)


def open_(cloud: Cloud) -> ptfile.Checkpoint:
    return ptfile.open(cloud.url("model.pt"), storage_options=cloud.options)


class TestReading:
    @pytest.fixture(autouse=True)
    def _put(self, cloud: Cloud) -> None:
        cloud.put("model.pt", saved(SMALL))

    def test_it_is_what_it_is_on_the_disk(self, cloud: Cloud) -> None:
        """By eager load, and a tensor at a time."""
        assert saved(load(cloud)) == saved(SMALL)
        with open_(cloud) as checkpoint:
            assert checkpoint["layer.2"].tolist() == SMALL["layer.2"].tolist()

    def test_a_tensor_costs_its_bytes_and_one_request(self, cloud: Cloud) -> None:
        """But for the one by which the hub sends whoever asks to another address."""
        cloud.put("model.pt", saved(model(8, MIB // 4)))
        with open_(cloud) as checkpoint:
            cloud.server.forget()
            checkpoint["layer.5"].numpy()

        assert MIB <= cloud.server.sent <= MIB + (64 << 10)
        assert [request.status for request in cloud.server.requests if request.status != 302] == [206]

    @pytest.mark.parametrize(
        "name",
        ["a b/é €.pt", "100%/a%20b%2Fc.pt", "what?x=1&y#z.pt", "a+b=c@d.pt", "~*'();:,$![].pt", "..a..", " "],
    )
    def test_a_name_is_taken_as_it_stands(self, cloud: Cloud, name: str) -> None:
        """Whatever characters are in it: on the web they are escaped by who gives the URL."""
        cloud.put(name, saved("here"))

        assert load(cloud, name) == "here"

    def test_what_is_not_there_is_a_file_not_found(self, cloud: Cloud) -> None:
        """With its URL, without what is secret in it."""
        with pytest.raises(FileNotFoundError, match="there is no such") as caught:
            load(cloud, "none.pt")

        assert caught.value.filename.endswith("none.pt?…" if cloud.kind == "http" else "none.pt")

    @pytest.mark.parametrize("status", [401, 403])
    def test_what_is_not_allowed_is_a_permission_error(self, cloud: Cloud, status: int) -> None:
        """That says what to do, and is not tried again."""
        cloud.server.faults = [Fault(status=status)] * 50
        with pytest.raises(PermissionError, match=rf"{status} .*(credentials|signature|HF_TOKEN)"):
            load(cloud)

        assert len(cloud.server.requests) == 1

    def test_an_empty_file_is_called_one(self, cloud: Cloud) -> None:
        """It has no range that could be asked for."""
        cloud.put("model.pt", b"")
        with pytest.raises(FormatError, match="an empty file"):
            load(cloud)

    def test_a_cut_connection_costs_only_time(self, cloud: Cloud) -> None:
        """The values are right all the same."""
        cloud.server.faults = [Fault(on=cloud.reading, cut_after=20_000)] * 3

        assert saved(load(cloud)) == saved(SMALL)
        assert not cloud.server.faults

    def test_a_server_that_is_busy_is_asked_again(self, cloud: Cloud) -> None:
        """When it is opened, and later."""
        cloud.server.faults = [Fault(status=503), Fault(status=503)]
        with open_(cloud) as checkpoint:
            cloud.server.faults = [Fault(status=503), Fault(status=500)]
            assert checkpoint["layer.3"].tolist() == SMALL["layer.3"].tolist()

        assert not cloud.server.faults

    def test_a_server_that_stays_busy_is_given_up(self, cloud: Cloud) -> None:
        """After a bounded number of tries, with what it says."""
        cloud.server.faults = [Fault(on=cloud.reading, status=503)] * 200
        with pytest.raises(OSError, match="503 Service Unavailable") as caught:
            load(cloud)

        assert caught.value.errno == errno.EIO
        assert sum(request.status == 503 for request in cloud.server.requests) <= 12

    def test_a_server_that_ignores_ranges_is_an_error_that_says_so(self, cloud: Cloud) -> None:
        """It would send all of the file for each tensor."""
        cloud.server.honours_ranges = False
        with pytest.raises(UnsupportedError, match=r"ignores Range requests\. Download the file"):
            load(cloud)

    @pytest.mark.parametrize("looks_at_etags", [True, False])
    def test_a_file_that_is_replaced_is_never_half_read(self, cloud: Cloud, looks_at_etags: bool) -> None:
        """It is an error, whether or not the server notices; on the hub a file is read by its commit, which stays."""
        cloud.server.honours_if_match = looks_at_etags
        cloud.put("model.pt", saved(model(8, MIB // 4)))
        with open_(cloud) as checkpoint:
            cloud.put("model.pt", saved({**model(8, MIB // 4), "more": 1}))
            if cloud.kind == "hf":
                assert checkpoint["layer.5"].tolist() == model(8, MIB // 4)["layer.5"].tolist()
            else:
                with pytest.raises(OSError, match="it has changed since it was opened: open it again") as caught:
                    checkpoint["layer.5"].numpy()
                assert caught.value.errno == errno.ESTALE

    def test_many_tensors_wait_for_a_slow_server_together(self, cloud: Cloud) -> None:
        """64 of them wait a few times, not 64 times."""
        cloud.put("model.pt", saved(model(64, 50_000)))
        with open_(cloud) as checkpoint:
            cloud.server.forget()
            cloud.server.delay = 0.1
            checkpoint.read()

        bytes_sent = [request for request in cloud.server.requests if request.status == 206]
        assert len(bytes_sent) / cloud.server.most_at_once <= 1.5
        assert len(bytes_sent) <= 16

    @pytest.mark.parametrize(
        "fault",
        [
            Fault(status=403),
            Fault(status=404),
            Fault(status=503),
            Fault(status=412),
            Fault(status=301),
            Fault(cut_after=0),
            None,
        ],
    )
    def test_credentials_are_in_no_error_and_no_repr(self, cloud: Cloud, fault: Fault | None) -> None:
        """Nor in what is chained to it. All of them have SECRET in them, the signed address of the hub's files too."""
        said = ""
        if fault is not None:
            cloud.server.faults = [Fault(cloud.reading, fault.status, fault.cut_after)] * 200
            with pytest.raises((OSError, UnsupportedError)) as caught:
                load(cloud)
            said = "".join(traceback.format_exception(caught.value))
            cloud.server.faults = []
        with open_(cloud) as checkpoint:
            said += repr(checkpoint) + str(checkpoint.summary)

        assert "SECRET" not in said

    def test_what_was_opened_with_credentials_is_not_pickled(self, cloud: Cloud) -> None:
        """A pickle is a file that goes around. The error says which, and not what they are."""
        with open_(cloud) as checkpoint, pytest.raises(TypeError, match="leave them to the environment") as caught:
            pickle.dumps(checkpoint)

        assert "SECRET" not in str(caught.value)


@saved_to
def test_credentials_from_the_environment_are_nobodys_to_pass_on(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """As every other program finds them. What was opened with them can be pickled: they are not in it."""
    for name, value in cloud.credentials.items():
        monkeypatch.setenv(name, value)
    ptfile.save(SMALL, cloud.url("model.pt"), storage_options=cloud.where)
    with ptfile.open(cloud.url("model.pt"), storage_options=cloud.where) as checkpoint:
        pickled = pickle.dumps(checkpoint)
    with pickle.loads(pickled) as again:
        assert again["layer.2"].tolist() == SMALL["layer.2"].tolist()

    assert b"SECRET" not in pickled


@saved_to
class TestSaving:
    @pytest.mark.parametrize("value", [SMALL, LARGE], ids=["one request", "parts"])
    def test_what_is_saved_is_what_is_saved_to_a_path(self, cloud: Cloud, tmp_path: Path, value: object) -> None:
        """Byte for byte, in the place of an old one; and it loads."""
        path = tmp_path / "model.pt"
        ptfile.save(value, path)
        cloud.put("model.pt", b"old")
        save(cloud, value)

        assert cloud.content("model.pt") == path.read_bytes()
        assert saved(load(cloud)) == saved(value)
        assert _uploads(cloud) == {}

    @pytest.mark.parametrize("name", ["runs/7/a b.pt", "100%/a%20b.pt", "what?x=1&y#z.pt", "é €.pt"])
    def test_a_name_is_taken_as_it_stands(self, cloud: Cloud, name: str) -> None:
        """What is saved under it is found under it."""
        save(cloud, "here", name)

        assert cloud.content(name) is not None
        assert load(cloud, name) == "here"

    @pytest.mark.parametrize("there_before", [False, True])
    @pytest.mark.parametrize("step", ["a part", "the end", "inside"])
    def test_a_save_that_fails_leaves_what_was_there(self, cloud: Cloud, step: str, there_before: bool) -> None:
        """Nothing, or the old one; and no upload that was begun, except at Azure, where only time calls one off."""
        old = saved("old") if there_before else None
        if old is not None:
            cloud.put("model.pt", old)
        value: dict[str, Any] = dict(LARGE)
        if step == "inside":
            value["last"] = ptfile.Tensor(
                ptfile.UntypedStorage.deferred(400, _interrupt), ptfile.float32, 0, (100,), (1,)
            )
            expected: type[BaseException] = KeyboardInterrupt
        else:
            cloud.server.faults = [Fault(on=STEPS[cloud.kind][step], status=500)] * 200
            expected = OSError
        with pytest.raises(expected) as caught:
            save(cloud, value)

        assert cloud.content("model.pt") == old
        assert cloud.kind == "az" or _uploads(cloud) == {}
        if expected is OSError:
            assert "500 Internal Server Error" in str(caught.value)
            assert "SECRET" not in "".join(traceback.format_exception(caught.value))

    @pytest.mark.parametrize("fault", [{"status": 503}, {"cut_after": 0}], ids=["busy", "cut"])
    def test_a_part_that_fails_once_is_sent_again(self, cloud: Cloud, fault: dict[str, Any]) -> None:
        """A busy server and a broken connection cost time alone."""
        cloud.server.faults = [Fault(on=STEPS[cloud.kind]["a part"], **fault)]
        save(cloud, LARGE)

        assert not cloud.server.faults
        assert saved(load(cloud)) == saved(LARGE)

    @pytest.mark.parametrize("value", [SMALL, LARGE], ids=["one request", "parts"])
    def test_what_is_not_allowed_is_a_permission_error(self, cloud: Cloud, value: object) -> None:
        """With the URL, and nothing of what the library said."""
        first = [Fault(on="GET /api")] if cloud.kind == "hf" else []  # whether there is such a repository
        cloud.server.faults = first + [Fault(status=403)] * 200
        with pytest.raises(PermissionError, match="403") as caught:
            save(cloud, value)

        assert caught.value.filename == cloud.url("model.pt")

    @pytest.mark.parametrize("value", [SMALL, LARGE], ids=["one request", "parts"])
    def test_where_there_is_nothing_to_save_to_is_a_file_not_found(self, cloud: Cloud, value: object) -> None:
        """No bucket, no container, no repository of that name."""
        url = cloud.url("model.pt").replace("bucket", "none").replace("org/net", "org/none")
        with pytest.raises(FileNotFoundError, match=r"there is no such object or bucket|repository not found"):
            ptfile.save(value, url, storage_options=cloud.options)


STEPS = {
    "s3": {"a part": "partNumber=3", "the end": "POST /bucket/model.pt?uploadId"},
    "gs": {"a part": "partNumber=3", "the end": "POST /bucket/model%2Ept?uploadId"},
    "az": {"a part": "comp=block&", "the end": "comp=blocklist"},
    "hf": {"a part": "PUT /stored", "the end": "/commit/main"},
}
"""What requests are made for, by their first lines."""


def _interrupt() -> Any:
    raise KeyboardInterrupt


def _uploads(cloud: Cloud) -> dict[str, Any]:
    """What was begun and is neither finished nor called off."""
    return cloud.server.uploads if isinstance(cloud.server, ObjectServer) else {}
