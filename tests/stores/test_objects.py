"""What obstore says of failures, as the errors that files have."""

from __future__ import annotations

import errno
from datetime import timedelta

import pytest

pytest.importorskip("obstore")

from obstore import exceptions as theirs

from ptfile.stores.objects import open_store, translated
from ptfile.stores.urls import redacted

PUT = "Error performing PUT https://host/b/k?sig=SECRET in 1.2ms, after 8 retries - Server returned non-2xx status code"


@pytest.mark.parametrize(
    ("url", "how"),
    [
        ("s3://b/k", "AWS_ACCESS_KEY_ID"),
        ("s3a://b/k", "AWS_ACCESS_KEY_ID"),
        ("gs://b/k", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("az://b/k", "AZURE_STORAGE_ACCOUNT_KEY"),
        ("abfss://b@a.dfs.core.windows.net/k", "AZURE_STORAGE_ACCOUNT_KEY"),
    ],
)
def test_credentials_that_are_missing_are_asked_for_by_the_store(url: str, how: str) -> None:
    """Where none are set, the last place where obstore looks is the machine's own identity."""
    error = theirs.GenericError("Generic error: Error performing GET http://169.254.169.254/latest/token in 5s")
    with pytest.raises(PermissionError, match=f"no credentials were found in the environment.*{how}") as caught, (
        translated(url)
    ):  # fmt: skip
        raise error

    assert caught.value.filename == url


@pytest.mark.parametrize(
    ("status", "kind"),
    [("403 Forbidden", PermissionError), ("404 Not Found", FileNotFoundError), ("500 Internal Server Error", OSError)],
)
def test_what_a_writer_raises_is_translated_too(status: str, kind: type[OSError]) -> None:
    """All its failures are one OSError with a text, in which stands the URL with what is secret."""
    with pytest.raises(kind) as caught, translated("s3://b/k"):
        raise OSError(f"Generic S3 error: {PUT}: {status}: <html>\n<title>")

    assert type(caught.value) is kind
    assert caught.value.filename == "s3://b/k"
    assert "SECRET" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_an_account_that_is_missing_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """An Azure URL has the container alone."""
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(OSError, match="Set AZURE_STORAGE_ACCOUNT_NAME"):
        open_store("az://container/k", None)


@pytest.mark.parametrize(
    "url", ["http://[::/a.pt", "https://", "http://ho st/a.pt", "http://me:SECRET@host:99999/a.pt"]
)
def test_what_is_no_url_is_an_error_of_files(url: str) -> None:
    """It has the URL, as all of them have, and no more of it."""
    with pytest.raises(OSError, match="that is no URL of a file") as caught:
        open_store(url, None)

    assert caught.value.errno == errno.EINVAL
    assert caught.value.filename == redacted(url)
    assert "SECRET" not in str(caught.value)


def test_an_option_that_obstore_does_not_know_is_a_wrong_argument() -> None:
    """Also one inside another."""
    with pytest.raises(TypeError, match=r"storage_options: .*nonsense"):
        open_store("s3://b/k", {"client_options": {"nonsense": 1}})


def test_numbers_are_taken_as_obstore_wants_them() -> None:
    """The command line makes a number of what looks like one: an access key is a text, a timeout a duration."""
    options = {"access_key_id": 123, "secret_access_key": "x", "timeout": 5, "pool_max_idle_per_host": 2}
    store, _ = open_store("s3://b/k", {**options, "retry_config": {"max_retries": 3, "retry_timeout": 0.5}})

    assert store.config["access_key_id"] == "123"
    assert store.client_options == {"timeout": "5s", "pool_max_idle_per_host": "2"}
    assert store.retry_config is not None
    assert store.retry_config["max_retries"] == 3
    assert store.retry_config["retry_timeout"] == timedelta(seconds=0.5)


def test_azures_own_containers_have_a_dollar() -> None:
    """Such as the one whose files are a web site."""
    _, key = open_store("az://$web/model.pt", {"account_name": "some", "skip_signature": True})

    assert key == "model.pt"
