"""Sound, text, chapters and whatever else lies beside the pictures, and what of it a container takes, found by trying."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import AttachmentStream, Disposition, Stream

from dvcp.media.plaintext import CODEC, Plain
from dvcp.media.source import open_input
from dvcp.media.unpack import Unpacker, pcm_of

#: written by muxers about themselves or about the file they wrote; not facts about the film
MUXER_TAGS = {"encoder", "major_brand", "minor_version", "compatible_brands", "timecode", "duration", "handler_name", "vendor_id"}
MUXER_TAGS |= {"number_of_frames", "number_of_bytes", "bps", "_statistics_writing_app", "_statistics_writing_date_utc", "_statistics_tags"}
#: told elsewhere, or (the time of creation) written into every track of a MOV from the container's own
TRACK_FACTS = ("LANGUAGE", "TITLE", "NAME", "CREATION_TIME")
#: FFmpeg's usual channel layout by number of channels
LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
#: ISO 639-2 has two codes for some languages; QuickTime knows one of them, and not always the same
TWINS = "alb/sqi arm/hye baq/eus bur/mya chi/zho cze/ces dut/nld fre/fra geo/kat ger/deu gre/ell ice/isl mac/mkd mao/mri may/msa"
TWINS += " per/fas rum/ron slo/slk tib/bod wel/cym"
TWIN = {a: b for pair in TWINS.split() for a, b in (pair.split("/"), reversed(pair.split("/")))}
#: (suffix, MIME type) of cover art by codec
COVERS = {"mjpeg": ("jpg", "image/jpeg"), "png": ("png", "image/png")}
#: packets looked at for the first of every sound track: interleaving keeps it near the start
SEARCHED = 5000


@dataclass(frozen=True)
class AudioInfo:
    """One audio track; ``disposition`` holds FFmpeg's names (``default``, ``comment``, ...), ``tags`` what else it says of itself."""

    codec: str
    rate: int
    channels: int
    language: str
    title: str = ""
    disposition: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class TextInfo:
    """One subtitle track, as :class:`AudioInfo`."""

    codec: str
    language: str
    title: str = ""
    disposition: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Chapter:
    """A chapter mark; times in seconds, exact."""

    start: Fraction
    end: Fraction
    title: str


Track = AudioInfo | TextInfo
#: what makes other packets of a track's
Change = Unpacker | Plain


@dataclass(frozen=True)
class Plan:
    """How a track is written: under which language if not the source's, as which PCM codec or as plain text if not as it is."""

    language: str | None = None
    pcm: str | None = None
    plain: bool = False


def tags_of(metadata: dict[str, str]) -> dict[str, str]:
    """Metadata without what muxers write about themselves."""
    return {key: value for key, value in metadata.items() if key.lower().split("-")[0] not in MUXER_TAGS}


def own_tags(stream: Stream) -> tuple[tuple[str, str], ...]:
    """What a track says of itself besides language and title, keys in capitals as Matroska writes them, sorted."""
    kept = {key.upper(): value for key, value in tags_of(stream.metadata).items()}
    return tuple(sorted((key, value) for key, value in kept.items() if key not in TRACK_FACTS))


def track_of(stream: Stream) -> Track:
    """An audio or subtitle stream as it stands in a file."""
    title = next((value for key, value in stream.metadata.items() if key.lower() in ("title", "name")), "")
    flags = tuple(flag.name or "" for flag in Disposition if flag & stream.disposition)
    facts: dict[str, Any] = {"language": stream.language or "und", "title": title, "disposition": flags, "tags": own_tags(stream)}
    codec = stream.codec_context.name if stream.codec_context is not None else "unknown"
    if isinstance(stream, AudioStream):
        context = stream.codec_context
        rate, channels = (context.sample_rate or 0, context.channels) if context is not None else (0, 0)
        return AudioInfo(codec, rate, channels, **facts)
    return TextInfo(codec, **facts)


