"""What a file holds, found by demuxing: the clock of every frame, the colour tags, the other tracks."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from dvcp.colour import ColourSpec, Matrix
from dvcp.errors import MediaError
from dvcp.media.pixels import ACCEPTED, PixelLayout, layout_of
from dvcp.media.rotation import Turn, turn_of
from dvcp.media.source import open_input
from dvcp.media.tracks import AudioInfo, Chapter, TextInfo, audio_of, chapters_of, is_cover, others_of, own_tags, texts_of
from dvcp.pulse import pulse
from dvcp.timing import FrameTable

#: AVFieldOrder
FIELD_ORDERS = ("unknown", "progressive", "tt", "bb", "tb", "bt")
INTERLACED = FIELD_ORDERS[2:]
#: orders in which the bottom field is of the earlier moment
BOTTOM_FIRST = ("bb", "bt")
#: CICP matrix codes (ITU-T H.273) we can compute with; 4 (FCC) differs from BT.601 by less than one 8-bit code
MATRICES: dict[int, Matrix] = {1: "bt709", 4: "bt601", 5: "bt601", 6: "bt601", 9: "bt2020"}
UNSPECIFIED = 2
FULL_RANGE, LIMITED_RANGE = 2, 1


@dataclass(frozen=True, eq=False)
class VideoInfo:
    """One film: its first video stream and what lies beside it. Picklable.

    Attributes:
        url: where it was probed.
        container, codec, pix_fmt: FFmpeg's names.
        width, height: of the stored picture, in samples.
        colour: how samples map to light; for a gray source the chroma grid is that of the output (4:2:0).
        gray: True when the source has no chroma planes.
        sample_aspect: width of a sample over its height (1 when unknown).
        frames: the PTS of every frame.
        counted: True when packets carry no usable PTS, so frames are found by counting from the start of the file.
        average_rate: mean frames per second, exact; never used to place a frame.
        field_order: one of FIELD_ORDERS.
        announced_frames: what the container claims to hold; more than ``len(frames)`` means the file is truncated.
        timecode: of the first frame, or None.
        audio, subtitles: tracks in file order.
        metadata: the container's own.
        matrix_tag: CICP code of the matrix as tagged, 2 when the stream carries none; ``colour.matrix`` is what it means.
        range_tagged: whether the stream says its range.
        turn: how players turn the picture.
        chapters: marks in file order.
        tags: what the video track says of itself besides its language.
        others: a line for each stream that is none of the above: attachments, cover art, data.
        damaged: numbers of the frames that cannot be decoded, rising; empty until :func:`dvcp.shots.survey.survey` has found them. They
            are read, and delivered, as plain gray.
    """

    url: str
    container: str
    codec: str
    pix_fmt: str
    width: int
    height: int
    colour: ColourSpec
    gray: bool
    sample_aspect: Fraction
    frames: FrameTable
    counted: bool
    average_rate: Fraction
    field_order: str
    announced_frames: int
    timecode: str | None
    audio: tuple[AudioInfo, ...]
    subtitles: tuple[TextInfo, ...]
    metadata: dict[str, str]
    matrix_tag: int
    range_tagged: bool
    turn: Turn
    chapters: tuple[Chapter, ...]
    tags: tuple[tuple[str, str], ...]
    others: tuple[str, ...]
    damaged: tuple[int, ...] = ()

    @property
    def vfr(self) -> bool:
        """True when frame durations differ by more than the rounding of the timebase."""
        steps = np.diff(self.frames.pts)
        return bool(len(steps)) and int(steps.max() - steps.min()) > 1

    @property
    def rotation(self) -> int:
        """Degrees counterclockwise that players turn the picture, -180 to 180; 0 for nearly every film."""
        return self.turn.rotation

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON types; of the frame table only count, first and last PTS, timebase and whether it is VFR."""
        pts = self.frames.pts
        plain = {name: getattr(self, name) for name in ("url", "container", "codec", "pix_fmt", "width", "height", "gray", "counted")}
        return plain | {
            "colour": asdict(self.colour) | {"subsample": list(self.colour.subsample)},
            "sample_aspect": str(self.sample_aspect),
            "frames": len(pts),
            "first_pts": int(pts[0]),
            "last_pts": int(pts[-1]),
            "timebase": str(self.frames.timebase),
            "vfr": self.vfr,
            "average_rate": str(self.average_rate),
            "field_order": self.field_order,
            "announced_frames": self.announced_frames,
            "timecode": self.timecode,
            "rotation": self.rotation,
            "mirrored": self.turn.mirrored,
            "matrix_tag": self.matrix_tag,
            "range_tagged": self.range_tagged,
            "audio": [_track_json(track) for track in self.audio],
            "subtitles": [_track_json(track) for track in self.subtitles],
            "chapters": [{"start": str(mark.start), "end": str(mark.end), "title": mark.title} for mark in self.chapters],
            "metadata": dict(self.metadata),
            "tags": dict(self.tags),
            "others": list(self.others),
        }


