"""Checkpoints behind URLs: what they cost in requests and bytes, and that they are the same as on the disk.

The figures that docs/remote.md gives are counted here, by the servers: `pytest -s tests/test_remote.py` prints them.
"""

from __future__ import annotations

import io
import itertools
import json
import pickle
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ptfile
from ptfile.cli import main
from ptfile.errors import FormatError, UnsupportedError
from ptfile.formats.opening import open_format
from ptfile.formats.pickles import SafeRunner
from ptfile.limits import Limits
from ptfile.machine.vm import Python2Text
from ptfile.sinks import open_sink
from ptfile.sources import open_source
from tests.servers.files import OnDisk, save_hollow
from tests.servers.options import QUICKLY
from tests.servers.ranges import Fault, RangeServer
from tests.servers.s3 import S3Server

pytest.importorskip("obstore")

KIB, MIB = 1 << 10, 1 << 20


def saved(value: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    ptfile.save(value, buffer, **options)
    return buffer.getvalue()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command."""
    command = [sys.executable, "-m", "ptfile", *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=False)


def model(tensors: int, elements: int) -> dict[str, ptfile.Tensor]:
    rng = np.random.default_rng(7)
    return {f"layer.{i}": ptfile.from_numpy(rng.random(elements, np.float32)) for i in range(tensors)}


class TestCosts:
    def test_ls_of_a_gibibyte_takes_the_pickle_the_directory_and_four_requests(
        self, web: RangeServer, tmp_path: Path
    ) -> None:
        """And at most 128 KiB more, the ends of the file and what stands beside."""
        layers = {f"model.layers.{i}.weight": ptfile.empty(256, 256) for i in range(4096)}
        web.files["/model.pt"] = save_hollow(layers, tmp_path / "model.pt")
        web.etags["/model.pt"] = '"1"'
        with zipfile.ZipFile(tmp_path / "model.pt") as file:
            pickled = file.getinfo("model/data.pkl").file_size
            directory = len(web.files["/model.pt"]) - file.start_dir

        result = run("ls", "--json", web.url("/model.pt"))

        assert len(json.loads(result.stdout)["tensors"]) == 4096
        more = web.sent - pickled - directory
        print(
            f"\nls of {len(web.files['/model.pt']) / MIB:.0f} MiB: {len(web.requests)} requests, {web.sent} bytes: "
            f"pickle {pickled}, directory {directory}, {more} more"
        )
        assert len(web.requests) <= 4
        assert more <= 128 * KIB

    def test_one_tensor_costs_its_bytes_and_one_request(self, web: RangeServer) -> None:
        """And 64 KiB at most, for its header."""
        web.files["/model.pt"] = saved(model(16, MIB // 4))
        with ptfile.open(web.url("/model.pt")) as checkpoint:
            web.forget()
            tensor = checkpoint["layer.7"].numpy()

        print(f"\na tensor of {tensor.nbytes} bytes: {web.sent} bytes in {len(web.requests)} requests")
        assert np.array_equal(tensor, model(16, MIB // 4)["layer.7"].numpy())
        assert web.sent <= tensor.nbytes + 64 * KIB
        assert len(web.requests) == 1

    def test_a_row_slice_costs_its_rows(self, web: RangeServer, tmp_path: Path) -> None:
        """Four rows out of a tensor of 100 MiB, in one request."""
        web.files["/model.pt"] = save_hollow({"w": ptfile.empty(400, MIB // 16)}, tmp_path / "model.pt")
        with ptfile.open(web.url("/model.pt")) as checkpoint:
            web.forget()
            rows = checkpoint["w"][200:204].numpy()

        print(f"\nfour rows of 256 KiB out of 100 MiB: {web.sent} bytes in {len(web.requests)} requests")
        assert rows.nbytes == MIB
        assert web.sent <= MIB + 64 * KIB
        assert len(web.requests) == 1

    @pytest.mark.parametrize("legacy", [False, True])
    def test_columns_cost_their_runs_and_all_are_asked_for_at_once(
        self, web: RangeServer, tmp_path: Path, legacy: bool
    ) -> None:
        """A few elements of each of 64 rows: as many requests, 16 of them on their way at a time."""
        tree = {"w": ptfile.empty(64, MIB // 4)}
        web.files["/model.pt"] = save_hollow(tree, tmp_path / "model.pt")
        if legacy:
            web.files["/model.pt"] = saved(tree, _use_new_zipfile_serialization=False)
        with ptfile.open(web.url("/model.pt")) as checkpoint:
            web.forget()
            web.delay = 0.05
            part = checkpoint["w"][:, 5000:5010].numpy()

        print(f"\n64 runs of 40 bytes: {web.sent} bytes in {len(web.requests)} requests, {web.most_at_once} at once")
        assert part.shape == (64, 10)
        assert len(web.requests) <= 65
        assert web.most_at_once > 8
        assert web.sent <= 64 * KIB

    def test_a_stream_is_asked_for_ahead(self, web: RangeServer) -> None:
        """Tensors that are read one after the other do not wait one after the other."""
        layers = model(64, MIB // 8)
        web.files["/model.pt"] = saved(layers)
        with ptfile.open(web.url("/model.pt")) as checkpoint:
            web.forget()
            web.delay = 0.05
            assert all(np.array_equal(tensor, layers[name]) for name, tensor in checkpoint.stream())

        assert web.most_at_once > 8
        assert web.sent <= sum(layer.nbytes for layer in layers.values()) * 1.1

    @pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
    @pytest.mark.parametrize(("elements", "most"), [(16, 6), (1000, 12), (8000, 40)])
    def test_small_tensors_in_a_plain_loop_are_few_requests(
        self, web: RangeServer, tmp_path: Path, form: str, elements: int, most: int
    ) -> None:
        """More is fetched each time while it goes on, and no byte twice, but for a few beside."""
        layers = {f"l.{i:03}": ptfile.from_numpy(np.full(elements, i, np.float32)) for i in range(1000)}
        path = tmp_path / "model.pt"
        ptfile.save(layers, path, _use_new_zipfile_serialization=form != "legacy")
        if form == "safetensors":
            pytest.importorskip("safetensors")
            ptfile.convert(path, path, to="safetensors")
        web.files["/model.pt"] = path.read_bytes()
        with ptfile.open(web.url("/model.pt")) as checkpoint:
            web.forget()
            assert all(np.array_equal(checkpoint[name].numpy(), layers[name]) for name in checkpoint)

        print(f"\na loop over 1000 tensors of {4 * elements} bytes, {form}: {len(web.requests)} requests")
        assert len(web.requests) <= most
        assert web.sent <= len(web.files["/model.pt"]) * 1.02

    def test_small_tensors_here_and_there_cost_what_they_have(self, web: RangeServer) -> None:
        """Nothing is fetched ahead where nothing goes on."""
        web.files["/model.pt"] = saved(model(1000, 1000))
        with ptfile.open(web.url("/model.pt")) as checkpoint:
            web.forget()
            nbytes = sum(checkpoint[f"layer.{(7 * i + 3) % 1000}"].numpy().nbytes for i in range(0, 1000, 20))

        assert nbytes <= web.sent <= nbytes + 50 * 100

    def test_a_file_that_changes_in_a_loop_is_an_error(self, web: RangeServer) -> None:
        """Until then every value is that of the file that was opened, also of what was fetched ahead."""
        layers = model(1000, 1000)
        web.files["/model.pt"] = saved(layers)
        web.etags["/model.pt"] = '"1"'
        checkpoint = ptfile.open(web.url("/model.pt"))
        values = ((layers[name], checkpoint[name].numpy()) for name in checkpoint)
        for expected, found in itertools.islice(values, 10):
            assert np.array_equal(found, expected)
        web.files["/model.pt"] = saved({"other": 1})
        web.etags["/model.pt"] = '"2"'

        with checkpoint, pytest.raises(OSError, match="changed since it was opened"):
            assert all(np.array_equal(found, expected) for expected, found in values)

    @pytest.mark.parametrize("elements", [MIB // 8, 1000])
    def test_a_slow_server_is_waited_for_once_and_not_for_each_tensor(self, web: RangeServer, elements: int) -> None:
        """Half a second before each answer: 64 tensors wait together, at the cost of one such pause."""
        layers = model(64, elements)
        web.files["/model.pt"] = saved(layers)
        with open_source(web.url("/model.pt"), mmap=False) as source:
            reader = open_format(source, Limits())
            reader.load(SafeRunner(Limits(), "error", Python2Text()), None)
            web.forget()
            web.delay = 0.5
            start = time.perf_counter()
            reader.fill()
            seconds = time.perf_counter() - start

        waits = len(web.requests) / web.most_at_once
        print(f"\n64 tensors of {4 * elements} bytes: {len(web.requests)} requests, {seconds:.2f} s with 0.5 s each")
        assert waits == 1
        assert web.sent <= sum(layer.nbytes for layer in layers.values()) * 1.1

    def test_scanning_looks_at_all_records_at_once(self, web: RangeServer) -> None:
        """What a record is its first bytes say: a request for each that is far from the next, many at a time."""
        web.files["/model.pt"] = saved(model(48, 50_000))
        web.delay = 0.02
        report = ptfile.scan(web.url("/model.pt"))

        assert len(report.pickles) == 1
        assert len(web.requests) <= 48 + 4
        assert web.most_at_once >= 4

    def test_verifying_takes_every_byte_once(self, web: RangeServer) -> None:
        """In large pieces, many at once."""
        content = web.files["/model.pt"] = saved(model(32, MIB // 4))
        result = ptfile.verify(web.url("/model.pt"))

        assert result.ok
        assert web.sent == len(content)
        assert len(web.requests) <= 2 + 16

    @pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is in /proc")
    def test_memory_stays_bounded_while_a_large_file_goes_by(self, web: RangeServer, tmp_path: Path) -> None:
        """What is ahead of the reader, and not the file."""
        web.files["/model.pt"] = save_hollow([ptfile.empty(MIB) for _ in range(96)], tmp_path / "model.pt")
        program = (
            "import sys, ptfile\n"
            "def peak(): return int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
            "ptfile.inspect(sys.argv[1])\n"
            "before = peak()\n"
            "assert ptfile.verify(sys.argv[1]).ok\n"
            "print(peak() - before)\n"
        )
        command = [sys.executable, "-c", program, web.url("/model.pt")]
        grown = int(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)

        print(f"\nverifying 384 MiB took {len(web.requests)} requests and {grown / KIB:.0f} MiB of memory")
        assert grown < 200 * KIB


class TestSameAsOnTheDisk:
    VALUE: Mapping[str, Any] = {**model(20, 5000), "epoch": 3, "names": ["a"] * 5000}

    @pytest.mark.parametrize(
        "options",
        [{}, {"_use_new_zipfile_serialization": False}, {"storage_alignment": 4096}, {"checksum": False}],
        ids=["zip", "legacy", "aligned", "unchecked"],
    )
    def test_every_way_of_reading(self, web: RangeServer, tmp_path: Path, options: dict[str, Any]) -> None:
        """Load, open, inspect, scan, digest: what they say of the path they say of the URL."""
        path = tmp_path / "model.pt"
        ptfile.save(dict(self.VALUE), path, **options)
        web.files["/model.pt"] = OnDisk(path)
        url = web.url("/model.pt")

        assert saved(ptfile.load(url)) == saved(ptfile.load(path)) == saved(dict(self.VALUE))
        assert ptfile.inspect(url).tensors == ptfile.inspect(path).tensors
        assert ptfile.scan(url).pickles == ptfile.scan(path).pickles
        assert ptfile.digest(url) == ptfile.digest(path)
        assert ptfile.verify(url).ok
        with ptfile.open(url) as far, ptfile.open(path) as near:
            assert list(far) == list(near)
            assert all(far[name].tolist() == near[name].tolist() for name, _ in near.tensors())

    def test_a_checkpoint_is_pickled_as_its_url(self, web: RangeServer) -> None:
        """With what it was opened with, so that it opens in another process."""
        web.files["/model.pt"] = saved(dict(self.VALUE))
        with ptfile.open(web.url("/model.pt?x=1"), storage_options=QUICKLY) as checkpoint:
            again = pickle.loads(pickle.dumps(checkpoint))
        with again:
            assert again["layer.7"].tolist() == self.VALUE["layer.7"].tolist()

        assert web.requests[-1].path == "/model.pt?x=1"

    def test_a_damaged_tensor_is_found(self, web: RangeServer) -> None:
        """Checksums are verified as ever."""
        content = saved(dict(self.VALUE))
        at = content.index(self.VALUE["layer.7"].numpy().tobytes())
        web.files["/model.pt"] = content[:at] + b"x" + content[at + 1 :]

        with pytest.raises(FormatError, match="its checksum is"):
            ptfile.load(web.url("/model.pt"))

    def test_a_web_page_is_called_one(self, web: RangeServer) -> None:
        """A login page in place of the file."""
        web.files["/model.pt"] = b"<!DOCTYPE html><title>Sign in</title>"
        with pytest.raises(FormatError, match="web page"):
            ptfile.load(web.url("/model.pt"))

    def test_a_file_that_changes_while_it_is_loaded_is_an_error(self, web: RangeServer) -> None:
        """No tensor of one version beside one of another."""
        web.files["/model.pt"] = saved(model(40, MIB // 4))
        web.etags["/model.pt"] = '"1"'

        def change() -> None:
            web.etags["/model.pt"] = '"2"'

        web.faults = [Fault()] * 6 + [Fault(before=change)]
        with pytest.raises(OSError, match="it has changed since it was opened: open it again"):
            ptfile.load(web.url("/model.pt"))

    @pytest.mark.parametrize("command", ["ls", "verify", "scan", "digest"])
    def test_commands_take_urls(self, web: RangeServer, command: str) -> None:
        """And print them without what may be secret."""
        web.files["/model.pt"] = saved(dict(self.VALUE))
        result = run(command, web.url("/model.pt?sig=SECRET"))

        assert (result.returncode, result.stderr) == (0, "")
        assert web.url("/model.pt?…") in result.stdout

    def test_a_failing_server_is_a_line_and_an_exit_code(self, web: RangeServer) -> None:
        """The command says the URL and the reason, without a secret in it."""
        result = run("ls", web.url("/none.pt?sig=SECRET"))

        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr == f"ptfile: {web.url('/none.pt?…')}: there is no such file\n"


class TestS3:
    @pytest.fixture
    def bucket(self, s3: S3Server, request: pytest.FixtureRequest) -> str:
        return s3.bucket(f"b{abs(hash(request.node.name)):x}")

    @pytest.fixture
    def name(self, bucket: str) -> str:
        return bucket.removeprefix("s3://").rstrip("/")

    def test_what_is_saved_is_what_is_saved_to_a_path(
        self, s3: S3Server, bucket: str, name: str, tmp_path: Path
    ) -> None:
        """Byte for byte, its root folder after the last part of the URL; and it loads."""
        value = model(40, MIB // 8)  # three parts
        path = tmp_path / "model v1.pt"
        ptfile.save(value, path)
        url = f"{bucket}runs/7/model v1.pt"
        ptfile.save(value, url, storage_options=s3.options)

        assert s3.content(name, "runs/7/model%20v1.pt") == path.read_bytes()
        assert saved(ptfile.load(url, storage_options=s3.options)) == saved(value)
        assert s3.uploads(name) == []

    def test_a_small_one_too(self, s3: S3Server, bucket: str, name: str) -> None:
        """It goes up in one request; in the legacy format as well."""
        s3.forget()
        ptfile.save([1, 2], f"{bucket}a.pt", storage_options=s3.options)
        assert [method for method, _, _ in s3.requests] == ["PUT"]
        ptfile.save([1, 2], f"{bucket}b.pt", _use_new_zipfile_serialization=False, storage_options=s3.options)

        assert s3.keys(name) == ["a.pt", "b.pt"]
        assert ptfile.load(f"{bucket}b.pt", storage_options=s3.options) == [1, 2]

    @pytest.mark.parametrize("there_before", [False, True])
    def test_a_save_that_fails_leaves_what_was_there(
        self, s3: S3Server, bucket: str, name: str, there_before: bool
    ) -> None:
        """Nothing, or the old one; and no upload that was begun."""
        if there_before:
            ptfile.save("old", f"{bucket}model.pt", storage_options=s3.options)

        def lost() -> Any:
            raise OSError("the disk is gone")

        value = model(40, MIB // 8)
        value["last"] = ptfile.Tensor(ptfile.UntypedStorage.deferred(400, lost), ptfile.float32, 0, (100,), (1,))
        with pytest.raises(OSError, match="the disk is gone"):
            ptfile.save(value, f"{bucket}model.pt", storage_options=s3.options)

        assert any("uploadId" in path for _, path, _ in s3.requests)
        assert s3.uploads(name) == []
        assert s3.keys(name) == (["model.pt"] if there_before else [])
        if there_before:
            assert ptfile.load(f"{bucket}model.pt", storage_options=s3.options) == "old"

    @pytest.mark.skipif(sys.platform == "win32", reason="it knows no such signal")
    def test_a_save_that_is_killed_leaves_nothing_to_see(self, s3: S3Server, bucket: str, name: str) -> None:
        """Only an upload that was begun, which nobody is there to call off."""
        program = (
            "import json, os, signal, sys, ptfile\n"
            "url, options = json.loads(sys.argv[1])\n"
            "def die(): os.kill(os.getpid(), signal.SIGKILL)\n"
            "last = ptfile.Tensor(ptfile.UntypedStorage.deferred(400, die), ptfile.float32, 0, (100,), (1,))\n"
            "ptfile.save([*(ptfile.zeros(1 << 20) for _ in range(12)), last], url, storage_options=options)\n"
        )
        command = [sys.executable, "-c", program, json.dumps([f"{bucket}model.pt", s3.options])]
        killed = subprocess.run(command, check=False)

        assert killed.returncode == -signal.SIGKILL
        assert (s3.keys(name), s3.uploads(name)) == ([], ["model.pt"])

    def test_an_empty_object_is_called_one(self, s3: S3Server, bucket: str, name: str) -> None:
        """It has no range that could be asked for."""
        s3.ask("PUT", f"/{name}/empty.pt")
        with pytest.raises(FormatError, match="an empty file"):
            ptfile.load(f"{bucket}empty.pt", storage_options=s3.options)

    def test_costs_are_those_of_the_web(self, s3: S3Server, bucket: str) -> None:
        """Four requests to look, one for a tensor, and no HEAD."""
        ptfile.save(model(40, MIB // 4), f"{bucket}model.pt", storage_options=s3.options)
        s3.forget()
        ptfile.inspect(f"{bucket}model.pt", storage_options=s3.options)
        looked = s3.requests
        with ptfile.open(f"{bucket}model.pt", storage_options=s3.options) as checkpoint:
            s3.forget()
            checkpoint["layer.7"].numpy()

        assert {method for method, _, _ in looked} == {"GET"}
        assert len(looked) <= 4
        assert sum(size for _, _, size in looked) <= 160 * KIB
        assert [size - MIB < 64 * KIB for _, _, size in s3.requests] == [True]

    def test_an_object_that_is_replaced_is_an_error(self, s3: S3Server, bucket: str) -> None:
        """By its ETag."""
        url = f"{bucket}model.pt"
        ptfile.save(model(8, MIB // 4), url, storage_options=s3.options)
        with ptfile.open(url, storage_options=s3.options) as checkpoint:
            ptfile.save({**model(8, MIB // 4), "more": 1}, url, storage_options=s3.options)
            with pytest.raises(OSError, match="changed since it was opened"):
                checkpoint["layer.7"].numpy()

    def test_keys_come_from_the_environment(self, s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """As for every other tool: nothing has to be said to ptfile."""
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        ptfile.save([1, 2], f"{bucket}a.pt")

        assert ptfile.load(f"{bucket}a.pt") == [1, 2]
        assert run("ls", f"{bucket}a.pt").returncode == 0

    def test_the_command_line_takes_options_for_stores(self, s3: S3Server, bucket: str) -> None:
        """One level down too, and what obstore wants there, given above; one that it does not know is a usage error."""
        ptfile.save([1, 2], f"{bucket}a.pt", storage_options=s3.options)
        given = {"endpoint": s3.endpoint, "region": "us-east-1", "access_key_id": "test", "secret_access_key": "test"}
        options = [f"--storage-option={key}={value}" for key, value in given.items()]

        assert run("ls", f"{bucket}a.pt", *options, "--storage-option=allow_http=true").returncode == 0
        nested = "--storage-option=client_options.allow_http=true"
        assert run("convert", f"{bucket}a.pt", f"{bucket}b.npz", *options, nested).returncode == 0
        assert "b.npz" in s3.keys(bucket[5:-1])
        wrong = run("ls", f"{bucket}a.pt", *options, nested, "--storage-option=regoin=x")
        assert wrong.returncode == 2
        assert "storage_options: " in wrong.stderr

    def test_an_object_is_replaced_by_force_alone(
        self, s3: S3Server, bucket: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        """The commands that write ask the store whether it is there; an empty one is, too."""
        source = str(tmp_path / "a.pt")
        ptfile.save({"weight": ptfile.ones(2)}, source)
        store = {**s3.options, **s3.options["client_options"]}
        del store["client_options"]
        options = [f"--storage-option={key}={json.dumps(value)}" for key, value in store.items()]
        for command in (["edit", source], ["convert", source], ["extract", source, "weight"], ["repair", source]):
            target = f"{bucket}{command[0]}.pt"
            assert main([*command, target, *options]) == 0
            s3.forget()
            assert main([*command, target, *options]) == 2
            assert f"{target} is there already" in capsys.readouterr().err
            assert [method for method, _, _ in s3.requests] == ["GET"]
            assert main([*command, target, *options, "--force"]) == 0
        s3.ask("PUT", f"/{bucket[5:]}empty.pt")
        assert main(["edit", source, f"{bucket}empty.pt", *options]) == 2

    def test_what_is_whole_in_an_object_is_repaired_to_another(self, s3: S3Server, bucket: str) -> None:
        """Which is replaced by force alone, as any other; never the broken one itself."""
        whole = saved({"first": ptfile.arange(200), "second": ptfile.arange(300)})
        with open_sink(f"{bucket}broken.pt", storage_options=s3.options) as sink:
            sink.write(whole[:3000])
        report = ptfile.repair(f"{bucket}broken.pt", f"{bucket}out.pt", storage_options=s3.options)

        assert (report.file, report.out) == (f"{bucket}broken.pt", f"{bucket}out.pt")
        assert list(ptfile.load(f"{bucket}out.pt", storage_options=s3.options)) == ["first"]
        with pytest.raises(ValueError, match="the broken file itself"):
            ptfile.repair(f"{bucket}broken.pt", f"{bucket}broken.pt", storage_options=s3.options)

    def test_options_that_are_wrong_say_so(self, s3: S3Server) -> None:
        """One that obstore does not know, and one that is missing."""
        with pytest.raises(TypeError, match=r"storage_options: .*'regoin' is not valid"):
            ptfile.load("s3://bucket/a.pt", storage_options={"regoin": "us-east-1"})
        with pytest.raises(OSError, match="option allow_http=true"):
            ptfile.load("s3://bucket/a.pt", storage_options={"endpoint": s3.endpoint, "skip_signature": True})

    def test_what_is_not_there_is_a_file_not_found(self, s3: S3Server, bucket: str) -> None:
        """No object, and no bucket to save to."""
        with pytest.raises(FileNotFoundError, match="no such object or bucket") as caught:
            ptfile.load(f"{bucket}none.pt", storage_options=s3.options)
        assert caught.value.filename == f"{bucket}none.pt"
        with pytest.raises(FileNotFoundError, match="no such object or bucket"):
            ptfile.save([1], "s3://there-is-no-such-bucket/a.pt", storage_options=s3.options)

    @pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is in /proc")
    def test_memory_stays_bounded_while_it_is_saved(self, s3: S3Server, bucket: str) -> None:
        """Not a copy of the file, but of the parts on their way."""
        program = (
            "import json, sys, ptfile\n"
            "url, options = json.loads(sys.argv[1])\n"
            "def peak(): return int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
            "ptfile.save(ptfile.zeros(3 << 20), url, storage_options=options)\n"
            "before = peak()\n"
            "ptfile.save({i: ptfile.zeros(1 << 20) for i in range(32)}, url, storage_options=options)\n"
            "print(peak() - before)\n"
        )
        s3.forget()
        command = [sys.executable, "-c", program, json.dumps([f"{bucket}model.pt", s3.options])]
        grown = int(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)

        uploads = sum("uploadId" in path for _, path, _ in s3.requests)
        print(f"\nsaving 128 MiB to S3 took {uploads} requests and {grown / KIB:.0f} MiB of memory")
        assert grown < 80 * KIB


def test_nothing_is_saved_to_a_web_server(web: RangeServer) -> None:
    """There is no way to; the object is not even pickled."""

    class Unpicklable:
        def __reduce__(self) -> Any:
            raise AssertionError

    with pytest.raises(UnsupportedError, match="a web server has no way to save"):
        ptfile.save(Unpicklable(), web.url("/model.pt"), storage_options=QUICKLY)
    assert web.requests == []
