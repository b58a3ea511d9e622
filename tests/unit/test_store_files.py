"""dvcp.store.files on the local disk and on a real S3 server."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from dvcp import pulse
from dvcp.errors import ConfigError, StoreError
from dvcp.store import files
from dvcp.store.fixity import sha256_file, sha256_url
from dvcp.store.retry import patience, retried

DATA = bytes(range(256)) * 5000


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    path = tmp_path / "finished.bin"
    path.write_bytes(DATA)
    return path


def test_put_file_round_trip(store_url: str, finished: Path, tmp_path: Path) -> None:
    url = files.join(store_url, "a b", "film #1.mkv")
    assert files.put_file(finished, url) == hashlib.sha256(DATA).hexdigest()
    assert files.get_bytes(url) == DATA
    assert files.size(url) == len(DATA)
    assert sha256_url(url) == sha256_file(finished) == hashlib.sha256(DATA).hexdigest()
    back = tmp_path / "new" / "back.bin"
    files.fetch_file(url, back)
    assert back.read_bytes() == DATA
    assert [p.name for p in back.parent.iterdir()] == ["back.bin"]


def test_put_file_replaces_and_leaves_nothing_else(store_url: str, finished: Path) -> None:
    url = files.join(store_url, "x.bin")
    files.put_bytes(b"old", url)
    files.put_file(finished, url)
    assert files.get_bytes(url) == DATA
    assert files.list_names(store_url) == ["x.bin"]
    if (folder := files.local_path(store_url)) is not None:
        assert os.listdir(folder) == ["x.bin"]


def test_absent_things(store_url: str, tmp_path: Path) -> None:
    url = files.join(store_url, "nothing")
    assert files.get_bytes(url) is None
    assert files.size(url) is None
    assert not files.exists(url)
    assert files.list_names(url) == []
    files.remove(url)
    for ask in (lambda: sha256_url(url), lambda: files.fetch_file(url, tmp_path / "y")):
        with pytest.raises(StoreError, match="no such"):
            ask()
    assert not (tmp_path / "y").exists()


def test_listing(store_url: str) -> None:
    for name, data in {"b": b"22", "a": b"1", "sub/c": b"333"}.items():
        files.put_bytes(data, files.join(store_url, name))
    assert files.list_names(store_url) == ["a", "b", "sub"]
    assert files.list_sizes(store_url + "/") == {"a": 1, "b": 2}
    assert files.exists(files.join(store_url, "sub"))
    assert files.size(files.join(store_url, "sub")) is None
    files.remove(files.join(store_url, "a"))
    assert files.list_names(store_url) == ["b", "sub"]


def test_exclusive_put_has_one_winner(store_url: str) -> None:
    url = files.join(store_url, "claim.json")
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda i: files.put_bytes(b"%d" % i, url, exclusive=True), range(16)))
    assert won.count(True) == 1
    assert files.get_bytes(url) == b"%d" % won.index(True)
    assert not files.put_bytes(b"late", url, exclusive=True)
    assert files.get_bytes(url) == b"%d" % won.index(True)


def test_empty_file(store_url: str, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    url = files.join(store_url, "empty")
    assert files.put_file(tmp_path / "empty", url) == hashlib.sha256(b"").hexdigest()
    assert files.get_bytes(url) == b""
    assert sha256_url(url) == hashlib.sha256(b"").hexdigest()


def test_part_files_are_never_taken_for_finished_ones(tmp_path: Path) -> None:
    part = tmp_path / f".dvcp-{'0' * 32}.part"
    part.write_bytes(b"half")
    (tmp_path / "whole").write_bytes(b"1")
    assert files.list_names(str(tmp_path)) == ["whole"]
    files.remove_stale_parts(str(tmp_path))
    assert part.exists(), "another process may still be writing it"
    old = time.time() - 7200
    os.utime(part, (old, old))
    files.remove_stale_parts(str(tmp_path))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["whole"]


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert files.absolute("x/film.mkv") == f"{tmp_path}/x/film.mkv"
    assert files.absolute(f"file://{tmp_path}/x/") == f"{tmp_path}/x"
    assert files.absolute("s3://b/x/") == "s3://b/x"
    assert files.join("s3://b/x/", "y", "z") == "s3://b/x/y/z"
    assert files.join("/", "y") == "/y"
    assert files.split("s3://b/x/y.mkv") == ("s3://b/x", "y.mkv")
    assert files.split("/y.mkv") == ("/", "y.mkv")
    files.put_bytes(b"1", "odd::name[1]*?.bin")
    assert (tmp_path / "odd::name[1]*?.bin").read_bytes() == b"1"


def test_unknown_scheme_is_one_line() -> None:
    with pytest.raises(StoreError) as caught:
        files.get_bytes("nosuchthing://b/x")
    assert "nosuchthing" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_missing_local_source_names_it(store_url: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"gone\.mkv: no such file"):
        files.put_file(tmp_path / "gone.mkv", files.join(store_url, "x"))


def _refused_for_space(folder: Path, finished: Path) -> None:
    url = files.join(str(folder), "film.mkv")
    files.put_bytes(b"old", url)
    for attempt in (lambda: files.put_file(finished, url), lambda: files.put_bytes(DATA, url)):
        with pytest.raises(StoreError, match=r"film\.mkv: no space left \(free some space"):
            attempt()
    assert files.get_bytes(url) == b"old", "a failed write must not touch what was there"
    assert os.listdir(folder) == ["film.mkv"], "a failed write must give its space back"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("may not mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_disk(small_disk: Path, finished: Path) -> None:
    _refused_for_space(small_disk, finished)


def test_file_size_limit(tmp_path: Path, finished: Path) -> None:
    folder = tmp_path / "limited"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512 << 10, hard))
    try:
        _refused_for_space(folder, finished)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_folder_that_may_not_be_written() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o555)
        # The superuser may write anywhere, so ask as somebody else; the module is imported before the rights are given up.
        code = f"""