def _track_json(track: AudioInfo | TextInfo) -> dict[str, Any]:
    return asdict(track) | {"disposition": list(track.disposition), "tags": dict(track.tags)}


def probe(url: str) -> VideoInfo:
    """Read everything about a film but its pictures; packets are demuxed, not decoded, unless they carry no usable PTS, except the
    first frame, which alone tells how the picture is turned.

    Raises:
        MediaError: unreadable, no video, no frames, or a pixel format whose luma cannot be kept.
    """
    with open_input(url) as container:
        stream = video_stream(container, url)
        context = stream.codec_context
        layout = _layout(stream, url)
        if not context.width or not context.height:
            raise MediaError("the video stream has no picture size", file=url, hint="it is truncated or damaged")
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        facts: dict[str, Any] = {
            "container": container.format.name,
            "codec": context.name,
            "pix_fmt": context.pix_fmt,
            "width": context.width,
            "height": context.height,
            "colour": _colour(stream, layout, url),
            "gray": layout.gray,
            "field_order": FIELD_ORDERS[context.field_order] if context.field_order < len(FIELD_ORDERS) else "unknown",
            "sample_aspect": stream.sample_aspect_ratio or Fraction(1),
            "average_rate": rate,
            "timecode": _timecode(container),
            "audio": audio_of(container),
            "subtitles": texts_of(container),
            "metadata": dict(container.metadata),
            "matrix_tag": context.colorspace,
            "range_tagged": context.color_range in (FULL_RANGE, LIMITED_RANGE) or layout.jpeg,
            "chapters": chapters_of(container),
            "tags": own_tags(stream),
            "others": others_of(container, stream),
        }
        announced = stream.frames or _tagged_frames(stream, rate)
        # AVI keeps no PTS, and those FFmpeg makes up for reordered frames follow the wrong order
        table = None if container.format.name == "avi" and context.reorder_depth else _demuxed_table(container, stream)
    with open_input(url) as container:
        facts["turn"] = turn_of(container, video_stream(container, url))
    counted = table is None
    if table is None:
        table = _decoded_table(url, rate)
    if facts["field_order"] == "unknown" and facts["codec"] == "dvvideo":
        facts["field_order"] = "bb"  # FFmpeg tells it frame by frame only; DV has the lower field first in both line standards (IEC 61834)
    if not len(table):
        raise MediaError("has a video stream but no frames", file=url, hint="it is truncated or damaged")
    told = facts["average_rate"] / table.rate()
    if len(table) > 1 and not Fraction(1, 2) < told < 2:
        facts["average_rate"] = table.rate().limit_denominator(1001)  # raw DV says that its clock's ticks are its frames
    return VideoInfo(url=url, frames=table, counted=counted, announced_frames=announced or len(table), **facts)


def probe_colour(url: str, use: str = "to learn from") -> VideoInfo:
    """:func:`probe` a film whose true colour is wanted, ``use`` says what for. Raises MediaError, also when it has none."""
    info = probe(url)
    if info.gray:
        raise MediaError(f"has no colour {use}", file=url, hint="give colour films")
    return info


def video_stream(container: InputContainer, url: str) -> VideoStream:
    """The first video stream that is a film and not cover art. Raises MediaError when there is none or no decoder for it."""
    films = [s for s in container.streams.video if not is_cover(s)]
    if not films:
        raise MediaError("holds no video stream", file=url, hint="audio alone cannot be coloured")
    if films[0].codec_context is None:
        raise MediaError("has video of an unknown codec", file=url, hint="convert it with ffmpeg first")
    return films[0]


def _layout(stream: VideoStream, url: str) -> PixelLayout:
    pix_fmt = stream.codec_context.pix_fmt
    if not pix_fmt:
        raise MediaError("no picture can be found in its video stream", file=url, hint="it is cut off or damaged; try another copy")
    layout = layout_of(pix_fmt)
    if layout is None:
        hint = f"works with {ACCEPTED}; convert with: ffmpeg -i IN -pix_fmt yuv420p OUT (yuv422p10le and so on for more depth)"
        raise MediaError(f"pixel format {pix_fmt} has no luma plane that can be kept", file=url, hint=hint)
    return layout


