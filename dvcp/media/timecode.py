"""What becomes of a start timecode (SMPTE ST 12-1) in a container."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Literal

#: as FFmpeg reads one: any character but a colon before the frames means that numbers are dropped
TIMECODE = re.compile(r"(\d+):(\d+):(\d+)(\D)(\d+)")


def timecode_fate(timecode: str, rate: Fraction, container: str) -> tuple[Literal["kept", "changed", "refused"], str]:
    """Outcome, and a few words why. Matroska keeps the text; MOV and MP4 the number of the frame, and whether numbers are dropped.

    Args:
        timecode: ``hh:mm:ss:ff``, with ``;`` before the frames where numbers are dropped.
        rate: frames per second.
        container: FFmpeg's muxer.
    """
    if container == "matroska":
        return "kept", timecode
    found, fps = TIMECODE.fullmatch(timecode), round(rate)
    if found is None or fps < 1:
        return "refused", f"{timecode!r} is none that {container} can count"
    minutes, seconds, frames = (int(found[k]) for k in (2, 3, 5))
    drop = found[4] != ":"
    if drop and fps % 30:
        return "refused", f"{timecode} drops numbers, which only 30 and 60 frames a second do"
    dropped = drop and seconds == 0 and minutes % 10 and frames < fps // 15
    written = re.fullmatch(r"\d\d:\d\d:\d\d[:;]\d\d", timecode)
    if written and minutes < 60 and seconds < 60 and frames < fps and not dropped:
        return "kept", timecode
    return "changed", f"{timecode} is written as the number of the frame it means"
