"""Whole copies of remote objects on the local disk, for films that can only be read from their beginning.

``DVCP_CACHE`` (``dvcp/films`` in the user's cache folder) holds at most ``DVCP_CACHE_GB`` (20) GB; what was not used for longest goes
first, never a file that somebody reads. Any number of processes may share the folder: each copy has a lock file beside it, held shared by
its readers and alone by whoever makes or removes it, and the kernel lets go of the locks of a process that dies. Names are made from the
URL and the object's tag and size, so an object that was replaced is another copy.
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import logging
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from dvcp.errors import ConfigError, StoreError
from dvcp.pulse import pulse
from dvcp.store.explain import guard
from dvcp.store.remote import Facts, Remote
from dvcp.store.secrets import redact

log = logging.getLogger(__name__)

_DEFAULT_GB = "20"
_UNFINISHED = ".part"
_LOCK = ".lock"
_ROOM = "room"
#: seconds that room is waited for: readers hold a copy for a whole segment
_WAIT_S = 3600.0


def folder() -> str:
    """Absolute path of the cache."""
    users = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.abspath(os.environ.get("DVCP_CACHE") or os.path.join(users, "dvcp", "films"))


def bound() -> int:
    """Most bytes the cache may hold. Raises ConfigError when DVCP_CACHE_GB is no number."""
    told = os.environ.get("DVCP_CACHE_GB", _DEFAULT_GB)
    try:
        return int(float(told) * 1e9)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"DVCP_CACHE_GB={told} is no number of gigabytes", hint="e.g. DVCP_CACHE_GB=20") from error


def holds(remote: Remote, facts: Facts) -> bool:
    """Whether a whole copy is there now. It may go before it is :func:`held`, which then makes it again."""
    return os.path.exists(_path(remote, facts))


@contextmanager
def held(remote: Remote, facts: Facts) -> Iterator[str]:
    """Path of a whole local copy, made if need be; it stays for the length of the block.

    Raises:
        StoreError: no room, or the object cannot be read.
    """
    path = _path(remote, facts)
    with guard(path):
        os.makedirs(folder(), exist_ok=True)
    while True:
        with _locked(path, fcntl.LOCK_SH):
            if os.path.exists(path):
                os.utime(path)  # when it was used last
                yield path
                return
        with _locked(path, fcntl.LOCK_EX):
            if not os.path.exists(path):
                _make(remote, facts, path)


def _path(remote: Remote, facts: Facts) -> str:
    name = hashlib.sha256(f"{remote.url}\n{facts.tag}\n{facts.size}".encode()).hexdigest()[:32]
    return os.path.join(folder(), name)


def _make(remote: Remote, facts: Facts, path: str) -> None:
    unfinished = f"{path}.{uuid.uuid4().hex}{_UNFINISHED}"
    try:
        with guard(path):
            # What a killed maker left counts, and nobody else can remove it while this copy's lock is held.
            for left in glob.glob(f"{glob.escape(path)}*{_UNFINISHED}"):
                os.unlink(left)
            _reserve(remote, facts, unfinished)
        with guard(remote.url):
            remote.fetch(unfinished, facts)
        os.replace(unfinished, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(unfinished)
        raise


def _reserve(remote: Remote, facts: Facts, unfinished: str) -> None:
    """Make room, and take it: the unfinished file has its full length from the start, so that others count it."""
    limit, began, told = bound(), time.monotonic(), False
    while True:
        with _locked(os.path.join(folder(), _ROOM), fcntl.LOCK_EX):
            if facts.size <= limit and _evict(limit - facts.size):
                with open(unfinished, "wb") as out:
                    out.truncate(facts.size)
                return
        if facts.size > limit or time.monotonic() > began + _WAIT_S:
            message = f"its {facts.size / 1e9:.1f} GB find no room in the cache {folder()} of {limit / 1e9:.1f} GB"
            why = "this kind of file cannot be read in parts; set DVCP_CACHE_GB higher, or remux it to Matroska or MP4"
            raise StoreError(message, file=remote.url, hint=why)
        if not told:
            log.warning("%s: waits until readers leave room in the cache %s of %.1f GB", redact(remote.url), folder(), limit / 1e9)
            told = True
        pulse()
        time.sleep(1)


def _evict(most: int) -> bool:
    """Remove what was not used for longest until at most ``most`` bytes are held; whether that was possible."""
    entries = []
    with os.scandir(folder()) as found:
        for entry in found:
            if not entry.name.endswith(_LOCK):
                with suppress(FileNotFoundError):
                    status = entry.stat()
                    entries.append((status.st_mtime, status.st_size, entry.path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= most:
            break
        base = os.path.join(folder(), os.path.basename(path).partition(".")[0])
        with suppress(BlockingIOError, FileNotFoundError), _locked(base, fcntl.LOCK_EX | fcntl.LOCK_NB):
            os.unlink(path)
            os.unlink(base + _LOCK)
            total -= size
    return total <= most


@contextmanager
def _locked(path: str, how: int) -> Iterator[None]:
    """The lock of a copy. Raises BlockingIOError when it is not to be waited for."""
    while True:
        lock = os.open(path + _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _wait(lock, how)
            if _same(lock, path + _LOCK):
                yield
                return
        finally:
            os.close(lock)


def _same(lock: int, path: str) -> bool:
    """Whether the lock file was not removed, and perhaps made anew, while it was waited for: such a lock keeps nobody out."""
    try:
        return os.fstat(lock).st_ino == os.stat(path).st_ino
    except FileNotFoundError:
        return False


def _wait(lock: int, how: int) -> None:
    # Another process may be fetching for an hour: waiting must show signs of life.
    while True:
        try:
            fcntl.flock(lock, how | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if how & fcntl.LOCK_NB:
                raise
        pulse()
        time.sleep(0.1)
