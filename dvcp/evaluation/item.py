"""What is measured at a time, one clip with one method, and the file it is kept in so that an interrupted evaluation goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol, Self, TypeVar

from dvcp.evaluation.painted import Painted
from dvcp.store import files

#: raised whenever a metric or the way results are read changes, so that older items are measured again
PROTOCOL = 4
#: the slope over fewer frames says nothing of a hundred
DRIFT_FRAMES = 10
PER_FRAME = ("psnr_lab", "psnr_rgb", "delta_e2000", "l2_ab", "colourfulness", "colourfulness_truth")


class Kept(Protocol):
    """A measurement that lies in a file of its own, named by what decides its scores."""

    @property
    def stem(self) -> str:
        """File name without extension."""
        ...

    def to_bytes(self) -> bytes:
        """The file's content."""
        ...

    @classmethod
    def from_bytes(cls, data: bytes, key: str) -> Self | None:
        """Inverse of :meth:`to_bytes`; None when the file is damaged or is of another key."""
        ...


AnyKept = TypeVar("AnyKept", bound=Kept)


@dataclass(frozen=True)
class Item:
    """Scores of one method on one clip.

    Attributes:
        clip: file name.
        clip_digest: sha256 (hex) of the file.
        method: name it was asked for by.
        method_digest: of method, configuration and weights.
        frames: frames to measure that were asked for; a short clip has fewer.
        width, height: of the picture.
        per_frame: a list for each name in PER_FRAME, element 0 for the first frame measured.
        cdc, cdc_truth: colour distribution consistency of the result and of the true film; None for a single frame.
        warp_error, warp_error_soft: over visible pixels and softly masked, with the true film's own; None for a single frame.
        flicker: change of a*b* along the motion, with the true film's own; None for a single frame.
        ssim: structural similarity, mean over the first and every tenth frame; None where scikit-image is not installed.
        seconds: wall time of the colouring.
        weights: sha256 (hex) of the method's weights file; None for one without networks.
        painted: frames that were given in colour.
    """

    clip: str
    clip_digest: str
    method: str
    method_digest: str
    frames: int
    width: int
    height: int
    per_frame: Mapping[str, list[float]]
    cdc: float | None
    cdc_truth: float | None
    warp_error: float | None
    warp_error_truth: float | None
    warp_error_soft: float | None
    warp_error_soft_truth: float | None
    flicker: float | None
    flicker_truth: float | None
    ssim: float | None
    seconds: float
    weights: str | None = None
    painted: Painted = Painted.FIRST

    def __len__(self) -> int:
        """Frames measured."""
        return len(self.per_frame["psnr_lab"])

    def mean(self, name: str, first: int | None = None) -> float:
        """Mean of a per-frame score over all frames, or the first ``first`` of them (or what a shorter clip has of those)."""
        values = self.per_frame[name][:first]
        return sum(values) / len(values)

    @property
    def drift(self) -> float | None:
        """Slope of PSNR-Lab over the frames, dB per 100 (least squares); None for fewer than DRIFT_FRAMES."""
        values = self.per_frame["psnr_lab"]
        if len(values) < DRIFT_FRAMES:
            return None
        middle, mean = (len(values) - 1) / 2, self.mean("psnr_lab")
        spread = sum((k - middle) ** 2 for k in range(len(values)))
        return 100 * sum((k - middle) * (v - mean) for k, v in enumerate(values)) / spread

    @property
    def key(self) -> str:
        """sha256 (hex) of everything that decides the scores."""
        return clip_key(self.clip_digest, self.method_digest, self.frames, self.painted)

    @property
    def stem(self) -> str:
        """Name of its files, without extension."""
        return item_name(self.clip, self.method, self.key)

    def to_bytes(self) -> bytes:
        """JSON of all fields and the key."""
        return to_json_bytes(self, self.key)

    @classmethod
    def from_bytes(cls, data: bytes, key: str) -> Item | None:
        """Inverse of :meth:`to_bytes`; None when the file is damaged or is of another key."""
        fields = fields_of(data, key)
        try:
            if fields is None or not all(fields["per_frame"][name] for name in PER_FRAME):
                return None
            return cls(**fields | {"painted": Painted(fields.get("painted", Painted.FIRST))})
        except (KeyError, TypeError, ValueError):
            return None


def to_json_bytes(item: Any, key: str) -> bytes:
    """JSON of all fields of a dataclass and its key."""
    return json.dumps({"key": key} | asdict(item), indent=1, allow_nan=False).encode()


def fields_of(data: bytes, key: str) -> dict[str, Any] | None:
    """The fields :func:`to_json_bytes` wrote; None when the file is damaged or is of another key."""
    try:
        fields: dict[str, Any] = json.loads(data)
        return fields if fields.pop("key") == key else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def kept_item(kind: type[AnyKept], out: str, stem: str, key: str) -> AnyKept | None:
    """What an earlier evaluation left in the folder ``out``; None when it must be measured, also when its strip is missing."""
    data = files.get_bytes(_item_url(out, stem))
    item = kind.from_bytes(data, key) if data is not None else None
    return item if item is not None and files.exists(strip_url(out, stem)) else None


def put_item(item: Kept, out: str) -> None:
    """Keep a measurement in the folder ``out``. Raises StoreError."""
    files.put_bytes(item.to_bytes(), _item_url(out, item.stem))


def strip_url(out: str, stem: str) -> str:
    """Where the strip of an item lies."""
    return files.join(out, "items", f"{stem}.png")


def _item_url(out: str, stem: str) -> str:
    return files.join(out, "items", f"{stem}.json")


def item_key(*parts: str | int | None) -> str:
    """sha256 (hex) of everything that decides the scores besides the protocol: of clips, method, settings."""
    return hashlib.sha256(json.dumps([PROTOCOL, *parts]).encode()).hexdigest()


def clip_key(clip: str, method: str, frames: int, painted: Painted) -> str:
    """:func:`item_key` of an :class:`Item`: digests of clip and method, frames asked for, frames painted."""
    # A painted first frame is the rule and goes without saying, so that measurements made before there were others stay good.
    return item_key(clip, method, frames, *(() if painted is Painted.FIRST else (painted,)))


def item_name(clip: str, method: str, key: str) -> str:
    """File name of an item, without extension: readable, and unlike that of any other clip, method or setting."""
    return f"{clip}.{method}.{key[:16]}"
