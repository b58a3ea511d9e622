"""What lies in a folder and which version of it, from listings alone: no file is opened, and none is asked for by itself."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress

from dvcp.store import files
from dvcp.store.explain import guard
from dvcp.store.remote import Facts, Remote
from dvcp.store.retry import retried


def listing(where: str | Sequence[str], suffixes: Sequence[str] = ()) -> dict[str, Facts]:
    """Files by URL (local ones by absolute path) that a folder, a glob, a file, or several of them name, sorted.

    One listing serves a whole folder, a thousand files a request on S3; only files given by name are asked for one by one.

    Args:
        suffixes: ends of the names, lower case, that count in a folder; none = all. What a glob finds, and a file named outright, counts
            whatever its name.

    Raises:
        StoreError: the store cannot be listed.
    """
    found: dict[str, Facts] = {}
    for one in [where] if isinstance(where, str) else where:
        with guard(one):
            inside = list(_listed(one))
        folder = files.absolute(one) + "/"
        # Only what lies inside a folder is chosen by its name.
        chosen = [(u, f) for u, f in inside if not (suffixes and u.startswith(folder) and not u.lower().endswith(tuple(suffixes)))]
        found.update((url, file) for url, file in chosen if not files.split(url)[1].startswith("."))
    return dict(sorted(found.items()))


def _listed(where: str) -> Iterator[tuple[str, Facts]]:
    path = files.local_path(where)
    if "*" in where or "?" in where:
        if path is not None:
            yield from ((name, _status(os.stat(name))) for name in glob.glob(path, recursive=True) if os.path.isfile(name))
            return
        pattern = Remote(where)
        for name, facts in retried(where, lambda: pattern.fs.glob(pattern.key, detail=True)).items():
            if facts["type"] == "file":
                yield pattern.fs.unstrip_protocol(name), Facts.told(facts)
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
        url = files.absolute(where)
        folder = Remote(url)
        found = folder.listing()
        if not found and not where.endswith("/") and (alone := folder.facts()):
            yield url, alone
        yield from ((files.join(url, name), facts) for name, facts in found.items() if facts)


def _status(status: os.stat_result) -> Facts:
    return Facts(status.st_size, str(status.st_mtime_ns))
