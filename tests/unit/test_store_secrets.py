from __future__ import annotations

import os
import pickle
import traceback

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from dvcp.errors import MediaError
from dvcp.store.secrets import Secrets, redact, redacted

KEY = "kZ/7+wJalrXUtnFEMI"


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "public-id")


def test_values_show_nowhere_and_travel() -> None:
    mine = Secrets.of_environment()
    assert dict(mine.variables)["AWS_SECRET_ACCESS_KEY"] == KEY
    assert KEY not in f"{mine} {mine!r} {[mine]}"
    again = pickle.loads(pickle.dumps(mine))
    assert again == mine and len({mine, again}) == 1
    assert all(name.startswith(("AWS_", "FSSPEC_", "AZURE_STORAGE_", "GOOGLE_")) for name, _ in mine.variables)


def test_apply_takes_away_what_it_brought_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ROLE_ARN", "of this machine")
    before = Secrets.of_environment()
    first = fsspec.filesystem("memory")
    Secrets((("AWS_SECRET_ACCESS_KEY", KEY), ("AWS_SESSION_TOKEN", "of job one"), ("FSSPEC_MEMORY_SKIP_INSTANCE_CACHE", ""))).apply()
    assert os.environ["AWS_SESSION_TOKEN"] == "of job one" and os.environ["AWS_ROLE_ARN"] == "of this machine"
    assert "skip_instance_cache" in fsspec.config.conf["memory"], "the configuration was read again"
    Secrets((("AWS_SECRET_ACCESS_KEY", "of job two"),)).apply()
    assert "AWS_SESSION_TOKEN" not in os.environ and "memory" not in fsspec.config.conf
    assert fsspec.filesystem("memory") is not first, "file systems keep the keys they were made with"
    second = fsspec.filesystem("memory")
    Secrets((("AWS_SECRET_ACCESS_KEY", "of job two"),)).apply()
    assert fsspec.filesystem("memory") is second, "nothing changed"
    before.apply()
    assert Secrets.of_environment() == before
    assert isinstance(second, MemoryFileSystem)


def test_a_job_without_keys_finds_those_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node's own keys, that a job has brought others for, were taken away with the job's."""
    Secrets((("AWS_SECRET_ACCESS_KEY", "of job one"),)).apply()
    Secrets((("AWS_SECRET_ACCESS_KEY", "of job two"),)).apply()
    Secrets().apply()
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == KEY
    Secrets((("AWS_SECRET_ACCESS_KEY", "of job three"),)).apply()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "set by somebody since")
    Secrets().apply()
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == "set by somebody since"


@pytest.mark.parametrize("text, shown", [
    (f"signed with {KEY}!", "signed with ***!"),
    ("https://h/b/k%2F7?X-Amz-Credential=a&X-Amz-Signature=0f3 (check)", "https://h/b/k%2F7?*** (check)"),
    ("get 'https://h/f.mkv?sv=2024&sig=aa%2Bb' failed", "get 'https://h/f.mkv?***' failed"),
    ("https://storage.googleapis.com/b/f?GoogleAccessId=x&Expires=1&Signature=q", "https://storage.googleapis.com/b/f?***"),
    ("ftp://me:geheim@host/f", "ftp://***@host/f"),
    (f"url-encoded {KEY.replace('/', '%2F').replace('+', '%2B')}", "url-encoded ***"),
    ("s3://b/k?versionId=3 of public-id at http://127.0.0.1:9", "s3://b/k?versionId=3 of public-id at http://127.0.0.1:9"),
])  # fmt: skip
def test_redact(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert redact(shown) == shown


def test_every_kind_of_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = {
        "AWS_SESSION_TOKEN": "session-token",
        "FSSPEC_S3": '{"key": "public", "secret": "in-json", "client_kwargs": {"password": "deep-one"}}',
        "AZURE_STORAGE_CONNECTION_STRING": "AccountName=films;AccountKey=azure+key==;EndpointSuffix=x", "AZURE_STORAGE_KEY": "storage-key",
        "FSSPEC_ABFS_SAS_TOKEN": "sas-token",
    }  # fmt: skip
    for name, value in hidden.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/token")
    assert redact("session-token in-json deep-one azure+key== storage-key sas-token") == " ".join(["***"] * 6)
    assert redact("/var/run/token public films") == "/var/run/token public films"
    assert redacted({KEY: [KEY, 3, None, {"a": (KEY,)}]}) == {KEY: ["***", 3, None, {"a": ["***"]}]}


def test_errors_carry_no_secret_across_processes() -> None:
    error = MediaError(f"403 for {KEY}", file="https://h/f.mkv?X-Amz-Signature=0f3", hint=f"not {KEY}")
    shown = str(error) + repr(error) + repr(error.args) + "".join(traceback.format_exception(error))
    assert KEY not in shown and "0f3" not in shown and "https://h/f.mkv?***" in shown
    assert b"0f3" not in pickle.dumps(error) and KEY.encode() not in pickle.dumps(error)
