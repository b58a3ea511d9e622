"""Small films of every kind: pictures encoded by PyAV, put together by ffmpeg's own program, and by no code that they test."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np

from dvcp.media.pixels import plane_view

FRAMES = 4
DEPTHS = (8, 10, 12, 16)
GRIDS = ("gray", "420", "422", "444")
ASS = """[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,20

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:00.04,0:00:00.12,Default,,0,0,0,,{\\b1}Evening
"""
SRT = "1\n00:00:00,040 --> 00:00:00,120\nGood evening.\n\n"
METADATA = """;FFMETADATA1
title=Reel 4
ARCHIVE_ID=1931/12
comment=käse
[CHAPTER]
TIMEBASE=1/1000
START=0
END=80
title=Titles
[CHAPTER]
TIMEBASE=1/1000
START=80
END=160
title=Harbour
"""


@dataclass(frozen=True)
class Reel:
    """One kind of source.

    Attributes:
        name: of its files.
        suffix: of the container.
        size: width and height.
        rate: frames per second.
        tags: attributes of the encoder: CICP codes of matrix, range, primaries, transfer, and the field order.
        aspect: of a sample.
        audio: a codec a track.
        text: files of subtitles.
        beside: further options of the muxing step.
        clock: PTS in 1/90000 s, for variable frame rate; such a film has nothing beside.
        rotation: options of ``-display_*`` before the film.
        codec: of the pictures.
        depths, grids: made with each of these.
    """

    name: str
    suffix: str = "mkv"
    size: tuple[int, int] = (64, 48)
    rate: Fraction = Fraction(25)
    tags: tuple[tuple[str, int], ...] = ()
    aspect: Fraction = Fraction(1)
    audio: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    clock: tuple[int, ...] = ()
    rotation: tuple[str, ...] = ()
    codec: str = "ffv1"
    depths: tuple[int, ...] = DEPTHS
    grids: tuple[str, ...] = ("420",)


def tagged(matrix: int, primaries: int, transfer: int, full: bool, order: int) -> tuple[tuple[str, int], ...]:
    """Encoder attributes: CICP codes (ITU-T H.273), range and AVFieldOrder (1 progressive, 2 tt, 3 bb, 4 tb, 5 bt)."""
    codes = (("colorspace", matrix), ("color_primaries", primaries), ("color_trc", transfer))
    return (*codes, ("color_range", 2 if full else 1), ("field_order", order))


ATTACHED = ("-attach", "note.txt", "-metadata:s:t:0", "mimetype=text/plain")
ATTACHED += ("-attach", "cover.jpg", "-metadata:s:t:1", "mimetype=image/jpeg")
NTSC = Fraction(30000, 1001)
REELS = (
    Reel(
        "pal", tags=tagged(5, 5, 5, False, 2), aspect=Fraction(16, 15), audio=("pcm_s16le",), text=("a.srt",), grids=GRIDS,
        beside=("-metadata:s:v", "timecode=10:00:00:00", "-metadata:s:a:0", "language=ger", "-metadata:s:a:0", "title=Ton"),
    ),
    Reel(
        "ntsc", size=(64, 50), rate=NTSC, tags=tagged(6, 6, 6, True, 3), aspect=Fraction(10, 11), audio=("pcm_s24le", "flac"),
        text=("a.ass", "a.srt"), rotation=("-display_rotation", "90"),
        beside=(
            "-metadata:s:v", "timecode=01:02:03;04", "-metadata:s:v", "SCANNER=Arri", "-metadata:s:a:0", "language=eng",
            "-metadata:s:a:1", "language=fre", "-disposition:a:0", "default", "-disposition:a:1", "comment", *ATTACHED,
        ),
    ),
    Reel(
        "scan", size=(47, 33), rate=Fraction(24), tags=(("field_order", 1),), audio=("aac",), rotation=("-display_hflip",),
        beside=("-metadata:s:a:0", "language=deu"),
    ),
    Reel("clock", "nut", clock=(0, 4001, 16002, 36003)),
    Reel("tape", tags=tagged(1, 1, 1, False, 4), beside=("-metadata:s:v", "timecode=10:00:00;00")),
    Reel("disc", tags=tagged(9, 9, 14, False, 5), aspect=Fraction(4320, 4739), beside=("-metadata:s:v", "timecode=10:00:00:30")),
    Reel(
        "phone", "mp4", tags=tagged(1, 1, 1, False, 1), audio=("aac", "aac"), text=("a.srt",), rotation=("-display_rotation", "180"),
        codec="libx264", depths=(8, 10), beside=("-metadata:s:s:0", "language=ger", "-movflags", "use_metadata_tags"),
    ),
)  # fmt: skip


def pix_fmt(grid: str, depth: int) -> str:
    """FFmpeg's name of a pixel format."""
    name = "gray" if grid == "gray" else f"yuv{grid}p"
    return name if depth == 8 else f"{name}{depth}le"


def make_reel(reel: Reel, grid: str, depth: int, folder: Path) -> str:
    """The film, with noise for pictures and sound; returns its path."""
    path = folder / f"{reel.name}-{grid}-{depth}.{reel.suffix}"
    if reel.clock:
        _encode(reel, pix_fmt(grid, depth), depth, path)
        return str(path)
    _encode(reel, pix_fmt(grid, depth), depth, folder / "pictures.mkv")
    shape = reel.aspect * Fraction(*reel.size)
    beside = [*reel.audio, *reel.text]
    inputs = [*reel.rotation, "-i", "pictures.mkv", "-i", "meta.txt"]
    for name in beside:
        inputs += ["-i", name] if name in reel.text else ["-f", "s16le", "-ar", "48000", "-ac", "2", "-i", "sound.raw"]
    maps = [option for k in range(2, 2 + len(beside)) for option in ("-map", str(k))]
    codecs = [option for k, name in enumerate(reel.audio) for option in (f"-c:a:{k}", name)]
    codecs += ["-c:s", "mov_text" if reel.suffix == "mp4" else "copy"] if reel.text else []
    kept = ["-c:v", "copy", "-aspect", f"{shape.numerator}:{shape.denominator}", *codecs]
    _ffmpeg([*inputs, "-map", "0", *maps, "-map_metadata", "1", "-map_chapters", "1", *kept, *reel.beside, str(path)], folder)
    return str(path)


def _encode(reel: Reel, name: str, depth: int, path: Path) -> None:
    rng = np.random.default_rng(depth)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(reel.codec, rate=reel.rate, options={"bf": "0"} if reel.codec == "libx264" else {"level": "3"})
        (stream.width, stream.height), stream.pix_fmt = reel.size, name
        stream.codec_context.time_base = Fraction(1, 90000) if reel.clock else 1 / reel.rate
        for key, value in reel.tags:
            setattr(stream.codec_context, key, value)
        for k in range(FRAMES):
            frame = av.VideoFrame(*reel.size, name)
            for index in range(len(frame.planes)):
                plane = plane_view(frame, index, depth)
                plane[:] = rng.integers(0, 1 << depth, plane.shape)
            frame.pts, frame.time_base = reel.clock[k] if reel.clock else k, stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def prepare(folder: Path) -> None:
    """The files that go into reels: sound, subtitles, chapters, attachments."""
    for name, text in (("a.ass", ASS), ("a.srt", SRT), ("meta.txt", METADATA), ("note.txt", "from the can\n")):
        (folder / name).write_text(text, encoding="utf-8")
    noise = np.random.default_rng(1).integers(-3000, 3000, 48000 * 2 * FRAMES // 25)
    (folder / "sound.raw").write_bytes(noise.astype("<i2").tobytes())
    _ffmpeg(["-f", "lavfi", "-i", "testsrc=s=32x32", "-frames:v", "1", "cover.jpg"], folder)


def _ffmpeg(arguments: list[str], folder: Path) -> None:
    program = imageio_ffmpeg.get_ffmpeg_exe()
    done = subprocess.run([program, "-v", "error", "-y", *arguments], cwd=folder, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
