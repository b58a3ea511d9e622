"""Damaged and odd films, made on the spot and the same each time: what archives hold, and what attackers would put there.

``python -m tests.broken FOLDER`` makes them all.
"""

from __future__ import annotations

import contextlib
import os
import sys
import wave
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np

from tests import broken_pictures
from tests.broken_seeds import EXACT, Seeds
from tests.unit.media_clips import make_film, noise, ramp

Expect = Literal["error", "repaired", "works"]
Build = Callable[[Seeds, Path], object]


@dataclass(frozen=True)
class Broken:
    """One bad file.

    Attributes:
        name: of the case.
        path: of the file.
        about: what is wrong with it, in a few words.
        expect: "error": refused with one line; "repaired": some frames are missing or cannot be decoded, the others are read;
            "works": every frame is read.
        picture: a reference rather than a film.
    """

    name: str
    path: Path
    about: str
    expect: Expect
    picture: bool = False


CASES: list[tuple[str, str, Expect, Build]] = []


def case(name: str, about: str, expect: Expect) -> Callable[[Build], Build]:
    def add(build: Build) -> Build:
        CASES.append((name, about, expect, build))
        return build

    return add


def make_corpus(folder: Path) -> tuple[Broken, ...]:
    """Make every bad file, films and pictures, in ``folder``; equal bytes each time with the same encoders."""
    seeds = Seeds(folder / "seeds")
    for each in (films := folder / "films", pictures := folder / "pictures"):
        each.mkdir(exist_ok=True)
    made = []
    for name, about, expect, build in CASES:
        made.append(Broken(name, films / name, about, expect))
        if not os.path.lexists(films / name):
            content = build(seeds, films / name)
            if isinstance(content, bytes):
                (films / name).write_bytes(content)
    for name, about, expected, content in broken_pictures.pictures():
        (pictures / name).write_bytes(content)
        made.append(Broken(name, pictures / name, about, expected, picture=True))
    return tuple(made)


# Cut off


def cut(name: str, kind: str, where: Callable[[bytes, list[tuple[int, int]]], int], about: str, expect: Expect) -> None:
    case(name, f"cut off {about}", expect)(lambda seeds, path: seeds.bytes(kind)[: where(seeds.bytes(kind), seeds.packets(kind))])


