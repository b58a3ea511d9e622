"""Proof: an output against its source, frame by frame, sample by sample, packet by packet."""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice

import numpy as np

from dvcp.errors import MediaError
from dvcp.media.assemble import output_clock
from dvcp.media.planes import delivered_colour, delivered_luma, delivered_size
from dvcp.media.probe import VideoInfo, probe
from dvcp.media.profiles import Profile
from dvcp.media.reader import FrameReader
from dvcp.media.source import open_input
from dvcp.media.unpack import unpacked_digest
from dvcp.methods.base import Samples
from dvcp.pulse import pulse
from dvcp.timing import Span

#: frames held at a time, and the number of frames named in a report
BATCH, NAMED = 8, 20
MIN_PSNR = 30.0


@dataclass(frozen=True)
class Comparison:
    """What differs between an output and its source.

    Attributes:
        frames: frames compared.
        damaged_frames: those of them that the source does not give, plain gray in the output.
        differing_luma_samples: over all frames; for a lossy profile not a fault by itself.
        frames_with_differing_luma: the first 20 frame numbers.
        pts_differing: frames not shown at the source's time as the output's container rounds it.
        audio_equal: every track is there, its bytes equal and in order, its times within the container's rounding.
        problems: one line each; empty when the output is what it should be.
        lossy: True for a lossy profile.
        min_luma_psnr: of the worst frame, in dB, infinite when every sample is equal.
    """

    frames: int
    damaged_frames: int
    differing_luma_samples: int
    frames_with_differing_luma: tuple[int, ...]
    pts_differing: int
    audio_equal: bool
    problems: tuple[str, ...]
    lossy: bool
    min_luma_psnr: float


def compare(out_url: str, source_url: str, profile: Profile, damaged: Sequence[int] = ()) -> Comparison:
    """Decode both, streaming, and compare frame count, every PTS, every luma sample and every audio packet.

    A lossy profile is compared with the source in its depth and range and must reach 30 dB in every frame; the colour layer's luma
    with mid gray.

    Args:
        damaged: numbers of the source's frames that cannot be decoded: the output must show plain gray there, and the source truly fail.

    Raises:
        MediaError: a file that cannot be read at all.
    """
    out, source = probe(out_url), probe(source_url)
    lossy = profile.lossy
    problems: list[str] = []
    if len(out.frames) != len(source.frames):
        problems.append(f"{len(out.frames)} frames instead of {len(source.frames)}")
    pts_differing = _count_differing_pts(out, source)
    if pts_differing:
        problems.append(f"{pts_differing} frames are not shown at the source's time")
    problems += _readable(source, damaged)
    source = replace(source, damaged=tuple(damaged))
    luma = _Luma()
    if fault := _shape_fault(out, source, profile):
        problems.append(fault)
    else:
        _compare_luma(out, source, profile, luma, problems)
    if luma.samples and not lossy:
        why = ", where the source decodes to other samples each time" if _fits(out, source, profile, luma.frames[0]) else ""
        problems.append(f"{luma.samples} luma samples differ, first in frame {luma.frames[0]}{why}")
    if lossy and luma.psnr < MIN_PSNR:
        problems.append(f"luma of the worst frame is {luma.psnr:.1f} dB from the source, below {MIN_PSNR:.0f} dB")
    audio = () if profile.colour_only else _audio_problems(out, source)
    return Comparison(
        frames=min(len(out.frames), len(source.frames)),
        damaged_frames=len(source.damaged),
        differing_luma_samples=luma.samples,
        frames_with_differing_luma=tuple(luma.frames),
        pts_differing=pts_differing,
        audio_equal=not audio,
        problems=(*problems, *audio),
        lossy=lossy,
        min_luma_psnr=luma.psnr,
    )


def _readable(source: VideoInfo, damaged: Sequence[int]) -> list[str]:
    """A line when a frame that was given up as damaged can be read after all: nobody may lose one by calling it so."""
    with FrameReader(source) as reader:
        for frame in damaged:
            try:
                reader.luma(Span(frame, frame + 1))
            except (MediaError, ValueError):
                continue
            return [f"frame {frame} was delivered as damaged, but the source can be read there"]
    return []


