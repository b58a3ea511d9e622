"""The outer shell of a bag: declaration, manifests, Payload-Oxum, nothing missing, nothing more."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dvcp.delivery.bag import ALGORITHMS, Digests, digests_of, walk
from dvcp.errors import DvcpError
from dvcp.store import files

_DECLARATION = re.compile(r"BagIt-Version: 1\.0\r?\nTag-File-Character-Encoding: UTF-8\r?\n?")


@dataclass(frozen=True)
class Shell:
    """What was found: digests of the payload files that could be read, by name in ``data/``, and problems, one line each."""

    payload: Mapping[str, Digests]
    seal: str
    problems: tuple[str, ...]


def check_shell(url: str) -> Shell:
    """Read every file of a bag once. Never raises for what is wrong with the bag.

    Raises:
        StoreError: the store cannot be reached.
    """
    problems: list[str] = []
    if not _DECLARATION.fullmatch((files.get_bytes(files.join(url, "bagit.txt")) or b"").decode(errors="replace")):
        problems.append("bagit.txt: missing or not BagIt 1.0: the bag is not complete")
    found: dict[str, Digests] = {}
    present = sorted(walk(url))
    for name in present:
        try:
            found[name] = digests_of(files.join(url, name))
        except DvcpError as error:
            problems.append(f"{name}: {error.message}")
    payload = {name for name in present if name.startswith("data/")}
    for algorithm in ALGORITHMS:
        listed = _manifest(url, f"manifest-{algorithm}.txt", problems)
        problems += _compare(f"manifest-{algorithm}.txt", listed, found, algorithm)
        problems += [f"{name}: not in manifest-{algorithm}.txt" for name in sorted(payload - set(listed))]
        tags = {name for name in present if "/" not in name and not name.startswith("tagmanifest-")}
        sealed = _manifest(url, f"tagmanifest-{algorithm}.txt", problems)
        problems += _compare(f"tagmanifest-{algorithm}.txt", sealed, found, algorithm)
        problems += [f"{name}: not in tagmanifest-{algorithm}.txt" for name in sorted(tags - set(sealed))]
    problems += _oxum(url, [found[name].size for name in payload if name in found])
    inner = {name.removeprefix("data/"): digests for name, digests in found.items() if name.startswith("data/")}
    seal = hashlib.sha256(files.get_bytes(files.join(url, "tagmanifest-sha256.txt")) or b"").hexdigest()
    return Shell(inner, seal, tuple(problems))


def _manifest(url: str, name: str, problems: list[str]) -> dict[str, str]:
    data = files.get_bytes(files.join(url, name))
    if data is None:
        problems.append(f"{name}: missing")
        return {}
    rows: dict[str, str] = {}
    for number, line in enumerate(data.decode(errors="replace").splitlines(), 1):
        match = re.fullmatch(r"([0-9a-fA-F]+)[ \t]+\*?(.+)", line)
        if not match or match[2] in rows:
            problems.append(f"{name}: line {number} {'names a file twice' if match else 'cannot be read'}")
        else:
            rows[match[2]] = match[1].lower()
    return rows


def _compare(manifest: str, listed: Mapping[str, str], found: Mapping[str, Digests], algorithm: str) -> Iterator[str]:
    for name, wanted in listed.items():
        if name not in found:
            yield f"{name}: missing, named in {manifest}"
        elif getattr(found[name], algorithm) != wanted:
            yield f"{name}: {algorithm} is not that of {manifest}"


def _oxum(url: str, sizes: list[int]) -> list[str]:
    text = (files.get_bytes(files.join(url, "bag-info.txt")) or b"").decode(errors="replace")
    told = next((line.partition(":")[2].strip() for line in text.splitlines() if line.lower().startswith("payload-oxum:")), "nothing")
    have = f"{sum(sizes)}.{len(sizes)}"
    return [] if told == have else [f"bag-info.txt: Payload-Oxum is {told}, the payload is {have}"]
