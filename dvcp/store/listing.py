"""What lies in a folder and which version of it, from listings alone: no file is opened, and none is asked for by itself."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from dvcp.store import files
from dvcp.store.explain import guard
from dvcp.store.remote import Remote
from dvcp.store.retry import retried

#: what drivers call the version of an object, the surest first
_TAGS = ("ETag", "etag", "md5Hash", "generation", "LastModified", "last_modified", "mtime", "created")


@dataclass(frozen=True)
class Listed:
    """One file as a listing shows it.

    Attributes:
        size: bytes.
        tag: changes when the content does: the ETag, or the time of change in nanoseconds (local files).
    """

    size: int
    tag: str


def listing(where: str | Sequence[str], suffixes: Sequence[str] = ()) -> dict[str, Listed]:
    """Files by URL (local ones by absolute path) that a folder, a glob, a file, or several of them name, sorted.

    One listing serves a whole folder, a thousand files a request on S3; only files given by name are asked for one by one.

    Args:
        suffixes: ends of the names, lower case, that count in a folder; none = all. What a glob finds, and a file named outright, counts
            whatever its name.

    Raises:
        StoreError: the store cannot be listed.
    """
    found: dict[str, Listed] = {}
    for one in [where] if isinstance(where, str) else where:
        with guard(one):
            inside = retried(one, partial(_whole, one))
        folder = files.absolute(one) + "/"
        # Only what lies inside a folder is chosen by its name.
        chosen = [(u, f) for u, f in inside if not (suffixes and u.startswith(folder) and not u.lower().endswith(tuple(suffixes)))]
        found.update((url, file) for url, file in chosen if not files.split(url)[1].startswith("."))
    return dict(sorted(found.items()))


def _whole(where: str) -> list[tuple[str, Listed]]:
    return list(_listed(where))


def _listed(where: str) -> Iterator[tuple[str, Listed]]:
    path = files.local_path(where)
    if "*" in where or "?" in where:
        if path is not None:
            yield from ((name, _status(os.stat(name))) for name in glob.glob(path, recursive=True) if os.path.isfile(name))
            return
        pattern = Remote(where)
        for name, facts in pattern.fs.glob(pattern.key, detail=True).items():
            if facts["type"] == "file":
                yield pattern.fs.unstrip_protocol(name), _facts(facts)
    elif path is not None:
        if os.path.isdir(path):
            with os.scandir(path) as entries:
                for entry in entries:
                    # It may be gone by now.
                    with suppress(FileNotFoundError):
                        if entry.is_file():
                            yield entry.path, _status(entry.stat())
        elif os.path.exists(path):
            yield path, _status(os.stat(path))
    else:
        url, folder = files.absolute(where), Remote(files.absolute(where))
        try:
            entries_there = folder.fs.ls(folder.key, detail=True)
        except FileNotFoundError:
            return
        for facts in entries_there:
            if facts["type"] == "file":
                name = facts["name"].removeprefix(folder.key).strip("/")
                # A file asked for by its own name is listed under it; so is the marker object some stores keep for a folder.
                if name or facts["size"]:
                    yield (files.join(url, name) if name else url), _facts(facts)


def _facts(facts: Mapping[str, Any]) -> Listed:
    tag = next((facts[name] for name in _TAGS if facts.get(name) not in (None, "")), "")
    return Listed(int(facts["size"] or 0), str(tag).strip('"'))


def _status(status: os.stat_result) -> Listed:
    return Listed(status.st_size, str(status.st_mtime_ns))
