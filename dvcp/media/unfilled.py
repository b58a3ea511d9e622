"""FFV1 pictures that the data do not fill, as when a damaged header announces them larger than they were made.

The stream itself carries no size, and FFmpeg's decoder stops at the end of each slice's data without a word: what is left is whatever the
memory held before, that is parts of earlier pictures, or is painted over with the picture before. Such a film decodes to other samples
each time.
"""

from __future__ import annotations

import hashlib
from itertools import islice

import av
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from dvcp.media.ffv1 import has_checksums, slices_sound
from dvcp.media.pixels import plane_view
from dvcp.media.probe import VideoInfo, video_stream
from dvcp.media.source import open_input

#: frames tried
TRIED = 8


def unfilled(info: VideoInfo) -> bool:
    """True when the first frames of an FFV1 film are other pictures in memory of their own than one after the other.

    A few frames are decoded twice. False too for other codecs, and where they cannot tell: without checksums it may be damage as well as a
    wrong size; fewer than three frames, some of them no key frames or damaged, or a size so little too large that they happen to be the
    same.

    Raises:
        MediaError: the film cannot be read.
    """
    if info.codec != "ffv1":
        return False
    with open_input(info.url) as container:
        stream = video_stream(container, info.url)
        packets = list(islice((p for p in container.demux(stream) if p.size), TRIED))
        if not has_checksums(stream.codec_context.extradata) or not all(p.is_keyframe and slices_sound(bytes(p)) for p in packets):
            return False
        try:
            in_turn = _digests(_decoder(stream), packets, info.colour.depth)
            alone = [digest for packet in packets for digest in _digests(_decoder(stream), [packet], info.colour.depth)]
        except av.error.FFmpegError:
            return False
    return in_turn != alone


def _decoder(stream: VideoStream) -> VideoCodecContext:
    told = stream.codec_context
    made = VideoCodecContext.create(told.codec, "r")
    assert isinstance(made, VideoCodecContext)
    made.extradata, made.width, made.height = told.extradata, told.width, told.height
    made.thread_count = 1  # with more, who gets whose memory is left to chance
    return made


def _digests(decoder: VideoCodecContext, packets: list[Packet[VideoStream]], depth: int) -> list[bytes]:
    """One of each frame. No frame is kept: its memory is to be used again."""
    return [_digest(frame, depth) for packet in packets for frame in decoder.decode(packet)]


def _digest(frame: VideoFrame, depth: int) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for plane in range(len(frame.planes)):
        digest.update(plane_view(frame, plane, depth).tobytes())
    return digest.digest()
