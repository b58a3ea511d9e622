"""What only a real object store shows: other processes, refusals, an unreachable server, multipart puts."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import s3fs

from dvcp.errors import StoreError
from dvcp.store import files
from dvcp.store.fixity import sha256_url
from tests.s3_server import S3Server, serve


def child(code: str, **env: str) -> str:
    """Output of ``code`` in a fresh process that knows the server only by its environment."""
    done = subprocess.run(
        [sys.executable, "-c", f"from dvcp.store import files\n{code}"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | env,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def refusal(url: str, **env: str) -> str:
    return child(f"try: files.put_bytes(b'1', {url!r})\nexcept files.StoreError as error: print(error)", **env)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Connections made inside are tried once."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    yield
    s3fs.S3FileSystem.clear_instance_cache()


def test_what_a_child_process_writes_is_seen_at_once(s3_url: str) -> None:
    files.put_bytes(b"0", f"{s3_url}/mine")
    assert files.list_names(s3_url) == ["mine"]
    said = child(f"print(files.put_bytes(b'1', '{s3_url}/theirs', exclusive=True), files.list_names('{s3_url}'))")
    assert said == "True ['mine', 'theirs']"
    assert files.list_names(s3_url) == ["mine", "theirs"]
    assert not files.put_bytes(b"2", f"{s3_url}/theirs", exclusive=True)


def test_options_reach_the_server_without_environment(s3: S3Server, s3_url: str) -> None:
    s3fs.S3FileSystem(**s3.options).pipe_file(f"{s3_url}/x", b"1")
    assert files.get_bytes(f"{s3_url}/x") == b"1"


def test_wrong_key(s3: S3Server, s3_url: str) -> None:
    said = refusal(f"{s3_url}/x", AWS_ACCESS_KEY_ID="wrong", FSSPEC_S3_KEY="wrong")
    assert said == f"{s3_url}/x: permission denied (check the access key, the secret and the bucket's policy)"


def test_missing_bucket(s3: S3Server) -> None:
    for put in (lambda: files.put_bytes(b"1", "s3://nosuch/x"), lambda: files.put_bytes(b"1", "s3://nosuch/x", exclusive=True)):
        with pytest.raises(StoreError, match=r"s3://nosuch/x: no such object or bucket \(check the name\)"):
            put()


def test_unreachable_server(s3: S3Server) -> None:
    said = refusal("s3://dvcp/x", AWS_ENDPOINT_URL="http://127.0.0.1:9", FSSPEC_S3_ENDPOINT_URL="http://127.0.0.1:9", AWS_MAX_ATTEMPTS="1")
    assert said.startswith("s3://dvcp/x: the store cannot be reached")
    assert "AWS_ENDPOINT_URL=http://127.0.0.1:9" in said
    assert "\n" not in said


@pytest.mark.slow
def test_server_dies_and_comes_back_empty_handed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, impatient: None) -> None:
    with serve(tmp_path / "own") as server:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        files.put_bytes(b"1", "s3://dvcp/x")
        assert files.get_bytes("s3://dvcp/x") == b"1"
        os.kill(server.pid, signal.SIGKILL)
        (tmp_path / "big").write_bytes(b"0" * 1000)
        for use in (lambda: files.get_bytes("s3://dvcp/x"), lambda: files.put_file(tmp_path / "big", "s3://dvcp/y")):
            with pytest.raises(StoreError, match="the store cannot be reached"):
                use()


@pytest.mark.slow
def test_multipart_put_is_whole_or_absent(s3_url: str, tmp_path: Path) -> None:
    film = tmp_path / "film.mkv"
    piece = os.urandom(1 << 20)
    with film.open("wb") as out:
        for _ in range(120):
            out.write(piece)
    url = f"{s3_url}/film.mkv"
    code = f"from dvcp.store import files\nfiles.put_file({str(film)!r}, {url!r})"
    upload = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    fs = s3fs.S3FileSystem()
    while not fs.list_multipart_uploads("dvcp"):
        assert upload.poll() is None, "the upload ended before it could be interrupted"
    upload.kill()
    upload.wait()
    assert files.size(url) is None
    assert files.put_file(film, url) == sha256_url(url) == hashlib.sha256(piece * 120).hexdigest()
    assert files.size(url) == 120 << 20
    files.remove(url)
