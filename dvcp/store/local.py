"""Whole files on local disks: written beside their place, synced, renamed."""

from __future__ import annotations

import errno
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from dvcp.pulse import pulse

CHUNK = 8 << 20
_STALE_SECONDS = 3600
_LOCAL = ("file://", "local://")


def local_path(url: str) -> str | None:
    """Absolute path of a local URL, None for an object store."""
    for scheme in _LOCAL:
        url = url.removeprefix(scheme)
    return None if "://" in url else os.path.abspath(url)


@contextmanager
def part(path: str) -> Iterator[str]:
    """A name for an unfinished file in the folder of ``path`` (same file system, so that renaming is atomic); removed if still there."""
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    name = os.path.join(folder, f".dvcp-{uuid.uuid4().hex}.part")
    try:
        yield name
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)


def is_part(name: str) -> bool:
    """Whether a name is one that :func:`part` gives."""
    return name.startswith(".dvcp-") and name.endswith(".part")


def put_file(source: str, path: str) -> None:
    """Copy the finished file ``source`` to ``path``. Raises OSError."""
    with part(path) as unfinished:
        with open(source, "rb") as stream, open(unfinished, "xb") as out:
            copy(stream, out)
            _sync(out)
        os.replace(unfinished, path)
    _sync_folder(path)


def put_bytes(data: bytes, path: str, exclusive: bool) -> bool:
    """Write ``data`` as ``path``; False when it must be ``exclusive`` and something is there. Raises OSError."""
    with part(path) as unfinished:
        with open(unfinished, "xb") as out:
            out.write(data)
            _sync(out)
        done = _move(unfinished, path, exclusive)
    _sync_folder(path)
    return done


def scan(path: str) -> dict[str, int | None]:
    """Name -> bytes of what is in a folder, None for a folder in it; without unfinished files. Raises OSError."""
    found: dict[str, int | None] = {}
    with os.scandir(path) as entries:
        for entry in entries:
            if is_part(entry.name):
                continue
            try:
                found[entry.name] = None if entry.is_dir() else entry.stat().st_size
            except OSError:
                # Another process removed it between the listing and the question for its size; or it is a link to nothing or to itself,
                # which must not hide the rest of the folder: whoever opens it is told.
                if entry.is_symlink():
                    found[entry.name] = 0
    return found


def remove_stale_parts(path: str) -> None:
    """Delete the part files of a folder that nobody has written to for an hour. Raises OSError."""
    if not os.path.isdir(path):
        return
    with os.scandir(path) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                if is_part(entry.name) and time.time() - entry.stat().st_mtime > _STALE_SECONDS:
                    os.unlink(entry.path)


def copy(stream: Any, out: Any) -> None:
    """All that is left in one open file, written to another."""
    while piece := stream.read(CHUNK):
        pulse()
        out.write(piece)


def _move(unfinished: str, path: str, exclusive: bool) -> bool:
    if not exclusive:
        os.replace(unfinished, path)
        return True
    try:
        os.link(unfinished, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        # No hard links here (exFAT, some network shares): as near to exclusive as such a file system goes.
        if os.path.lexists(path):
            return False
        os.replace(unfinished, path)
    return True


def _sync(out: Any) -> None:
    out.flush()
    os.fsync(out.fileno())


def _sync_folder(path: str) -> None:
    """Make a rename survive a power cut; without this the name can be lost although the content was synced."""
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems refuse to sync a folder; they order it themselves
            os.fsync(folder)
    finally:
        os.close(folder)
