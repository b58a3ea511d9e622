"""``<film>.sequence.json`` beside a wrapped film, and the tags inside it: which picture every frame was, and what the headers said."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from dvcp.errors import StoreError
from dvcp.media.gray import Origin
from dvcp.media.picture import SourcePicture
from dvcp.media.sequence import PictureSequence
from dvcp.store import files

FORMAT = "dvcp sequence 1"
#: tags of the container, by which numbers survive without the sidecar
PATTERN, FIRST, RATE = "DVCP_SEQUENCE", "DVCP_SEQUENCE_FIRST", "DVCP_SEQUENCE_RATE"
DPX_TRANSFER, DPX_COLORIMETRIC = "DVCP_DPX_TRANSFER", "DVCP_DPX_COLORIMETRIC"


@dataclass(frozen=True)
class Asked:
    """What decides the film besides its pictures: rate ("24000/1001"), start timecode, computed luma, sha256 of the sound's packets."""

    rate: str
    timecode: str | None
    luma: str | None
    sound: tuple[str, ...]


@dataclass(frozen=True)
class PictureRecord:
    """One picture: its number, file name, sha256 (hex) of the file, where its luma comes from, and its header as JSON types."""

    number: int
    file: str
    sha256: str
    origin: Origin
    header: dict[str, Any]


@dataclass(frozen=True)
class Sidecar:
    """All of the sidecar.

    Attributes:
        pattern, notation, missing: in fileseq's notation.
        padding: digits at least.
        width, height, depth, limited: of every picture.
        asked: how they were wrapped.
        film, film_sha256: name and digest of the film.
        pictures: in order. In the file headers hold only what differs from the first one's.
    """

    pattern: str
    notation: str
    missing: str
    padding: int
    width: int
    height: int
    depth: int
    limited: bool
    asked: Asked
    film: str
    film_sha256: str
    pictures: tuple[PictureRecord, ...]

    @property
    def first(self) -> int:
        """Number of the first picture."""
        return self.pictures[0].number

    def origins(self) -> dict[str, int]:
        """Pictures by where their luma comes from."""
        return {origin.value: count for origin, count in Counter(p.origin for p in self.pictures).items()}

    def to_bytes(self) -> bytes:
        """JSON, UTF-8."""
        common = self.pictures[0].header
        data = asdict(self) | {
            "format": FORMAT,
            "first": self.first,
            "last": self.pictures[-1].number,
            "frames": len(self.pictures),
            "luma": self.origins(),
            "luma_is_original": Origin.COMPUTED not in {p.origin for p in self.pictures},
            "luma_rounding": "to nearest, halves to even, at the depth of the pictures" if self.asked.luma else None,
            "proof": "every frame was read back from the film and compared with its picture: 0 differing samples",
            "header": common,
            "pictures": [
                asdict(p) | {"header": {k: v for k, v in p.header.items() if common.get(k) != v}} for p in self.pictures
            ],
        }  # fmt: skip
        return json.dumps(data, indent=1, ensure_ascii=False).encode()


def url_beside(film_url: str) -> str:
    """``reel.sequence.json`` for ``reel.mkv``."""
    return os.path.splitext(film_url)[0] + ".sequence.json"


def tags(sequence: PictureSequence, rate: Fraction, header: dict[str, Any]) -> dict[str, str]:
    """Tags of the film's container."""
    found = {PATTERN: sequence.pattern, FIRST: str(sequence.numbers[0]), RATE: str(rate)}
    codes = {DPX_TRANSFER: header.get("transfer"), DPX_COLORIMETRIC: header.get("colorimetric")}
    return found | {name: str(code) for name, code in codes.items() if code is not None}


def told(
    sequence: PictureSequence, asked: Asked, first: SourcePicture, pictures: tuple[PictureRecord, ...], film: str, film_sha256: str
) -> Sidecar:
    """The sidecar of a film that holds ``pictures``."""
    height, width = first.samples.shape[:2]
    return Sidecar(
        sequence.pattern, sequence.notation, sequence.gaps, sequence.padding, width, height, first.depth, first.limited, asked, film,
        film_sha256, pictures,
    )  # fmt: skip


def read(url: str) -> Sidecar | None:
    """The sidecar at ``url``, None when there is none.

    Raises:
        StoreError: it is something else, or damaged.
    """
    data = files.get_bytes(url)
    if data is None:
        return None
    try:
        found = json.loads(data)
        common = found["header"]
        pictures = tuple(
            PictureRecord(p["number"], p["file"], p["sha256"], Origin(p["origin"]), common | p["header"]) for p in found["pictures"]
        )
        asked = Asked(**(found["asked"] | {"sound": tuple(found["asked"]["sound"])}))
        plain = {k: found[k] for k in ("pattern", "notation", "missing", "padding", "width", "height", "depth", "limited")}
        return Sidecar(**plain, asked=asked, film=found["film"], film_sha256=found["film_sha256"], pictures=pictures)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError("is no sidecar of dvcp wrap", file=url, hint="restore it or remove it") from error
