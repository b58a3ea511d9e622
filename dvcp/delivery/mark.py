"""The mark that says: these colours were never photographed. In every delivered file's own metadata, and as a file beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dvcp import __version__

#: IPTC's term for pictures in which something synthetic was put to something photographed
DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
SOFTWARE = f"dvcp {__version__}"
STATEMENT = "The colours of this film are synthetic. They were computed and are no record of what stood before the camera."


@dataclass(frozen=True)
class Mark:
    """What the mark tells.

    Attributes:
        source: sha256 (hex) of the file whose luma this film carries.
        recipe: :func:`recipe` of the segments the colours were made in; binds a film to its provenance.
        software: name and version that made the colours.
    """

    source: str
    recipe: str
    software: str = SOFTWARE

    def tags(self) -> dict[str, str]:
        """As container metadata; none of the keys has a meaning of its own in any container, so nothing of the source's is replaced."""
        return {
            "COLOUR_SYNTHETIC": "yes",
            "DIGITAL_SOURCE_TYPE": DIGITAL_SOURCE_TYPE,
            "COLOUR_SOURCE_SHA256": self.source,
            "COLOUR_RECIPE_SHA256": self.recipe,
            "COLOUR_SOFTWARE": self.software,
        }

    def to_json(self, name: str, sha256: str, size: int, profile: str, master: str) -> dict[str, Any]:
        """The sidecar of the file ``name``, made from the master with the digest ``master``."""
        described = {"file": name, "sha256": sha256, "bytes": size, "profile": profile, "master_sha256": master}
        return {"statement": STATEMENT} | described | {key.lower(): value for key, value in self.tags().items()}


def read_mark(metadata: Mapping[str, Any]) -> Mark | None:
    """The mark in a container's metadata, or in a sidecar; None where there is none or a part of it is missing."""
    found = {key.upper(): value for key, value in metadata.items()}
    if (found.get("COLOUR_SYNTHETIC"), found.get("DIGITAL_SOURCE_TYPE")) != ("yes", DIGITAL_SOURCE_TYPE):
        return None
    parts = [found.get(key) for key in ("COLOUR_SOURCE_SHA256", "COLOUR_RECIPE_SHA256", "COLOUR_SOFTWARE")]
    return Mark(*parts) if all(parts) else None  # type: ignore[arg-type]  # none of them is None here


def recipe(keys: Iterable[str]) -> str:
    """sha256 (hex) of the ledger keys of all segments in film order, one a line."""
    return hashlib.sha256("".join(f"{key}\n" for key in keys).encode()).hexdigest()