def audio_of(container: InputContainer) -> tuple[AudioInfo, ...]:
    """All audio tracks, in file order."""
    return tuple(track for track in map(track_of, container.streams.audio) if isinstance(track, AudioInfo))


def texts_of(container: InputContainer) -> tuple[TextInfo, ...]:
    """All subtitle tracks, in file order."""
    return tuple(track for track in map(track_of, container.streams.subtitles) if isinstance(track, TextInfo))


def chapters_of(container: InputContainer) -> tuple[Chapter, ...]:
    """All chapter marks, in file order."""
    marks = []
    for mark in container.chapters():
        step = mark["time_base"] or Fraction(1)
        marks.append(Chapter(mark["start"] * step, mark["end"] * step, mark["metadata"].get("title", "")))
    return tuple(marks)


def is_cover(stream: Stream) -> bool:
    """Whether a video stream is one still picture that goes with the film, such as a poster."""
    return bool(stream.disposition & Disposition.attached_pic)


def is_timecode(stream: Stream) -> bool:
    """Whether a stream only says the timecode of the first frame, as MOV's ``tmcd`` tracks do; muxers write it from a tag."""
    return stream.type == "data" and "timecode" in stream.metadata


def is_chapter_text(container: InputContainer, stream: Stream) -> bool:
    """Whether a stream is the text track in which MOV keeps the titles of chapters; muxers write it from the chapters."""
    return stream.type == "data" and container.format.name.startswith("mov") and bool(container.chapters())


def others_of(container: InputContainer, film: Stream) -> tuple[str, ...]:
    """A line for every stream that is neither the film nor sound, text, timecode or titles of chapters."""
    lines = []
    for stream in container.streams:
        known = stream.type in ("audio", "subtitle") or is_timecode(stream) or is_chapter_text(container, stream)
        if stream.index == film.index or known:
            continue
        codec = "unknown" if stream.codec_context is None else stream.codec_context.name
        if stream.type == "attachment":
            lines.append(f"attachment {stream.metadata.get('filename', '')} ({stream.metadata.get('mimetype', 'unknown type')})")
        elif is_cover(stream):
            lines.append(f"cover art ({codec})")
        else:
            lines.append(f"{stream.type} stream ({codec})")
    return tuple(lines)


def attach(url: str, output: OutputContainer, stream: Stream) -> bool:
    """Put an attachment or cover art of the film at ``url`` into a container of attachments; False when the stream is neither."""
    if isinstance(stream, AttachmentStream):
        output.add_attachment(stream.name or "", stream.mimetype or "application/octet-stream", stream.data or b"")
        return True
    kind = COVERS.get(stream.codec_context.name if stream.codec_context is not None else "")
    if not is_cover(stream) or kind is None:
        return False
    with open_input(url) as again:
        picture = next((bytes(p) for p in again.demux(again.streams[stream.index]) if p.size), None)
    if picture is None:
        return False
    output.add_attachment(stream.metadata.get("filename", f"cover.{kind[0]}"), stream.metadata.get("mimetype", kind[1]), picture)
    return True


def add_copy(output: OutputContainer, stream: Stream, plan: Plan) -> tuple[Stream, Change | None]:
    """A stream of ``output`` for the packets of ``stream``, and what turns them into others if that is planned.

    Raises:
        ValueError: the container has no way to hold the codec (some containers say so only when the header is written).
    """
    change: Change | None = Plain(output) if plan.plain else None
    if plan.pcm and isinstance(stream, AudioStream):
        change = Unpacker(output, stream, plan.pcm)
    twin: Stream = change.twin if change else output.add_stream_from_template(stream, opaque=True)
    if not change and isinstance(twin, AudioStream) and twin.codec_context.layout.name == f"{twin.codec_context.channels} channels":
        # Matroska says how many channels PCM has, not which; MP4 refuses to write that
        twin.codec_context.layout = LAYOUTS.get(twin.codec_context.channels, "stereo")
    tags = tags_of(stream.metadata)
    if "name" in tags and "title" not in tags:
        # MOV and MP4 read a track's title as its name, and write it from its title
        tags["title"] = tags.pop("name")
    twin.metadata.update(tags | ({"language": plan.language} if plan.language else {}))
    twin.disposition = stream.disposition
    return twin, change


