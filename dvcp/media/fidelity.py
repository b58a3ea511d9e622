"""What of a film survives in each delivered file: foretold before any work is done, and measured on the file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from dvcp.media.assemble import movie_timescale, output_clock
from dvcp.media.plaintext import CODEC, words_digest
from dvcp.media.planes import delivered_aspect, delivered_colour, delivered_size
from dvcp.media.probe import UNSPECIFIED, VideoInfo
from dvcp.media.profiles import Profile, profile_for
from dvcp.media.reader import FrameReader
from dvcp.media.source import open_input
from dvcp.media.timecode import timecode_fate
from dvcp.media.tracks import COVERS, Rehearsed, Track, rehearse, tags_of
from dvcp.media.unpack import unpacked_digest
from dvcp.timing import Span

Outcome = Literal["kept", "changed", "refused"]
#: field orders each encoder can say; of those it cannot, what is said instead
FIELDS_SAID: dict[str, dict[str, str]] = {
    "ffv1": {},
    "prores_ks": {"unknown": "progressive"},
    "libx264": {"unknown": "progressive", "tb": "tt", "bt": "bb"},
}
#: FFmpeg reads Matroska's display size as a sample aspect of at most this numerator and denominator
MATROSKA_ASPECT = 255
NOT_IN_LAYER = "not in the layer; it stays with the source"


@dataclass(frozen=True)
class Verdict:
    """One property of a film in a delivered file.

    Attributes:
        property: e.g. ``luma samples`` or ``audio 1``.
        verdict: kept; changed; refused = it is not there at all.
        what: in a few words, for people.
    """

    property: str
    verdict: Outcome
    what: str

    def to_json(self) -> dict[str, Any]:
        """As JSON types."""
        return {"property": self.property, "verdict": self.verdict, "what": self.what}


def outlook(info: VideoInfo, profile: Profile) -> tuple[Verdict, ...]:
    """What becomes of each property the film has, before any work is done. Sound and text are tried on the container itself.

    Raises:
        MediaError: the film cannot be read.
    """
    return (*_pictures(info, profile), *_time(info, profile), *_beside(info, profile))


def _pictures(info: VideoInfo, profile: Profile) -> Iterator[Verdict]:
    colour, to = info.colour, delivered_colour(info, profile)
    if profile.colour_only:
        yield Verdict("luma samples", "refused", NOT_IN_LAYER)
    elif profile.lossy:
        yield Verdict("luma samples", "changed", f"encoded with loss ({profile.codec})")
    else:
        yield Verdict("luma samples", "kept", "bit for bit")
    size, to_size = (info.height, info.width), delivered_size(info, profile)
    grown = f"{to_size[1]}x{to_size[0]}, that of the chroma grid" if profile.colour_only else f"extended to {to_size[1]}x{to_size[0]}"
    yield _same("picture size", size == to_size, f"{info.width}x{info.height}", grown)
    deeper = "exactly" if colour.depth < to.depth and not colour.full_range else "rounded"
    yield _same("bit depth", colour.depth == to.depth, f"{colour.depth}", f"{colour.depth} to {to.depth}, {deeper}")
    names = [{(1, 1): "4:2:0", (1, 0): "4:2:2", (0, 0): "4:4:4"}.get(c.subsample, str(c.subsample)) for c in (colour, to)]
    if profile.colour_only:
        yield Verdict("chroma grid", "kept", f"that of the source ({names[0]}), a sample each")
    elif info.gray:
        yield Verdict("chroma grid", "changed", f"none to {names[1]}")
    else:
        yield _same("chroma grid", names[0] == names[1], names[0], f"{names[0]} to {names[1]}")
    was, now = ("full" if c.full_range else "limited" for c in (colour, to))
    if info.range_tagged or was != now:
        yield _same("range", was == now, was, f"{was} to {now}")
    else:
        yield Verdict("range", "changed", f"not tagged; {was} assumed, and tagged so")
    tags = f"{info.matrix_tag}/{colour.primaries}/{colour.transfer}"
    assumed = f"no matrix tagged; {colour.matrix} assumed from the height, and tagged so"
    yield _same("matrix, primaries, transfer", info.matrix_tag != UNSPECIFIED, f"{tags} (ITU-T H.273)", assumed)
    aspect = delivered_aspect(info, profile)
    held = profile.container != "matroska" or max(aspect.numerator, aspect.denominator) <= MATROSKA_ASPECT
    yield _same("sample aspect", held, f"{info.sample_aspect}", f"{info.sample_aspect}, which FFmpeg reads as a near ratio")
    said = FIELDS_SAID[profile.codec].get(info.field_order, info.field_order)
    yield _same("field order", said == info.field_order, info.field_order, f"{info.field_order} is told as {said}")
    if info.turn.matrix:
        yield Verdict("rotation", "kept", f"{info.rotation} degrees{', mirrored' if info.turn.mirrored else ''}")


def _time(info: VideoInfo, profile: Profile) -> Iterator[Verdict]:
    clock, base = output_clock(info), info.frames.timebase
    if clock.shift:
        yield Verdict("frame times", "changed", f"the film starts before zero; everything is {clock.shift} s later")
    elif profile.container == "matroska" and any((int(p) * base * 1000).denominator != 1 for p in info.frames.pts):
        yield Verdict("frame times", "changed", "rounded to 1 ms; exact in pts.json beside the file")
    else:
        yield Verdict("frame times", "kept", "exact")
    if info.timecode is not None:
        yield Verdict("start timecode", *timecode_fate(info.timecode, info.average_rate, profile.container))


def _beside(info: VideoInfo, profile: Profile) -> Iterator[Verdict]:
    tried = [] if profile.colour_only else list(rehearse(info.url, profile.container).values())
    for name, track, found in _in_file_order(info, tried):
        yield Verdict(name, "refused", NOT_IN_LAYER) if profile.colour_only else _track(name, track, found, profile)
    if info.chapters:
        yield _chapters(info, profile)
    yield from _tags(info, profile, [track for _, track, found in _in_file_order(info, tried) if found is not None])
    if info.others:
        held = profile.attachments and not profile.colour_only
        lost = [line for line in info.others if not (held and _attachable(line))]
        why = f" ({NOT_IN_LAYER if profile.colour_only else 'not carried'})"
        outcome: Outcome = "refused" if len(lost) == len(info.others) else "changed"
        yield _same("other streams", not lost, ", ".join(info.others), ", ".join(lost) + why, outcome)


def _in_file_order(info: VideoInfo, found: Sequence[Rehearsed | None]) -> Iterator[tuple[str, Track, Rehearsed | None]]:
    """(name, track as in the source, as tried); of tracks that were not tried nothing is found."""
    tracks: tuple[Track, ...] = (*info.audio, *info.subtitles)
    names = [f"{kind} {k}" for kind, those in (("audio", info.audio), ("subtitles", info.subtitles)) for k in range(1, len(those) + 1)]
    yield from zip(names, tracks, found or [None] * len(tracks), strict=True)


def _track(name: str, source: Track, tried: Rehearsed | None, profile: Profile) -> Verdict:
    if tried is None:
        return Verdict(name, "refused", f"{source.codec}: {profile.container} cannot hold it")
    differing = differences(source, tried.track)
    if tried.plan.pcm:
        return Verdict(name, "changed", f"{', '.join(differing)}; the same samples")
    if tried.plan.plain:
        return Verdict(name, "changed", f"{', '.join(differing)}; the same words and times, no styles")
    return _same(name, not differing, f"{source.codec}, bit for bit", f"{source.codec}, bit for bit; {', '.join(differing)}")


def differences(source: Track, found: Track) -> list[str]:
    """What a track says of itself otherwise than its source does, its free tags aside; a line each."""
    pairs = ((field, getattr(source, field), getattr(found, field)) for field in ("codec", "language", "title", "disposition"))
    shown = ((field, *(", ".join(v) if isinstance(v, tuple) else v for v in values)) for field, *values in pairs)
    return [f"{field} {a or 'none'} becomes {b or 'none'}" for field, a, b in shown if a != b]


def _chapters(info: VideoInfo, profile: Profile) -> Verdict:
    marks = info.chapters
    if profile.colour_only:
        return Verdict("chapters", "refused", NOT_IN_LAYER)
    if profile.container == "matroska":
        return Verdict("chapters", "kept", f"{len(marks)}")
    ends = [Fraction(0), *(mark.end for mark in marks[:-1])]
    joined = all(mark.start == end for mark, end in zip(marks, ends, strict=True))
    scale = movie_timescale(output_clock(info))
    exact = all((mark.start * scale).denominator == 1 == (mark.end * scale).denominator for mark in marks)
    return _same("chapters", joined and exact, f"{len(marks)}", f"each lasts until the next, times rounded to 1/{scale} s")


def _tags(info: VideoInfo, profile: Profile, copied: list[Track]) -> Iterator[Verdict]:
    spaced = [key for key in tags_of(info.metadata) if " " in key and profile.container == "matroska"]
    if tags_of(info.metadata):
        yield _same("metadata", not spaced, ", ".join(tags_of(info.metadata)), f"spaces become underscores: {', '.join(spaced)}")
    names = [key for tags in (info.tags, *(track.tags for track in copied)) for key, _ in tags]
    if names:
        lost = f"{', '.join(names)} ({profile.container} has no place for them)"
        yield _same("track tags", profile.container == "matroska", ", ".join(names), lost, "refused")


def _attachable(line: str) -> bool:
    return line.startswith("attachment ") or line in {f"cover art ({codec})" for codec in COVERS}


def _same(name: str, same: bool, what: str, otherwise: str, outcome: Outcome = "changed") -> Verdict:
    return Verdict(name, "kept", what) if same else Verdict(name, outcome, otherwise)


def observed(out: VideoInfo, source: VideoInfo) -> tuple[Verdict, ...]:
    """The same properties as :func:`outlook` tells, in the same order, measured on a delivered file: both are read to their ends.

    Raises:
        MediaError: one of them cannot be read.
    """
    profile, colour, to = profile_for(out.url), source.colour, out.colour
    grids: tuple[Any, Any] = (None if source.gray else colour.subsample, to.subsample)
    if profile.colour_only:
        grids = colour.chroma_shape(source.height, source.width), (out.height, out.width)
    found = [
        _luma(out, source),
        _measured("picture size", (source.width, source.height), (out.width, out.height)),
        _measured("bit depth", colour.depth, to.depth),
        _measured("chroma grid", *grids),
        _measured("range", (colour.full_range, source.range_tagged), (to.full_range, True)),
        _measured(
            "matrix, primaries, transfer",
            (source.matrix_tag, colour.primaries, colour.transfer), (out.matrix_tag, to.primaries, to.transfer),
        ),
        _measured("sample aspect", delivered_aspect(source, profile), out.sample_aspect),
        _measured("field order", source.field_order, out.field_order),
    ]  # fmt: skip
    if source.turn.matrix:
        found.append(_measured("rotation", source.turn.matrix, out.turn.matrix))
    found.append(_times(out, source))
    if source.timecode is not None:
        found.append(_measured("start timecode", source.timecode, out.timecode))
    tracks, kept = _tracks_found(out, source)
    found += tracks
    if source.chapters:
        found.append(_measured("chapters", source.chapters, out.chapters or None))
    if wanted := _upper(source.metadata):
        found.append(_measured("metadata", wanted, {key: value for key, value in _upper(out.metadata).items() if key in wanted}))
    if tags := [pair for track in (source.tags, *(track.tags for track in kept)) for pair in track]:
        made: tuple[Track, ...] = (*out.audio, *out.subtitles)
        there = {*out.tags, *(pair for track in made for pair in track.tags)}
        found.append(_measured("track tags", tags, [pair for pair in tags if pair in there] or None))
    if source.others:
        found.append(_measured("other streams", source.others, tuple(line for line in source.others if line in out.others) or None))
    return tuple(found)


def _luma(out: VideoInfo, source: VideoInfo) -> Verdict:
    if (out.width, out.height, out.colour.depth, len(out.frames)) != (source.width, source.height, source.colour.depth, len(source.frames)):
        found = f"{len(out.frames)} pictures of {out.width}x{out.height} with {out.colour.depth} bits"
        return Verdict("luma samples", "refused" if _flat(out) else "changed", found)
    differing = 0
    with FrameReader(out) as ours, FrameReader(source) as theirs:
        for number in range(len(out.frames)):
            span = Span(number, number + 1)
            differing += int((ours.luma(span) != theirs.luma(span)).sum())
    if differing and _flat(out):
        return Verdict("luma samples", "refused", "mid gray everywhere")
    return _same("luma samples", not differing, "equal", f"{differing} differ")


def _times(out: VideoInfo, source: VideoInfo) -> Verdict:
    ours, theirs = ([int(p) * info.frames.timebase for p in info.frames.pts] for info in (out, source))
    late = [abs(a - b) for a, b in zip(ours, theirs, strict=False) if a != b]
    most = f"{len(late)} differ, by {float(max(late, default=Fraction(0))) * 1000:.3f} ms at most"
    return _same("frame times", not late and len(ours) == len(theirs), "equal", most)


def _flat(out: VideoInfo) -> bool:
    """Whether the luma is mid gray everywhere, as a colour layer's."""
    with FrameReader(out) as reader:
        return all((reader.luma(Span(k, k + 1)) == 1 << (out.colour.depth - 1)).all() for k in range(len(out.frames)))


