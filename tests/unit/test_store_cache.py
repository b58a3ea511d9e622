"""The cache of whole copies: its bound, its order, and many processes at once."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import fsspec
import pytest

from dvcp.errors import StoreError
from dvcp.store import cache, files
from dvcp.store.remote import Facts, Remote
from tests.s3_server import S3Server


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVCP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DVCP_CACHE_GB", "0.0025")  # two and a half megabytes
    monkeypatch.setenv("DVCP_STORE_PATIENCE", "0")
    monkeypatch.setattr(cache, "_WAIT_S", 0.0)


def put(name: str, size: int = 1_000_000) -> tuple[Remote, Facts]:
    remote = Remote(f"memory://cache/{name}")
    files.put_bytes(name.encode() * (size // len(name)), remote.url)
    facts = remote.facts()
    assert facts is not None
    return remote, facts


def names() -> set[str]:
    return {n for n in os.listdir(cache.folder()) if not n.endswith(".lock")}


def test_what_was_not_used_for_longest_goes_first() -> None:
    films = [put(f"film{k}") for k in range(3)]
    for remote, facts in (films[0], films[1], films[0], films[2]):
        with cache.held(remote, facts) as path:
            assert Path(path).read_bytes() == remote.content()
        time.sleep(0.02)
    assert [cache.holds(*film) for film in films] == [True, False, True]
    assert sum(os.path.getsize(os.path.join(cache.folder(), n)) for n in names()) <= cache.bound()


def test_nothing_that_is_read_goes() -> None:
    films = [put(f"held{k}") for k in range(3)]
    with ExitStack() as stack:
        paths = [stack.enter_context(cache.held(*film)) for film in films[:2]]
        with pytest.raises(StoreError, match=r"memory://cache/held2: its 0.0 GB find no room .*DVCP_CACHE_GB"), cache.held(*films[2]):
            pass
        assert all(os.path.exists(path) for path in paths)
    with cache.held(*films[2]):
        pass
    with pytest.raises(StoreError, match="find no room"), cache.held(*put("large", 3_000_000)):
        pass
    assert len(names()) == 2, "no unfinished copy stays"


def test_room_is_waited_for(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(cache, "_WAIT_S", 60.0)
    films = [put(f"wait{k}") for k in range(3)]
    with ExitStack() as stack:
        for film in films[:2]:
            stack.enter_context(cache.held(*film))

        def leave() -> None:
            while not any("waits" in r.message for r in caplog.records):
                time.sleep(0.01)
            stack.close()

        reader = threading.Thread(target=leave, daemon=True)
        reader.start()
        with cache.held(*films[2]) as path:
            assert Path(path).read_bytes() == films[2][0].content()
        reader.join()
    assert [r.message for r in caplog.records if "waits until readers leave room" in r.message and films[2][0].url in r.message]


def test_a_replaced_object_is_another_copy() -> None:
    with cache.held(*put("again")) as before:
        pass
    fsspec.filesystem("memory").rm("/cache/again")
    remote, facts = put("again", 500_000)
    with cache.held(remote, facts) as after:
        assert after != before and Path(after).read_bytes() == remote.content()


def test_an_interrupted_copy_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    remote, facts = put("broken")

    def stop(path: str, facts: Facts) -> None:
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(remote, "fetch", stop)
        with pytest.raises(KeyboardInterrupt), cache.held(remote, facts):
            pass
    assert not cache.holds(remote, facts) and not names()
    with cache.held(remote, facts) as path:
        assert Path(path).read_bytes() == remote.content()


KILLED = """
import os, signal, sys
from dvcp.store import cache
from dvcp.store.remote import Facts, Remote
remote = Remote(sys.argv[1])
remote.fetch = lambda path, facts: os.kill(os.getpid(), signal.SIGKILL)
with cache.held(remote, Facts(int(sys.argv[2]), sys.argv[3])):
    pass
"""


def test_what_a_killed_maker_left_takes_no_room() -> None:
    remote, facts = put("killed", 2_000_000)
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.run([sys.executable, "-c", KILLED, remote.url, str(facts.size), facts.tag], env=env, timeout=60)
    assert child.returncode == -signal.SIGKILL and len(names()) == 1 and not cache.holds(remote, facts)
    with cache.held(remote, facts) as path:
        assert Path(path).read_bytes() == remote.content()
    assert names() == {os.path.basename(path)}


CHILD = """
import hashlib, random, sys
from dvcp.store import cache
from dvcp.store.remote import Remote
chance = random.Random(int(sys.argv[2]))
for _ in range(6):
    remote = Remote(f"{sys.argv[1]}/{chance.randrange(4)}")
    facts = remote.facts()
    with cache.held(remote, facts) as path:
        data = open(path, "rb").read()
        assert hashlib.md5(data).hexdigest() == facts.tag and len(data) == facts.size
print("DONE")
"""


@pytest.mark.slow
def test_many_processes_one_of_them_killed(s3: S3Server, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVCP_STORE_PATIENCE", "60")  # a server that has just started refuses now and then
    for k in range(4):
        files.put_bytes(hashlib.sha256(b"%d" % k).digest() * 25_000, f"{s3_url}/{k}")
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    commands = [[sys.executable, "-c", CHILD, s3_url, str(seed)] for seed in range(4)]
    running = [subprocess.Popen(c, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for c in commands]
    largest, done = 0, threading.Event()

    def watch() -> None:
        nonlocal largest
        while not done.wait(0.01):
            if os.path.isdir(cache.folder()):
                largest = max(largest, sum(_size(os.path.join(cache.folder(), n)) for n in names()))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    while not os.path.isdir(cache.folder()) or not names():
        assert running[0].poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    running[0].kill()
    said = [process.communicate(timeout=120)[0] for process in running]
    done.set()
    watcher.join()
    assert [text.strip() for text in said[1:]] == ["DONE"] * 3
    assert 0 < largest <= cache.bound()


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return 0