@dataclass(frozen=True)
class Rehearsed:
    """What becomes of a track in a container: how it is to be written, and how it reads back then."""

    plan: Plan
    track: Track


def rehearse(url: str, container: str) -> dict[int, Rehearsed | None]:
    """What a container makes of the film's sound and text, by stream index: a file of first packets is written in memory and read back.

    No table of codecs and containers is as right as the muxer itself: MOV refuses FLAC, and knows ``ger`` but not ``deu``.

    Returns:
        Sound first, then text; None for a track the container refuses.

    Raises:
        MediaError: the film cannot be read.
    """
    with open_input(url) as source:
        streams: list[Stream] = [s for s in source.streams if s.type in ("audio", "subtitle") and s.codec_context is not None]
        blocks = _first_packets(source, streams)
        found: dict[int, Rehearsed | None] = {s.index: None for s in (*source.streams.audio, *source.streams.subtitles)}
        plans = {s.index: plan for s in streams if (plan := _plan(s, blocks, container))}
        # all together: which track is the default one is decided among them
        kept = [stream for stream in streams if stream.index in plans]
        for stream, track in zip(kept, _written(kept, plans, blocks, container) or [], strict=False):
            found[stream.index] = Rehearsed(plans[stream.index], track)
        return found


def _plan(stream: Stream, blocks: dict[int, bytes], container: str) -> Plan | None:
    """The first way a container takes a track: as it is, FLAC as PCM, timed text as plain; renamed where its language is lost."""
    pcm = pcm_of(stream)
    timed = stream.codec_context is not None and stream.codec_context.name == CODEC
    for plan in (Plan(), *([Plan(pcm=pcm)] if pcm else []), *([Plan(plain=True)] if timed else [])):
        alone = _written([stream], {stream.index: plan}, blocks, container)
        if alone is None:
            continue
        other = TWIN.get(stream.language or "")
        if other and alone[0].language == "und":
            renamed = replace(plan, language=other)
            again = _written([stream], {stream.index: renamed}, blocks, container)
            return renamed if again and again[0].language == other else plan
        return plan
    return None


def _first_packets(source: InputContainer, streams: list[Stream]) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    audio = [s for s in streams if s.type == "audio"]
    for count, packet in enumerate(source.demux(audio) if audio else ()):
        if packet.size:
            found.setdefault(packet.stream_index, bytes(packet))
        if len(found) == len(audio) or count > SEARCHED:
            break
    return found


def _written(streams: list[Stream], plans: dict[int, Plan], blocks: dict[int, bytes], container: str) -> list[Track] | None:
    """The tracks as they read back, in order, or None when the container refuses."""
    if not streams:
        return []
    memory = io.BytesIO()
    try:
        with av.open(memory, "w", format=container, container_options={"fflags": "+bitexact"}) as output:
            twins = [add_copy(output, stream, plans[stream.index])[0] for stream in streams]
            for stream, twin in zip(streams, twins, strict=True):
                # silence is as good as any PCM
                block = bytes(96) if plans[stream.index].pcm else blocks.get(stream.index, b"\0\0")
                packet: Packet[Any] = Packet(block)
                packet.stream, packet.pts, packet.dts, packet.time_base = twin, 0, 0, stream.time_base or Fraction(1, 1000)
                packet.duration = 1
                output.mux(packet)
        memory.seek(0)
        with av.open(memory) as again:
            return [track_of(stream) for stream in again.streams if stream.type in ("audio", "subtitle")]
    except (av.error.FFmpegError, ValueError, OSError):
        return None
