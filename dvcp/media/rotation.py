"""How players turn a film: the display matrix, which PyAV shows on decoded frames only."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import av
from av.buffer import Buffer
from av.container import InputContainer
from av.sidedata.sidedata import Type
from av.video.stream import VideoStream

#: packets tried for a first frame
TRIED = 16


@dataclass(frozen=True)
class Turn:
    """How players show the picture.

    Attributes:
        rotation: degrees counterclockwise, -180 to 180.
        matrix: FFmpeg's display matrix, nine integers (16.16 fixed point, the last column 2.30); empty when there is none.
    """

    rotation: int = 0
    matrix: tuple[int, ...] = ()

    @property
    def mirrored(self) -> bool:
        """True when players also show left as right."""
        return bool(self.matrix) and self.matrix[0] * self.matrix[4] - self.matrix[1] * self.matrix[3] < 0


def turn_of(container: InputContainer, stream: VideoStream) -> Turn:
    """What the first frame that decodes says; none when none decodes. The container stands at another place afterwards."""
    for count, packet in enumerate(container.demux(stream)):
        try:
            frame = next(iter(stream.decode(packet)), None)
        except av.error.FFmpegError:
            frame = None
        if frame is not None:
            data = cast(Mapping[Type, Buffer], frame.side_data).get(Type.DISPLAYMATRIX)
            return Turn(frame.rotation, struct.unpack("=9i", bytes(data))) if data is not None else Turn()
        if count >= TRIED:
            break
    return Turn()
