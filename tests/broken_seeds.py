"""Sound films to be damaged: small, of many makes, with moving pictures."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from tests.unit.media_clips import make_film, packet_places, ramp

#: otherwise Matroska and MXF write random numbers and the time of day
EXACT = {"fflags": "+bitexact"}


class Seeds:
    """Films of 12 frames, 64x48 where the format has a choice, made once each in ``folder``."""

    FRAMES = 12
    KINDS: dict[str, dict[str, Any]] = {  # noqa: RUF012 - never changed
        "ffv1.mkv": {"options": {"level": "3", "slicecrc": "1", "g": "1"}},
        "large.mkv": {"options": {"level": "3", "slicecrc": "1", "g": "1"}, "size": (256, 320)},
        "bare.mkv": {"options": {"level": "3", "slicecrc": "0", "g": "1"}},
        "h264.mkv": {"codec": "libx264", "options": {"g": "4", "bf": "2"}},
        "h264.mp4": {"codec": "libx264", "options": {"g": "4", "bf": "0"}},
        "fast.mp4": {"codec": "libx264", "options": {"g": "4", "bf": "0"}, "container_options": {"movflags": "faststart"}},
        "h264.ts": {"codec": "libx264", "options": {"g": "4", "bf": "0"}},
        "h264.avi": {"codec": "libx264", "options": {"g": "4", "bf": "2"}},
        "h264.h264": {"codec": "libx264", "options": {"g": "4", "bf": "2"}},
        "mpeg2.ts": {"codec": "mpeg2video", "options": {"g": "4"}},
        "prores.mov": {"codec": "prores_ks", "pix_fmt": "yuv422p10le"},
        "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
        "raw.avi": {"codec": "rawvideo"},
        "mpeg2.mxf": {"codec": "mpeg2video", "options": {"g": "4"}},
        "dv.dv": {"codec": "dvvideo", "pix_fmt": "yuv411p", "size": (480, 720), "timebase": Fraction(1001, 30000)},
    }

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, kind: str) -> str:
        path = self.folder / kind
        if not path.exists():
            how = dict(self.KINDS[kind])
            size = how.pop("size", (48, 64))
            luma = ramp(self.FRAMES if size == (48, 64) else 4, *size)
            how["container_options"] = EXACT | how.get("container_options", {})
            make_film(path, luma.astype(np.uint16) * 4 if "10" in how.get("pix_fmt", "") else luma, **how)
        return str(path)

    def bytes(self, kind: str) -> bytes:
        return Path(self.path(kind)).read_bytes()

    def packets(self, kind: str) -> list[tuple[int, int]]:
        return packet_places(self.path(kind))
