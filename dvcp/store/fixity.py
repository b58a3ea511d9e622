"""Digests of files wherever they lie, streamed: memory use does not depend on the size."""

from __future__ import annotations

import hashlib

from dvcp.pulse import pulse
from dvcp.store import files


def sha256_file(path: files.PathLike) -> str:
    """sha256 (hex) of a local file. Raises StoreError when it cannot be read."""
    return sha256_url(str(path))


def sha256_url(url: str) -> str:
    """sha256 (hex) of the content of ``url``. Raises StoreError when it cannot be read."""
    digest = hashlib.sha256()
    for piece in files.read_chunks(url):
        pulse()
        digest.update(piece)
    return digest.hexdigest()
