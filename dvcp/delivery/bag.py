"""BagIt 1.0 (RFC 8493) on any store: payload first, manifests last, ``bagit.txt`` at the very end, so that half a bag is no bag."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dvcp.errors import StoreError
from dvcp.store import files

ALGORITHMS = ("sha256", "sha512")
DECLARATION = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
#: first file of a bag: whose it is; a run that was interrupted is known by it
CLAIM = "dvcp-delivery.json"


@dataclass(frozen=True)
class Digests:
    """Size in bytes and digests (hex) of one file."""

    size: int
    sha256: str
    sha512: str


@dataclass
class BagWriter:
    """A bag being filled. Payload names are relative to ``data/``."""

    url: str
    payload: dict[str, Digests] = field(default_factory=dict)

    def begin(self, claim: Mapping[str, Any]) -> bool:
        """Take the folder for one delivery. Returns True when the bag is complete already.

        Args:
            claim: JSON values that say what the bag is of; the same claim again goes on with an interrupted bag.

        Raises:
            StoreError: the folder holds something else.
        """
        body = json.dumps(dict(claim), indent=1, sort_keys=True, ensure_ascii=False).encode()
        found = files.get_bytes(self._tag(CLAIM))
        if found is None:
            if files.list_names(self.url):
                raise StoreError("is not empty and no bag of dvcp's", file=self.url, hint="choose another --bag")
            files.put_bytes(body, self._tag(CLAIM))
        elif found != body:
            raise StoreError("holds another delivery, or one begun with other profiles", file=self.url, hint="choose another --bag")
        return files.exists(self._tag("bagit.txt"))

    def put(self, local: Path, name: str) -> Digests:
        """Store a local file as ``data/<name>``."""
        digests = digests_of(os.fspath(local))
        if files.put_file(local, self.data(name)) != digests.sha256:
            raise StoreError("changed while it was being stored", file=os.fspath(local), hint="run again")
        self.payload[name] = digests
        return digests

    def put_bytes(self, data: bytes, name: str) -> Digests:
        """Store bytes as ``data/<name>``."""
        files.put_bytes(data, self.data(name))
        self.payload[name] = _digests(data)
        return self.payload[name]

    def keep(self, name: str) -> Digests:
        """Take over a file that an interrupted run has stored as ``data/<name>``, by reading it back."""
        self.payload[name] = digests_of(self.data(name))
        return self.payload[name]

    def seal(self, info: Mapping[str, str]) -> str:
        """Write tag files and manifests, and ``bagit.txt`` last. Returns the sha256 of ``tagmanifest-sha256.txt``, which stands for all.

        Raises:
            StoreError: the folder holds files that were not put there by this delivery.
        """
        self._sweep()
        oxum = f"{sum(d.size for d in self.payload.values())}.{len(self.payload)}"
        lines = [f"{key}: {' '.join(value.split())}\n" for key, value in (dict(info) | {"Payload-Oxum": oxum}).items()]
        tags = {CLAIM: files.get_bytes(self._tag(CLAIM)) or b"", "bag-info.txt": "".join(lines).encode(), "bagit.txt": DECLARATION}
        for algorithm in ALGORITHMS:
            rows = {f"data/{name}": getattr(digests, algorithm) for name, digests in self.payload.items()}
            tags[f"manifest-{algorithm}.txt"] = _manifest(rows)
        seals = {
            f"tagmanifest-{algorithm}.txt": _manifest({name: hashlib.new(algorithm, body).hexdigest() for name, body in tags.items()})
            for algorithm in ALGORITHMS
        }
        order = ["bag-info.txt", *(f"manifest-{algorithm}.txt" for algorithm in ALGORITHMS), *seals, "bagit.txt"]
        for name in order:
            files.put_bytes((tags | seals)[name], self._tag(name))
        return hashlib.sha256(seals["tagmanifest-sha256.txt"]).hexdigest()

    def data(self, name: str) -> str:
        """URL of a payload file."""
        return files.join(self.url, "data", name)

    def _tag(self, name: str) -> str:
        return files.join(self.url, name)

    def _sweep(self) -> None:
        for folder in {"", "data", *(f"data/{os.path.dirname(name)}" for name in self.payload)}:
            local = files.local_path(files.join(self.url, folder))
            # what a killed run was writing; in a bag such a file would be one too many
            for part in Path(local).glob(".dvcp-*.part") if local else ():
                part.unlink(missing_ok=True)
        if extra := sorted(set(walk(files.join(self.url, "data"))) - set(self.payload)):
            raise StoreError(f"data/{extra[0]} does not belong to this delivery", file=self.url, hint="take it away and run again")


def walk(url: str, prefix: str = "") -> Iterator[str]:
    """Names of all files under a folder, relative to it, with slashes."""
    sizes = files.list_sizes(url)
    for name in files.list_names(url):
        if name in sizes:
            yield prefix + name
        else:
            yield from walk(files.join(url, name), f"{prefix}{name}/")


def digests_of(url: str) -> Digests:
    """Digests of a file wherever it lies, in one reading. Raises StoreError."""
    size, short, long = 0, hashlib.sha256(), hashlib.sha512()
    for piece in files.read_chunks(url):
        size += len(piece)
        short.update(piece)
        long.update(piece)
    return Digests(size, short.hexdigest(), long.hexdigest())


@contextmanager
def local_copy(url: str) -> Iterator[Path]:
    """A local file with the content of ``url``: itself, or a copy that is gone after the block, since decoders read a file many times."""
    path = files.local_path(url)
    if path is not None:
        yield Path(path)
        return
    with TemporaryDirectory(prefix="dvcp-") as scratch:
        copy = Path(scratch) / files.split(url)[1]
        files.fetch_file(url, copy)
        yield copy


def _digests(data: bytes) -> Digests:
    return Digests(len(data), hashlib.sha256(data).hexdigest(), hashlib.sha512(data).hexdigest())


def _manifest(rows: Mapping[str, str]) -> bytes:
    return "".join(f"{rows[name]}  {name}\n" for name in sorted(rows)).encode()
