"""Whole files on local disks and object stores, by URL.

A file under its final name is always whole: local writes go to a hidden part file that is synced and renamed, object stores get one
finished put, which is checked. Nothing here streams through ``with fs.open(url, "wb")``: an exception inside that block commits the
truncated object. A URL is a plain path, ``file://...``, or anything an installed fsspec driver knows (``s3://``, ``gs://``, ...); the
driver takes endpoint and keys from the environment. What may pass is tried again (:mod:`dvcp.store.retry`); every failure is a one-line
:class:`StoreError` without secrets.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress

from dvcp.errors import StoreError
from dvcp.pulse import pulse
from dvcp.store import local as disk
from dvcp.store import uploads
from dvcp.store.explain import guard
from dvcp.store.local import CHUNK, local_path
from dvcp.store.remote import Remote

__all__ = [
    "PathLike", "absolute", "exists", "fetch_file", "get_bytes", "join", "list_names", "list_sizes", "local_path", "put_bytes", "put_file",
    "read_chunks", "remove", "remove_stale_parts", "size", "split",
]  # fmt: skip

PathLike = str | os.PathLike[str]


def absolute(url: str) -> str:
    """``url`` in a form that means the same in every process: local paths absolute and without scheme; a final slash is dropped."""
    return local_path(url) or url.rstrip("/")


def join(base: str, *names: str) -> str:
    """``base`` and ``names`` with one slash between them."""
    return "/".join([base.rstrip("/"), *(name.strip("/") for name in names)])


def split(url: str) -> tuple[str, str]:
    """(folder, name) of a file URL."""
    folder, _, name = url.rpartition("/")
    return folder or "/", name


def put_file(local: PathLike, url: str) -> str:
    """Store the finished file ``local`` as ``url``, replacing what was there in one step. Returns its sha256 (hex).

    Raises StoreError: no space, no permission, unreachable, or something else stored than sent.
    """
    source = os.fspath(local)
    with guard(source), open(source, "rb") as stream:
        hashed, length = hashlib.sha256(), os.fstat(stream.fileno()).st_size
        while piece := stream.read(CHUNK):
            pulse()
            hashed.update(piece)
        digest = hashed.hexdigest()
    with guard(url):
        if (path := local_path(url)) is None:
            uploads.put_file(source, digest, Remote(url))
        else:
            disk.put_file(source, path)
            if (stored := os.path.getsize(path)) != length:
                raise StoreError(f"stored {stored} of {length} bytes", file=url, hint="run again; if it happens again, check the disk")
    return digest


def put_bytes(data: bytes, url: str, *, exclusive: bool = False) -> bool:
    """Store ``data`` as ``url`` in one step.

    With ``exclusive`` nothing is replaced and False means "exists already". Where the store has no conditional put, two writers in the
    same instant may both get True.
    """
    with guard(url):
        if (path := local_path(url)) is not None:
            return disk.put_bytes(data, path, exclusive)
        if exclusive:
            return uploads.create(data, Remote(url))
        uploads.put_bytes(data, Remote(url))
        return True


def get_bytes(url: str) -> bytes | None:
    """The content of ``url``, None when there is no such file."""
    with guard(url):
        if (path := local_path(url)) is None:
            return Remote(url).content()
        try:
            with open(path, "rb") as stream:
                return stream.read()
        except (FileNotFoundError, NotADirectoryError):
            return None


def read_chunks(url: str) -> Iterator[bytes]:
    """The content of ``url`` in pieces of up to 8 MiB. Raises StoreError when there is no such file, or it changes meanwhile."""
    with guard(url):
        if (path := local_path(url)) is None:
            remote = Remote(url)
            if (facts := remote.facts()) is None:
                raise FileNotFoundError(url)
            yield from remote.blocks(facts)
            return
        with open(path, "rb") as stream:
            while piece := stream.read(CHUNK):
                yield piece


def fetch_file(url: str, local: PathLike) -> None:
    """Copy ``url`` to the local file ``local``, which appears only when whole. Raises StoreError when there is no such file."""
    target = os.path.abspath(os.fspath(local))
    with guard(f"{url} to {target}"), disk.part(target) as part:
        if (path := local_path(url)) is not None:
            if not os.path.exists(path):
                raise StoreError("no such file", file=url)
            with open(path, "rb") as stream, open(part, "wb") as out:
                disk.copy(stream, out)
                length = os.fstat(stream.fileno()).st_size
            if (got := os.path.getsize(part)) != length:
                raise StoreError(f"received {got} of {length} bytes", file=url, hint="run again")
        else:
            remote = Remote(url)
            if (facts := remote.facts()) is None:
                raise StoreError("no such file", file=url)
            remote.fetch(part, facts)
        os.replace(part, target)


def size(url: str) -> int | None:
    """Bytes of the file ``url``, None when there is no such file (a folder is none)."""
    with guard(url):
        if (path := local_path(url)) is None:
            facts = Remote(url).facts()
            return None if facts is None else facts.size
        try:
            return None if os.path.isdir(path) else os.stat(path).st_size
        except (FileNotFoundError, NotADirectoryError):
            return None


def exists(url: str) -> bool:
    """True for a file and for a folder (on object stores: a prefix with something under it)."""
    with guard(url):
        if (path := local_path(url)) is not None:
            return os.path.exists(path)
        return Remote(url).exists()


def list_names(url: str) -> list[str]:
    """Sorted names of the files and folders in folder ``url``, without unfinished ones; empty when there is no such folder."""
    return sorted(_entries(url))


def list_sizes(url: str) -> dict[str, int]:
    """Name -> bytes of every file in folder ``url``, in one listing, without unfinished ones."""
    return {name: length for name, length in _entries(url).items() if length is not None}


def remove(url: str) -> None:
    """Delete the file ``url``; one that is gone already is fine."""
    with guard(url):
        if (path := local_path(url)) is None:
            Remote(url).remove()
            return
        with suppress(FileNotFoundError):
            os.unlink(path)


def remove_stale_parts(url: str) -> None:
    """Delete what crashes left unfinished in the folder ``url``: part files that nobody has written to for an hour, and on S3 multipart
    uploads that began more than a day ago.
    """
    with guard(url):
        if (path := local_path(url)) is None:
            uploads.abort_uploads(Remote(url.rstrip("/")))
        else:
            disk.remove_stale_parts(path)


def _entries(url: str) -> dict[str, int | None]:
    """Name -> bytes, None for a folder."""
    with guard(url):
        if (path := local_path(url)) is None:
            return {name: facts.size if facts else None for name, facts in Remote(url.rstrip("/")).listing().items()}
        try:
            return disk.scan(path)
        except (FileNotFoundError, NotADirectoryError):
            return {}