def _colour(stream: VideoStream, layout: PixelLayout, url: str) -> ColourSpec:
    context = stream.codec_context
    tagged = context.colorspace
    matrix = MATRICES.get(tagged)
    if matrix is None and tagged != UNSPECIFIED:
        raise MediaError(f"colour matrix {tagged} (ITU-T H.273) is not supported", file=url, hint="convert it to BT.709 with ffmpeg")
    full = context.color_range == FULL_RANGE or layout.jpeg
    if layout.gray and context.color_range not in (FULL_RANGE, LIMITED_RANGE):
        full = True  # FFmpeg and the players built on it show untagged gray as full range
    return ColourSpec(
        matrix=matrix or ("bt709" if context.height >= 720 else "bt601"),
        full_range=full,
        depth=layout.depth,
        subsample=layout.subsample,
        primaries=context.color_primaries,
        transfer=context.color_trc,
        assumed=matrix is None,
    )


def _timecode(container: InputContainer) -> str | None:
    # MOV keeps it in a tmcd data stream, Matroska on the video stream, MXF and AVI in the container
    for metadata in [container.metadata, *(s.metadata for s in container.streams)]:
        for key, value in metadata.items():
            if key.lower() == "timecode":
                return value
    return None


def _tagged_frames(stream: VideoStream, rate: Fraction) -> int:
    """Frames announced by Matroska's statistics tags, 0 when it has none (its header carries no count)."""
    tags = {key.upper(): value for key, value in stream.metadata.items()}
    if (count := tags.get("NUMBER_OF_FRAMES", "")).isdigit():
        return int(count)
    try:
        hours, minutes, seconds = tags["DURATION"].split(":")
        end = int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)
    except (KeyError, ValueError):
        return 0
    start = (stream.start_time or 0) * (stream.time_base or Fraction(1))
    return max(0, round((end - start) * rate))


def _demuxed_table(container: InputContainer, stream: VideoStream) -> FrameTable | None:
    """The frame table by packets alone; None when some packet has no PTS or two have the same."""
    pts: list[int] = []
    last, last_duration = -(1 << 63), 0
    for packet in container.demux(stream):
        pulse()
        # `dts is None` must not be the test: with B-frames in Matroska key frames come without DTS
        if packet.size == 0 or packet.is_discard:
            continue
        if packet.pts is None:
            return None
        pts.append(packet.pts)
        if packet.pts > last:
            last, last_duration = packet.pts, packet.duration or 0
    ordered = np.sort(np.array(pts, np.int64))
    if len(ordered) > 1 and not np.diff(ordered).all():
        return None
    timebase = stream.time_base or Fraction(1)
    if not last_duration:
        last_duration = int(np.median(np.diff(ordered))) if len(ordered) > 1 else 1
    return FrameTable(timebase, ordered, max(1, last_duration))


def _decoded_table(url: str, rate: Fraction) -> FrameTable:
    """The frame table by decoding: the decoder's PTS where they increase, otherwise frames counted at the mean rate. A packet that
    cannot be decoded counts as a frame, so that what follows keeps its time; refused where others are lost without a word."""
    with open_input(url) as container:
        stream = video_stream(container, url)
        timebase = stream.time_base or Fraction(1)
        pts: list[int | None] = []
        last_duration = decoded = packets = 0
        for packet in itertools.chain(container.demux(stream), [None]):
            pulse()
            if packet is not None and not packet.size:
                continue
            packets += packet is not None
            try:
                frames = stream.decode(packet)
            except av.error.FFmpegError:
                pts.append(None)
                continue
            decoded += len(frames)
            for frame in frames:
                pts.append(frame.pts)
                last_duration = frame.duration
    if len(pts) > decoded and (not decoded or len(pts) != packets):
        raise MediaError("too much of it cannot be decoded", file=url, hint="the file is damaged; remux or repair it")
    known = np.array([p for p in pts if p is not None], np.int64)
    if len(known) == len(pts) and (np.diff(known) > 0).all():
        step = last_duration or (int(np.median(np.diff(known))) if len(known) > 1 else 1)
        return FrameTable(timebase, known, max(1, step))
    return FrameTable(1 / rate, np.arange(len(pts), dtype=np.int64), 1)
