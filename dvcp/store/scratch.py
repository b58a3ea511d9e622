"""Folders for unfinished work that go even when the process that made them is killed: whoever comes next sweeps them away."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

#: hidden, so that a folder of films never shows one
_PREFIX = ".dvcp-scratch-"
_LOCK = "lock"


@contextmanager
def scratch(parent: str | None = None) -> Iterator[str]:
    """A new folder under ``parent`` (the system's for temporary files by default), gone after the block; those of the dead go first.

    A lock on a file in it says that its process lives, and the kernel gives it up however that process ends.

    Raises:
        OSError: nothing can be made there.
    """
    parent = parent or tempfile.gettempdir()
    sweep(parent)
    folder, lock = _locked(parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def sweep(parent: str | None = None) -> int:
    """Remove the scratch folders under ``parent`` whose processes have ended. Returns how many."""
    parent, gone = parent or tempfile.gettempdir(), 0
    with suppress(FileNotFoundError), os.scandir(parent) as entries:
        left = [entry.path for entry in entries if entry.name.startswith(_PREFIX)]
        for folder in left:
            # Another user's, or one that was swept by somebody else in the same moment.
            with suppress(OSError):
                lock = os.open(os.path.join(folder, _LOCK), os.O_RDWR)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder)
                    gone += 1
                finally:
                    os.close(lock)
    return gone


def _locked(parent: str) -> tuple[str, int]:
    while True:
        folder = tempfile.mkdtemp(prefix=_PREFIX, dir=parent)
        path = os.path.join(folder, _LOCK)
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(lock), os.stat(path)):
                return folder, lock
        # Somebody swept between the making and the locking.
        os.close(lock)