import os
from dvcp.store import files
if os.geteuid() == 0: os.setuid(65534)
try: files.put_bytes(b"1", "{folder}/film.mkv")
except files.StoreError as error: print(error)
"""
        env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
        assert done.stdout == f"{folder}/film.mkv: permission denied (check the owner and the mode of the folder)\n", done.stderr
        os.chmod(folder, 0o755)


def test_parent_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1")
    url = f"{tmp_path}/file/x"
    assert files.get_bytes(url) is None
    assert files.size(url) is None
    with pytest.raises(StoreError, match="file/x"):
        files.put_bytes(b"1", url, exclusive=True)


class Lossy(MemoryFileSystem):  # type: ignore[misc]
    """A store that loses the last byte of what is put, ``losses`` times."""

    protocol = "lossy"
    losses = 0

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("lossy://", "memory://")))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: object) -> None:
        super().pipe_file(path, self._some(value), mode=mode, **kwargs)

    def put_file(self, lpath: str, rpath: str, **kwargs: object) -> None:
        super().pipe_file(rpath, self._some(Path(lpath).read_bytes()))

    @staticmethod
    def _some(value: bytes) -> bytes:
        Lossy.losses -= 1
        return value[:-1] + b"?" if Lossy.losses >= 0 else value


@pytest.mark.parametrize("kind", ["bytes", "file"])
def test_what_is_stored_wrong_is_put_again(finished: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.register_implementation("lossy", Lossy, clobber=True)
    url = f"lossy://lossy/{kind}"
    put = (lambda: files.put_bytes(DATA, url)) if kind == "bytes" else (lambda: files.put_file(finished, url))
    monkeypatch.setattr(Lossy, "losses", 2)
    put()
    assert files.get_bytes(url) == DATA
    monkeypatch.setattr(Lossy, "losses", 99)
    with pytest.raises(StoreError, match="keeps something else than what was sent"):
        put()


def test_patience_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVCP_STORE_PATIENCE", raising=False)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert patience() == 0
    monkeypatch.setenv("DVCP_STORE_PATIENCE", "7.5")
    assert patience() == 7.5
    for wrong in ("soon", "-1", "inf", "nan"):
        monkeypatch.setenv("DVCP_STORE_PATIENCE", wrong)
        with pytest.raises(ConfigError, match="no number of seconds"):
            patience()


def test_only_what_may_pass_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVCP_STORE_PATIENCE", "60")
    answers: list[Exception] = [ConnectionResetError(104, "reset"), TimeoutError(), OSError(errno.EBUSY, "SlowDown")]

    def work() -> str:
        if answers:
            raise answers.pop(0)
        return "done"

    signs: list[float] = []
    # Set aside after the test: other modules of this process look at it.
    monkeypatch.setattr(pulse, "_send", lambda: signs.append(time.monotonic()))
    assert retried("x://y", work) == "done"
    assert signs, "waiting shows signs of life"
    for lasting in (PermissionError("403"), FileNotFoundError("404"), OSError(errno.EIO, "disk"), StoreError("no"), ValueError("odd")):
        calls: list[int] = []

        def once(error: Exception = lasting, calls: list[int] = calls) -> None:
            calls.append(1)
            raise error

        with pytest.raises(type(lasting)):
            retried("x://y", once)
        assert len(calls) == 1