@dataclass
class _Luma:
    samples: int = 0
    frames: list[int] = field(default_factory=list)
    psnr: float = math.inf

    def add(self, number: int, found: Samples, wanted: Samples, peak: int) -> None:
        if np.array_equal(found, wanted):
            return
        difference = found.astype(np.int32) - wanted
        self.samples += int(np.count_nonzero(difference))
        if len(self.frames) < NAMED:
            self.frames.append(number)
        error = float(np.mean(np.square(difference, dtype=np.float64)))
        self.psnr = min(self.psnr, 10 * math.log10(peak * peak / error))


def _shape_fault(out: VideoInfo, source: VideoInfo, profile: Profile) -> str | None:
    height, width = delivered_size(source, profile)
    wanted = (width, height, delivered_colour(source, profile).depth)
    found = (out.width, out.height, out.colour.depth)
    return None if found == wanted else "{}x{} with {} bits instead of {}x{} with {} bits".format(*found, *wanted)


def _compare_luma(out: VideoInfo, source: VideoInfo, profile: Profile, luma: _Luma, problems: list[str]) -> None:
    peak = (1 << out.colour.depth) - 1
    count = min(len(out.frames), len(source.frames))
    with FrameReader(out) as ours, FrameReader(source) as theirs:
        for first in range(0, count, BATCH):
            span = Span(first, min(first + BATCH, count))
            try:
                found, wanted = ours.luma(span), theirs.luma(span)
            except MediaError as error:
                # a damaged frame must not hide the state of the rest
                problems.append(f"frames {span.first} to {span.stop - 1} not compared: {error}")
                continue
            for number, a, b in zip(span, found, wanted, strict=True):
                luma.add(number, a, delivered_luma(b, source, profile), peak)


def _fits(out: VideoInfo, source: VideoInfo, profile: Profile, frame: int) -> bool:
    """Whether a frame that differs is the source's when decoding begins at it: damage that a decoder hides is not the output's fault."""
    span = Span(frame, frame + 1)
    with FrameReader(out) as ours, FrameReader(source) as theirs:
        try:
            return np.array_equal(ours.luma(span)[0], delivered_luma(theirs.luma(span)[0], source, profile))
        except MediaError:
            return False


def _count_differing_pts(out: VideoInfo, source: VideoInfo) -> int:
    clock = output_clock(source)
    shown = (int(p) * source.frames.timebase + clock.shift for p in source.frames.pts)
    return sum(_nearest(at / out.frames.timebase) != int(found) for at, found in zip(shown, out.frames.pts, strict=False))


def _nearest(value: Fraction) -> int:
    """Rounded half away from zero, as FFmpeg's muxers round."""
    whole = (2 * abs(value.numerator) + value.denominator) // (2 * value.denominator)
    return whole if value >= 0 else -whole


@dataclass(frozen=True)
class _Track:
    digest: str
    codec: str
    timebase: Fraction
    pts: array[int]


def _tracks(info: VideoInfo) -> list[_Track]:
    if not info.audio:
        return []
    with open_input(info.url) as container:
        streams = [s for s in container.streams.audio if s.codec_context is not None]
        digests = {s.index: hashlib.sha256() for s in streams}
        times = {s.index: array("q") for s in streams}
        for packet in container.demux(streams):
            pulse()
            if packet.size:
                digests[packet.stream_index].update(bytes(packet))
                times[packet.stream_index].append(packet.pts if packet.pts is not None else packet.dts or 0)
        return [_Track(digests[s.index].hexdigest(), s.codec_context.name, s.time_base or Fraction(1), times[s.index]) for s in streams]


def _audio_problems(out: VideoInfo, source: VideoInfo) -> list[str]:
    found, wanted = _tracks(out), _tracks(source)
    shift = output_clock(source).shift
    problems = []
    if len(found) != len(wanted):
        problems.append(f"{len(found)} audio tracks instead of {len(wanted)}")
    for number, (a, b) in enumerate(zip(found, wanted, strict=False), 1):
        unpacked = b.codec == "flac" and a.codec.startswith("pcm_") and a.digest == unpacked_digest(source.url, number - 1)
        if a.digest != b.digest and not unpacked:
            problems.append(f"audio track {number} ({b.codec}) differs")
            continue
        # MP4 cuts PCM into packets of its own: with equal bytes the times of the first say enough
        count = None if len(a.pts) == len(b.pts) else 1
        slack = max(a.timebase, Fraction(1, 1000))
        pairs = islice(zip(a.pts, b.pts, strict=False), count)
        if late := sum(abs(x * a.timebase - y * b.timebase - shift) > slack for x, y in pairs):
            problems.append(f"{late} packets of audio track {number} ({b.codec}) are not at the source's time")
    return problems