def _measured(name: str, source: Any, found: Any) -> Verdict:
    if found is None:
        return Verdict(name, "refused", f"{source} is not there")
    return _same(name, source == found, f"{found}", f"{source} became {found}")


def _upper(metadata: dict[str, str]) -> dict[str, str]:
    return {key.upper(): value for key, value in tags_of(metadata).items()}


def _tracks_found(out: VideoInfo, source: VideoInfo) -> tuple[list[Verdict], list[Track]]:
    """A verdict on each track of the source, found again by its bytes, and those tracks of the source that are there."""
    verdicts, kept = [], []
    made: tuple[Track, ...] = (*out.audio, *out.subtitles)
    ours = list(zip(made, _digests(out.url), strict=True))
    for number, ((name, track, _), digest) in enumerate(zip(_in_file_order(source, []), _digests(source.url), strict=True)):
        at = next((k for k, (_, other) in enumerate(ours) if other == digest), None)
        if at is None and track.codec in ("flac", CODEC):
            flac = track.codec == "flac"
            content = unpacked_digest(source.url, number) if flac else words_digest(source.url, number - len(source.audio))
            at = next((k for k, (_, other) in enumerate(ours) if other == content), None)
        if at is None:
            verdicts.append(Verdict(name, "refused", f"{track.codec} is not there"))
            continue
        differing = differences(track, ours.pop(at)[0])
        verdicts.append(_same(name, not differing, f"{track.codec}, equal", ", ".join(differing)))
        kept.append(track)
    return verdicts, kept


def _digests(url: str) -> list[str]:
    """sha256 of the packets of every sound and then every text track."""
    with open_input(url) as container:
        streams = [*container.streams.audio, *container.streams.subtitles]
        found = {s.index: hashlib.sha256() for s in streams}
        for packet in container.demux(streams) if streams else ():
            if packet.size:
                found[packet.stream_index].update(bytes(packet))
        return [found[s.index].hexdigest() for s in streams]