cut("cut-header.mkv", "ffv1.mkv", lambda data, at: 40, "inside the EBML header", "error")
cut("no-frames.mkv", "ffv1.mkv", lambda data, at: data.index(b"\x1f\x43\xb6\x75"), "before the first frame", "error")
cut("cut-tracks.mkv", "ffv1.mkv", lambda data, at: data.index(b"V_FFV1"), "inside the track header", "error")
cut("cut-first-frame.mkv", "h264.mkv", lambda data, at: at[0][0] + at[0][1] // 2, "inside the first key frame", "error")
cut("cut-gop.mkv", "h264.mkv", lambda data, at: at[6][0] + at[6][1] // 2, "inside a group of pictures", "repaired")
cut("cut-last-byte.mkv", "ffv1.mkv", lambda data, at: at[-1][0] + at[-1][1] - 1, "one byte before the end of the last frame", "repaired")
cut("cut-moov.mp4", "h264.mp4", lambda data, at: data.index(b"moov") - 4, "before its index at the end", "error")
cut("cut-in-moov.mov", "prores.mov", lambda data, at: data.index(b"stsz"), "inside its index", "error")
cut("cut-media.mp4", "fast.mp4", lambda data, at: at[5][0] + 3, "in the middle, index at the front", "repaired")
cut("cut-movi.avi", "mjpeg.avi", lambda data, at: at[5][0] + at[5][1] // 2, "in the middle, no index", "repaired")
cut("cut-reordered.avi", "h264.avi", lambda data, at: at[7][0] + at[7][1] // 2, "in the middle, no times", "repaired")
cut("cut-header.avi", "mjpeg.avi", lambda data, at: data.index(b"strf"), "inside the header", "error")
cut("cut-packet.ts", "mpeg2.ts", lambda data, at: len(data) * 2 // 3 + 50, "inside a transport packet", "works")
cut("cut-frame.dv", "dv.dv", lambda data, at: at[2][0] + at[2][1] // 2, "inside a DV frame", "works")
cut("cut-half.mxf", "mpeg2.mxf", lambda data, at: at[6][0] + 10, "before the MXF footer", "works")

# Flipped bits


def flipped(name: str, kind: str, count: int, expect: Expect, packets: range = range(3, 9)) -> None:
    def build(seeds: Seeds, path: Path) -> bytes:
        data, rng = bytearray(seeds.bytes(kind)), np.random.default_rng(count)
        for number in packets:
            position, size = seeds.packets(kind)[number]
            for at in rng.integers(position + size // 8, position + size, count):
                data[at] ^= 1 << rng.integers(8)
        return bytes(data)

    case(name, f"{count} flipped bits in each of {len(packets)} frames of {kind}", expect)(build)


flipped("flips-light-crc.mkv", "ffv1.mkv", 1, "repaired")
flipped("flips-heavy-crc.mkv", "ffv1.mkv", 200, "repaired")
flipped("flips-light.mkv", "bare.mkv", 1, "works")
flipped("flips-heavy.mkv", "bare.mkv", 200, "works")
flipped("flips-light.mp4", "h264.mp4", 1, "repaired")
flipped("flips-heavy.mp4", "h264.mp4", 60, "repaired")
flipped("flips-light.mov", "prores.mov", 2, "repaired")
flipped("flips-heavy.mov", "prores.mov", 300, "repaired")
flipped("flips-heavy.avi", "h264.avi", 60, "repaired")
flipped("flips-heavy.ts", "mpeg2.ts", 100, "repaired")
flipped("only-first-decodes.mkv", "ffv1.mkv", 300, "repaired", range(1, 12))
flipped("none-decodes.mkv", "ffv1.mkv", 300, "repaired", range(12))

# Wrong indexes


def patched(name: str, kind: str, mark: bytes, offset: int, value: bytes, about: str, expect: Expect) -> None:
    """``value`` written ``offset`` bytes after the first ``mark``."""
    def build(seeds: Seeds, path: Path) -> bytes:
        data = bytearray(seeds.bytes(kind))
        at = data.index(mark) + offset
        data[at : at + len(value)] = value
        return bytes(data)

    case(name, about, expect)(build)


patched("stco.mp4", "h264.mp4", b"stco", 12, b"\0\0\x10\0" * 3, "chunks where there are none", "error")
patched("stsz-size.mp4", "h264.mp4", b"stsz", 16, b"\x7f\xff\xff\xf0" * 4, "four frames of 2 GiB each", "error")
patched("stsz-count.mp4", "h264.mp4", b"stsz", 12, b"\x7f\xff\xff\xff", "two thousand million frames announced", "error")
patched("stts.mp4", "h264.mp4", b"stts", 12, b"\x7f\xff\xff\xff\0\0\0\0", "all frames at one time", "repaired")
patched("elst.mp4", "h264.mp4", b"elst", 12, b"\x7f\xff\xff\xff\x7f\xff\xff\xff", "an edit list that shows nothing", "error")
patched("cues.mkv", "h264.mkv", b"\x1c\x53\xbb\x6b", 12, b"\xf1\x7f" * 6, "cues that point elsewhere", "works")
patched("idx1.avi", "mjpeg.avi", b"idx1", 16, b"\xff\xff\xff\x7f" * 12, "an AVI index that points elsewhere", "error")
patched("codec.mkv", "ffv1.mkv", b"V_FFV1", 0, b"V_XXXX", "a codec that nobody knows", "error")
patched("rate.avi", "mjpeg.avi", b"vids", 20, b"\1\0\0\0\xff\xff\xff\x7f", "two thousand million frames a second", "works")
patched("rate-zero.avi", "mjpeg.avi", b"vids", 20, b"\0\0\0\0\0\0\0\0", "a rate of 0/0", "works")
patched("rate-negative.avi", "mjpeg.avi", b"vids", 20, b"\xff\xff\xff\xff\xe7\xff\xff\xff", "a rate of -25/-1", "works")
#: the elements PixelWidth and PixelHeight of large.mkv
SIZE = b"\xb0\x82\x01\x40\xba\x82\x01\x00"
patched("wide.mkv", "large.mkv", b"\xb0\x82\x01\x40", 2, b"\xfd\xe8", "frames announced 65000 wide, with checksums that hold", "works")
patched("huge.mkv", "large.mkv", SIZE, 2, b"\x7d\0\xba\x82\x4e\x20", "frames announced 32000x20000", "error")
patched("colossal.mkv", "large.mkv", SIZE, 2, b"\xfd\xe8\xba\x82\xfd\xe8", "frames announced 65000x65000", "error")
patched("huge.avi", "raw.avi", b"strf", 12, b"\xe8\xfd\0\0\xe8\xfd\0\0", "frames announced 65000x65000", "error")



@case("klv.mxf", "the key of a packet is overwritten: nothing is found by seeking behind it", "works")
def _(seeds: Seeds, path: Path) -> bytes:
    data, packets = bytearray(seeds.bytes("mpeg2.mxf")), seeds.packets("mpeg2.mxf")
    data[packets[4][0] - 422 : packets[4][0] - 406] = b"\xff" * 16
    return bytes(data)


# Times


def timed(name: str, milliseconds: list[int], about: str, expect: Expect, kind: str = "ffv1.mkv") -> None:
    """Matroska blocks of one cluster with these times: two bytes and the flags stand before each block's data."""

    def build(seeds: Seeds, path: Path) -> bytes:
        data = bytearray(seeds.bytes(kind).replace(b"DURATION", b"LOCATION"))  # it says how long the film was
        for (position, _), time in zip(seeds.packets(kind), milliseconds, strict=True):
            at = data.index(b"\x81", position) if data[position] != 0x81 else position
            data[at + 1 : at + 3] = time.to_bytes(2, "big", signed=True)
        return bytes(data)

    case(name, about, expect)(build)


timed("negative.mkv", [40 * k - 200 for k in range(12)], "negative times", "works")
timed("duplicate.mkv", [40 * (k // 2) for k in range(12)], "every time twice", "works")
timed("unordered.mkv", [440, 0, 400, 40, 360, 80, 320, 120, 280, 160, 240, 200], "times in no order", "works")
timed("backward.mkv", [440 - 40 * k for k in range(12)], "times that run backward", "works")
timed("jump.mkv", [40 * k + (30000 if k > 5 else 0) for k in range(12)], "a gap of half a minute", "works")
timed("standstill.mkv", [0] * 12, "all times zero", "works")
case("no-times.avi", "B-frames in AVI, which has no times", "works")(lambda seeds, path: seeds.bytes("h264.avi"))
case("no-container.mkv", "a bare H.264 stream", "works")(lambda seeds, path: seeds.bytes("h264.h264"))

# Missing key frames, and pictures that change


@case("no-first-key.mkv", "its first key frame is missing", "repaired")
def _(seeds: Seeds, path: Path) -> None:
    with av.open(seeds.path("h264.mp4")) as source, av.open(str(path), "w", container_options=EXACT) as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in [p for p in source.demux(video=0) if p.size][1:]:
            packet.stream = stream
            out.mux(packet)


@case("mid-gop.ts", "starts inside a group of pictures", "works")
def _(seeds: Seeds, path: Path) -> bytes:
    data = seeds.bytes("h264.ts")
    return data[len(data) // 2 // 188 * 188 :]


def joined(name: str, about: str, first: dict[str, Any], second: dict[str, Any], expect: Expect) -> None:
    """Two transport streams, one after the other."""
    def build(seeds: Seeds, path: Path) -> bytes:
        parts = []
        for k, how in enumerate((first, second)):
            how = {"size": (48, 64), "pix_fmt": "yuv420p"} | how
            film = seeds.folder / f"{path.stem}-{k}.ts"
            pts = [12 * k + n for n in range(12)]
            make_film(film, ramp(12, *how["size"]), how["pix_fmt"], "libx264", pts=pts, options={"g": "4", "bf": "0"})
            parts.append(film.read_bytes())
        return b"".join(parts)

    case(name, about, expect)(build)


joined("resolution.ts", "grows from 64x48 to 96x80 in the middle", {}, {"size": (80, 96)}, "repaired")
joined("shrinks.ts", "shrinks from 64x48 to 32x16 in the middle", {}, {"size": (16, 32)}, "repaired")
joined("format.ts", "goes from 4:2:0 to 4:4:4 in the middle", {}, {"pix_fmt": "yuv444p"}, "repaired")

# Odd pictures


def odd(name: str, about: str, expect: Expect, height: int = 48, width: int = 64, count: int = 12, **how: Any) -> None:
    # FFV1 version 3 cannot be written for all of these: its slices are at least one chroma sample in size
    how = {"codec": "rawvideo", "container_options": EXACT} | how
    case(name, about, expect)(lambda seeds, path: make_film(path, noise(count, height, width), **how))


odd("1x1.mkv", "one sample", "works", 1, 1, pix_fmt="gray")
odd("3x5.mkv", "smaller than a chroma block", "works", 5, 3)
odd("8192-wide.mkv", "8192 wide and 2 high", "works", 2, 8192, 3)
odd("8192-high.mkv", "2 wide and 8192 high", "works", 8192, 2, 3)
odd("one-frame.mkv", "one frame", "works", count=1)
odd("reserved-matrix.mkv", "a reserved matrix code, which Matroska drops", "works", tags={"colorspace": 3}, codec="ffv1")
odd("another-matrix.mkv", "a matrix that is not Y'CbCr", "error", tags={"colorspace": 8}, codec="ffv1")


def foreign(name: str, pix_fmt: str, about: str, codec: str = "rawvideo") -> None:
    """A pixel format whose luma cannot be kept."""
    def build(seeds: Seeds, path: Path) -> None:
        with av.open(str(path), "w", container_options=EXACT) as out:
            stream: Any = out.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
            for k, picture in enumerate(ramp(12, 48, 64)):
                if pix_fmt == "pal8":
                    frame = av.VideoFrame.from_ndarray((picture, np.full((256, 4), 200, np.uint8)), format="pal8")
                else:
                    frame = av.VideoFrame.from_ndarray(np.repeat(picture[..., None], 3, -1), format="rgb24").reformat(format=pix_fmt)
                frame.pts, frame.time_base = k, Fraction(1, 25)
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))

    case(name, about, "error")(build)


foreign("rgb.mkv", "bgr0", "RGB", "ffv1")
foreign("alpha.mkv", "yuva420p", "Y'CbCr with alpha", "ffv1")
foreign("nv12.nut", "nv12", "semi-planar")
foreign("palette.avi", "pal8", "palette")
foreign("animation.gif", "rgb8", "an animated GIF", "gif")

# Other tracks, and what is no film


@case("endless-sound.mkv", "half a second of film, ten minutes of sound", "works")
def _(seeds: Seeds, path: Path) -> None:
    with av.open(seeds.path("h264.mp4")) as source, av.open(str(path), "w", container_options=EXACT) as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        sound: Any = out.add_stream("pcm_u8", rate=8000, layout="mono")
        for packet in [p for p in source.demux(video=0) if p.size]:
            packet.stream = stream
            out.mux(packet)
        for second in range(600):
            block = av.AudioFrame.from_ndarray(np.full((1, 8000), 128, np.uint8), format="u8", layout="mono")
            block.sample_rate, block.pts, block.time_base = 8000, 8000 * second, Fraction(1, 8000)
            out.mux(sound.encode(block))


@case("two-films.mkv", "two video tracks: the first counts", "works")
def _(seeds: Seeds, path: Path) -> None:
    with contextlib.ExitStack() as files:
        sources = [files.enter_context(av.open(seeds.path(kind))) for kind in ("h264.mp4", "ffv1.mkv")]
        out = files.enter_context(av.open(str(path), "w", container_options=EXACT))
        streams = [out.add_stream_from_template(source.streams.video[0]) for source in sources]
        for source, stream in zip(sources, streams, strict=True):
            for packet in [p for p in source.demux(video=0) if p.size]:
                packet.stream = stream
                out.mux(packet)


@case("sound-only.mkv", "sound without film", "error")
def _(seeds: Seeds, path: Path) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16000))


@case("cover-art.mp4", "sound with a cover picture", "error")
def _(seeds: Seeds, path: Path) -> None:
    with av.open(str(path), "w", container_options=EXACT) as out:
        sound: Any = out.add_stream("aac", rate=44100)
        cover: Any = out.add_stream("mjpeg", rate=25)
        cover.width, cover.height, cover.pix_fmt, cover.disposition = 64, 48, "yuvj420p", av.stream.Disposition.attached_pic
        block = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        block.sample_rate = 44100
        out.mux(sound.encode(block))
        picture = av.VideoFrame.from_ndarray(broken_pictures.colours(), format="rgb24")
        out.mux(cover.encode(picture.reformat(format="yuvj420p")))
        for stream in (sound, cover):
            out.mux(stream.encode(None))


case("empty.mkv", "no byte", "error")(lambda seeds, path: b"")
case("byte.mkv", "one byte", "error")(lambda seeds, path: b"\x1a")
case("text.mkv", "a renamed text", "error")(lambda seeds, path: b"Reel 4 was lent to the museum.\n" * 200)
case("zeros.mkv", "zeros, as a failed disk gives them", "error")(lambda seeds, path: bytes(100_000))
case("noise.mkv", "encrypted: random bytes", "error")(lambda seeds, path: np.random.default_rng(4).bytes(100_000))
case("picture.mkv", "a renamed JPEG", "works")(lambda seeds, path: broken_pictures.jpeg())
case("playlist.mkv", "a playlist of a film elsewhere", "error")(
    lambda seeds, path: b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/film.ts\n#EXT-X-ENDLIST\n"
)
case("list.mkv", "a list of other films", "error")(lambda seeds, path: b"ffconcat version 1.0\nfile one-frame.mkv\n")
case("folder.mkv", "a folder", "error")(lambda seeds, path: path.mkdir())
case("pipe.mkv", "a pipe that nobody writes to", "error")(lambda seeds, path: os.mkfifo(path))
case("device.mkv", "a link to /dev/zero", "error")(lambda seeds, path: path.symlink_to("/dev/zero"))
case("loop.mkv", "a link to itself", "error")(lambda seeds, path: path.symlink_to(path))
case("nowhere.mkv", "a link to nothing", "error")(lambda seeds, path: path.symlink_to(path.with_name("lost")))


@case("locked.mkv", "a file that may not be read", "works" if os.geteuid() == 0 else "error")
def _(seeds: Seeds, path: Path) -> None:
    path.write_bytes(seeds.bytes("ffv1.mkv"))
    path.chmod(0)


if __name__ == "__main__":
    for bad in make_corpus(Path(sys.argv[1])):
        print(f"{bad.path}: {bad.about} ({bad.expect})")
