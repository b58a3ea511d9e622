"""Segments into one output by remuxing: exact times from the source's frame table, sound and subtitles packet by packet."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from dvcp.errors import MediaError
from dvcp.media.matroska import complete_video_track
from dvcp.media.planes import delivered_aspect
from dvcp.media.probe import VideoInfo, video_stream
from dvcp.media.profiles import Profile
from dvcp.media.source import av_path, open_input
from dvcp.media.timecode import timecode_fate
from dvcp.media.tracks import Change, add_copy, attach, is_chapter_text, is_cover, is_timecode, rehearse, tags_of
from dvcp.media.writer import writing
from dvcp.pulse import pulse
from dvcp.timing import Span


@dataclass(frozen=True)
class Clock:
    """How source times become output times.

    Attributes:
        timebase: of the packets handed to the muxer, exact.
        scale: PTS ticks of the source's video are multiplied by this.
        shift: seconds added to every time, so that none is negative where the film starts before zero.
    """

    timebase: Fraction
    scale: int
    shift: Fraction


def output_clock(info: VideoInfo) -> Clock:
    """The clock an output of this film is written with (both containers then round it to their own)."""
    base = info.frames.timebase
    return Clock(Fraction(1, base.denominator), base.numerator, max(Fraction(0), -int(info.frames.pts[0]) * base))


def assemble(
    segments: Sequence[tuple[str, Span]], info: VideoInfo, out: str, profile: Profile, extra_tags: Mapping[str, str] = MappingProxyType({})
) -> list[str]:
    """Join segment files into the delivered file, without re-encoding.

    Args:
        segments: local segment files made by :class:`~dvcp.media.writer.SegmentWriter`, with the frames each holds; together they
            cover the film, in order.
        info: the source, which is read again for sound, subtitles, chapters and metadata.
        out: local path that ends in the profile's suffix.
        profile: as the segments were made with.
        extra_tags: container metadata to write besides the source's, and in place of it where a key is the same.

    Returns:
        Warnings: what the container could not take, one line each.

    Raises:
        MediaError: segments that do not cover the film, differ in their parameters, or do not hold the frames they should.
        StoreError: no space.
    """
    covered = 0
    for path, span in segments:
        if span.first != covered:
            raise MediaError(f"segments do not join: expected frame {covered}, found {span.first}", file=path, hint="run the job again")
        covered = span.stop
    if covered != len(info.frames):
        message = f"segments hold {covered} of {len(info.frames)} frames"
        raise MediaError(message, file=info.url, hint="run the job again: finished segments are kept")
    warnings: list[str] = []
    aspect = delivered_aspect(info, profile)
    with ExitStack() as stack:
        source = stack.enter_context(open_input(info.url))
        first = stack.enter_context(open_input(segments[0][0]))
        clock = output_clock(info)
        with writing(out), av.open(av_path(out), "w", format=profile.container, container_options=_options(profile, clock)) as output:
            template = video_stream(first, segments[0][0])
            video = output.add_stream_from_template(template, opaque=True)
            video.time_base = clock.timebase
            video.codec_context.sample_aspect_ratio = aspect
            # without a rate MOV's muxer makes no timecode track
            video.codec_context.framerate = info.average_rate
            if template.codec_context.name == "prores":
                # Matroska's fourcc of it, which MOV would write as a configuration box no other ProRes file has
                video.codec_context.extradata = None
            film = video_stream(source, info.url)
            video.metadata.update(tags_of(film.metadata))
            if info.turn.matrix:
                video.set_display_matrix(info.turn.matrix)
            if info.timecode:
                outcome, why = timecode_fate(info.timecode, info.average_rate, profile.container)
                warnings += [f"{info.url}: the start timecode is not kept: {why}"] if outcome == "refused" else []
                # The tag, not the source's tmcd track: MP4's muxer writes its own track from it and refuses a copied one.
                video.metadata["timecode"] = info.timecode
            output.metadata.update(_container_tags(source, extra_tags))
            if (chapters := source.chapters()) and not profile.colour_only:
                for mark in chapters:
                    ticks = round(clock.shift / (mark["time_base"] or 1))
                    mark["start"], mark["end"] = mark["start"] + ticks, mark["end"] + ticks
                output.set_chapters(chapters)
            copied = {} if profile.colour_only else _add_copies(source, output, info, profile, film, warnings)
            if clock.shift:
                warnings.append(f"{info.url}: the film starts before zero; all times are shifted by {clock.shift} s")
            parameters = template.codec_context.extradata
            tracks = heapq.merge(_video(segments, info, video, clock, parameters), _copies(source, copied, clock), key=lambda item: item[0])
            for _, packet in tracks:
                pulse()
                output.mux(packet)
    if profile.container == "matroska":
        complete_video_track(out, aspect, None if info.vfr or len(info.frames) == 1 else info.average_rate)
    return warnings


def _options(profile: Profile, clock: Clock) -> dict[str, str]:
    if profile.container == "matroska":
        # AAC starts with priming before zero; by default Matroska moves the whole film 21 ms to make room for it
        return {"fflags": "+bitexact", "avoid_negative_ts": "disabled"}
    # the default movie timescale of 1000 would round the start of a film that does not begin at zero
    return {"fflags": "+bitexact", "movflags": "+faststart+use_metadata_tags", "movie_timescale": str(movie_timescale(clock))}


def movie_timescale(clock: Clock) -> int:
    """Ticks a second of a MOV or MP4, in which starts and chapters are counted: those of the film, and milliseconds where they fit."""
    both = math.lcm(clock.timebase.denominator, 1000)
    return both if both < 1 << 31 else clock.timebase.denominator


def _container_tags(source: InputContainer, extra: Mapping[str, str]) -> dict[str, str]:
    replaced = {key.lower() for key in extra}
    return {key: value for key, value in tags_of(source.metadata).items() if key.lower() not in replaced} | dict(extra)


def _add_copies(
    source: InputContainer, output: OutputContainer, info: VideoInfo, profile: Profile, film: Stream, warnings: list[str]
) -> dict[int, tuple[Stream, Change | None]]:
    """Output streams for the source streams that are copied, by source index; attachments and cover art go in whole at once."""
    copied: dict[int, tuple[Stream, Change | None]] = {}
    tried = rehearse(info.url, profile.container)
    for stream in source.streams:
        if stream.index == film.index or is_timecode(stream) or is_chapter_text(source, stream):
            continue
        if found := tried.get(stream.index):
            copied[stream.index] = add_copy(output, stream, found.plan)
        elif not (profile.attachments and attach(info.url, output, stream)):
            kind = stream.type if stream.codec_context is None else f"{stream.type} ({stream.codec_context.name})"
            known = stream.type in ("audio", "subtitle", "attachment") or is_cover(stream)
            why = f"{output.format.name} cannot hold it" if known else "only one video stream, sound, text and attachments are"
            warnings.append(f"{info.url}: stream {stream.index}, {kind}, is not copied: {why}")
    return copied


def _video(
    segments: Sequence[tuple[str, Span]], info: VideoInfo, video: VideoStream, clock: Clock, parameters: bytes | None
) -> Iterator[tuple[Fraction, Packet[Any]]]:
    table, shift = info.frames, clock.shift / clock.timebase
    for path, span in segments:
        with open_input(path) as container:
            stream = video_stream(container, path)
            if stream.codec_context.extradata != parameters:
                raise MediaError("was encoded with other parameters than the first segment", file=path, hint="delete it and run again")
            # every packet a frame, in presentation order: segments have no B-frames
            packets = (p for p in container.demux(stream) if p.size)
            count = 0
            for number, packet in zip(span, packets, strict=False):
                following = int(table.pts[number + 1]) if number + 1 < len(table) else int(table.pts[number]) + table.last_duration
                packet.stream, packet.time_base = video, clock.timebase
                packet.pts = packet.dts = int(table.pts[number]) * clock.scale + int(shift)
                packet.duration = (following - int(table.pts[number])) * clock.scale
                count += 1
                yield packet.pts * clock.timebase, packet
            extra = sum(1 for _ in packets)
            if count != len(span) or extra:
                raise MediaError(f"holds {count + extra} frames instead of {len(span)}", file=path, hint="delete it and run again")


def _copies(
    source: InputContainer, copied: dict[int, tuple[Stream, Change | None]], clock: Clock
) -> Iterator[tuple[Fraction, Packet[Any]]]:
    if not copied:
        return
    at = -clock.shift
    for packet in source.demux([s for s in source.streams if s.index in copied]):
        if not packet.size:
            continue
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is not None:
            at = stamp * packet.time_base
        twin, change = copied[packet.stream_index]
        if change:
            yield from ((at + clock.shift, made) for made in change.packets(packet, clock.shift))
            continue
        if clock.shift:
            ticks = round(clock.shift / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts = None if packet.dts is None else packet.dts + ticks
        packet.stream = twin
        yield at + clock.shift, packet
    for _, change in copied.values():
        if change:
            yield from ((at + clock.shift, made) for made in change.packets(None, clock.shift))
