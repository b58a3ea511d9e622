"""A sequence of scanned pictures as one gray film, losslessly, with the proof that every sample is there and a sidecar of what was read."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from typing import Any

import numpy as np

from dvcp.errors import ConfigError, MediaError, StoreError, VerifyError
from dvcp.media import sidecar
from dvcp.media.ahead import ahead
from dvcp.media.film import GrayFilm, GrayFilmWriter, sound_digests
from dvcp.media.gray import Luma, Origin, gray_of
from dvcp.media.picture import SourcePicture, read_picture
from dvcp.media.probe import probe
from dvcp.media.profiles import MASTER
from dvcp.media.rates import exact_rate
from dvcp.media.reader import FrameReader
from dvcp.media.sequence import MOST_NUMBERS, PictureSequence, find_sequence
from dvcp.media.sidecar import PictureRecord, Sidecar
from dvcp.media.source import content_digest
from dvcp.store import files
from dvcp.timecode import later, parse
from dvcp.timing import Span

#: pictures read ahead of the encoder, by so many threads
READERS = 2
#: Matroska counts in milliseconds: faster frames would share one
FASTEST = 500
#: CICP codes of the matrices luma may be computed with
_MATRIX = {Luma.BT709: 1, Luma.BT601: 6, Luma.BT2020: 9}
#: transfer codes of DPX that hold densities, which players show as a flat picture
_DENSITIES = (1, 3)
Report = Callable[[str, int, int], None]


class Gaps(StrEnum):
    """What missing numbers mean: a fault, or time in which the picture before stands."""

    ERROR = "error"
    KEEP = "keep"


@dataclass(frozen=True)
class WrapSettings:
    """What a person asks for.

    Attributes:
        source: folder or pattern of numbered pictures, path or fsspec URL.
        out: the film, ``.mkv``, path or URL.
        rate: frames per second; None takes that of the DPX headers.
        timecode: of the first picture; None takes that of the DPX headers, if it runs.
        audio: file whose audio tracks are copied beside the picture.
        luma: how luma is computed where R, G and B differ; None refuses such pictures.
        gaps: what missing numbers mean.
    """

    source: str
    out: str
    rate: Fraction | None = None
    timecode: str | None = None
    audio: str | None = None
    luma: Luma | None = None
    gaps: Gaps = Gaps.ERROR


@dataclass(frozen=True)
class Wrapped:
    """What came of it: the sidecar, warnings (one line each), and whether the film was there already (and has been proved again)."""

    out: str
    sidecar_url: str
    told: Sidecar
    warnings: tuple[str, ...]
    reused: bool


def wrap(settings: WrapSettings, report: Report = lambda stage, done, total: None) -> Wrapped:
    """Pack a sequence into FFV1/Matroska, read the film back beside the pictures, and only then put it under its name.

    A film that an earlier call made from the same pictures is proved again and kept.

    Args:
        settings: what to do.
        report: called with ("written" or "proved", frames done, frames in all).

    Raises:
        MediaError: no or several sequences, missing numbers, a picture that is damaged or unlike the first, channels that differ.
        ConfigError: no rate, a timecode that does not exist, an ``out`` that is no ``.mkv``.
        VerifyError: the film does not give back what the pictures hold, or they changed since.
        StoreError: ``out`` exists and is something else; no space.
    """
    out = files.absolute(settings.out)
    if not out.endswith(MASTER.suffix):
        raise ConfigError(f"a wrapped film ends in {MASTER.suffix}", file=settings.out, hint="change --out")
    sequence = find_sequence(settings.source)
    _check_numbers(sequence, settings)
    first = read_picture(sequence.url(0))
    settings, warnings = _completed(settings, sequence, first)
    asked = sidecar.Asked(
        str(settings.rate), settings.timecode, settings.luma.value if settings.luma else None,
        sound_digests(settings.audio) if settings.audio else (),
    )  # fmt: skip
    if files.exists(out):
        told = _told(out, sequence, asked)
        _prove(out, sequence, settings, told.pictures, report)
        return Wrapped(out, sidecar.url_beside(out), told, tuple(warnings), True)
    folder = files.local_path(files.split(out)[0])
    if folder:
        os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".dvcp-", dir=folder) as scratch:
        path = os.path.join(scratch, "film" + MASTER.suffix)
        pictures, sound_end = _write(path, sequence, settings, first, report)
        _prove(path, sequence, settings, pictures, report)
        warnings += _doubts(sequence, settings, pictures, sound_end)
        told = sidecar.told(sequence, asked, first, pictures, files.split(out)[1], content_digest(path))
        # first, so that a film under its name is never without
        files.put_bytes(told.to_bytes(), sidecar.url_beside(out))
        files.put_file(path, out)
    return Wrapped(out, sidecar.url_beside(out), told, tuple(warnings), False)


def _check_numbers(sequence: PictureSequence, settings: WrapSettings) -> None:
    if sequence.numbers[-1] - sequence.numbers[0] > MOST_NUMBERS:
        message = f"numbers run from {sequence.numbers[0]} to {sequence.numbers[-1]}"
        raise MediaError(message, file=settings.source, hint="they are dates or identifiers, not frame numbers; rename the pictures")
    if sequence.gaps and settings.gaps is Gaps.ERROR:
        message = f"{sequence.notation}: missing {sequence.gaps}"
        raise MediaError(message, file=settings.source, hint="find them, or --gaps keep to let the picture before each gap stand")


def _completed(settings: WrapSettings, sequence: PictureSequence, first: SourcePicture) -> tuple[WrapSettings, list[str]]:
    """The settings with rate and timecode from the headers where none were given, and warnings."""
    warnings = []
    in_header = exact_rate(first.header["rate"]) if "rate" in first.header else None
    rate = settings.rate or in_header
    if rate is None:
        raise ConfigError("the pictures do not say how fast they run", file=settings.source, hint="give --rate, such as --rate 24")
    if rate > FASTEST:
        raise ConfigError(f"{rate} frames per second are too fast for Matroska", hint=f"at most {FASTEST}")
    if in_header not in (None, rate):
        warnings.append(f"{first.url}: its header says {in_header} frames per second, {rate} are used")
    timecode = settings.timecode
    if timecode:
        parse(timecode, rate)
    elif timecode := first.header.get("timecode"):
        # many writers leave the same digits, often zeros, in every header
        following = None if len(sequence) == 1 else read_picture(sequence.url(1)).header.get("timecode")
        runs = following is None or following == _expected(timecode, sequence.numbers[1] - sequence.numbers[0], rate)
        if not runs or _expected(timecode, 0, rate) is None:
            warnings.append(f"{first.url}: the timecode {timecode} of its header does not run on and is not used")
            timecode = None
    header = first.header
    if header.get("transfer") in _DENSITIES:
        warnings.append(f"{first.url}: samples are {header['transfer_name']}; they are kept as they are and look flat")
    if header.get("photometric") == "WhiteIsZero":
        warnings.append(f"{first.url}: white is zero in these pictures; samples are turned over, so that black is")
    if header.get("orientation", 0) not in (0, 1):
        warnings.append(f"{first.url}: its header asks to turn the picture (orientation {header['orientation']}); it is kept as stored")
    return replace(settings, rate=rate, timecode=timecode), warnings


def _expected(timecode: str, offset: int, rate: Fraction) -> str | None:
    """Of a header that may hold anything: None for a timecode that does not exist."""
    try:
        return later(timecode, offset, rate)
    except ConfigError:
        return None


def _write(
    path: str, sequence: PictureSequence, settings: WrapSettings, first: SourcePicture, report: Report
) -> tuple[tuple[PictureRecord, ...], Fraction]:
    """Write the film; what every picture was, and where its sound ends (seconds)."""
    assert settings.rate is not None
    height, width = first.samples.shape[:2]
    matrix = _MATRIX.get(settings.luma, 2) if settings.luma and first.samples.ndim == 3 else first.matrix
    tags = sidecar.tags(sequence, settings.rate, first.header)
    if settings.luma and first.samples.ndim == 3:
        tags["DVCP_LUMA"] = f"computed ({settings.luma.value}) where R, G and B differ: not the scan's own samples"
    film = GrayFilm(
        width, height, first.depth, settings.rate, len(sequence), not sequence.gaps, first.limited, first.primaries, first.transfer, matrix,
        first.sample_aspect, settings.timecode, tags,
    )  # fmt: skip
    records: list[PictureRecord] = []
    urls = [sequence.url(k) for k in range(len(sequence))]
    with GrayFilmWriter(path, film, settings.audio) as writer:
        for k, picture in enumerate(ahead(read_picture, urls, READERS)):
            if (picture.samples.shape[:2], picture.depth, picture.limited) != ((height, width), first.depth, first.limited):
                message = f"{picture.shape} instead of {first.shape} as in {sequence.names[0]}"
                raise MediaError(message, file=picture.url, hint="wrap pictures of one size and depth at a time, with a pattern")
            luma, origin = gray_of(picture, settings.luma)
            writer.write(sequence.numbers[k] - sequence.numbers[0], luma)
            records.append(PictureRecord(sequence.numbers[k], sequence.names[k], picture.digest, origin, picture.header))
            report("written", k + 1, len(sequence))
    return tuple(records), writer.sound_end


def _told(out: str, sequence: PictureSequence, asked: sidecar.Asked) -> Sidecar:
    """The sidecar of a film that is there already, if it was made from this sequence in this way."""
    told = sidecar.read(sidecar.url_beside(out))
    hint = "choose another --out or remove it"
    if told is None:
        raise StoreError("exists and has no sidecar of dvcp wrap", file=out, hint=hint)
    if told.asked != asked or [p.file for p in told.pictures] != list(sequence.names):
        raise StoreError("exists and was made from other pictures or in another way", file=out, hint=hint)
    if content_digest(out) != told.film_sha256:
        raise StoreError("exists and its bytes are not those that were written", file=out, hint=hint)
    return told


def _prove(url: str, sequence: PictureSequence, settings: WrapSettings, pictures: tuple[PictureRecord, ...], report: Report) -> None:
    """Read the film back beside the pictures, which are read once more."""
    assert settings.rate is not None
    info = probe(url)
    ticks = [round(int(pts) * info.frames.timebase * settings.rate) for pts in info.frames.pts]
    if ticks != [number - sequence.numbers[0] for number in sequence.numbers]:
        raise VerifyError("frames are not at the times of their numbers", file=url, hint="report it")
    urls = [sequence.url(k) for k in range(len(sequence))]
    with FrameReader(info) as reader:
        for k, picture in enumerate(ahead(read_picture, urls, READERS)):
            if picture.digest != pictures[k].sha256:
                raise VerifyError("changed since it was wrapped", file=picture.url, hint="wrap it again to another --out")
            luma, _ = gray_of(picture, settings.luma)
            if differing := int(np.count_nonzero(reader.luma(Span(k, k + 1))[0] != luma)):
                raise VerifyError(f"{differing} samples differ from {picture.url}", file=url, frame=k, hint="report it")
            report("proved", k + 1, len(sequence))
    if settings.audio and sound_digests(url) != sound_digests(settings.audio):
        raise VerifyError(f"sound differs from {settings.audio}", file=url, hint="report it")


def _doubts(sequence: PictureSequence, settings: WrapSettings, pictures: tuple[PictureRecord, ...], sound_end: Fraction) -> list[str]:
    """What a person should know about the finished film, one line each."""
    assert settings.rate is not None
    warnings = []
    if computed := sum(p.origin is Origin.COMPUTED for p in pictures):
        warnings.append(f"{settings.out}: luma of {computed} of {len(pictures)} pictures is computed, not original")
    end = (sequence.numbers[-1] - sequence.numbers[0] + 1) / settings.rate
    if settings.audio and abs(off := (sound_end - end) * settings.rate) > 1:
        warnings.append(f"{settings.audio}: sound ends {abs(round(off))} frames {'after' if off > 0 else 'before'} the picture")
    start = pictures[0].header.get("timecode")
    if start and start == settings.timecode:
        for picture in pictures:
            found = picture.header.get("timecode")
            if found != (wanted := later(start, picture.number - sequence.numbers[0], settings.rate)):
                warnings.append(f"{picture.file}: its header says timecode {found}, its number {wanted}")
                break
    return warnings


def summary(done: Wrapped) -> dict[str, Any]:
    """The result as JSON types."""
    told = done.told
    return {
        "out": done.out, "sidecar": done.sidecar_url, "sequence": told.notation, "frames": len(told.pictures), "missing": told.missing,
        "rate": told.asked.rate, "timecode": told.asked.timecode, "depth": told.depth, "differing_samples": 0, "reused": done.reused,
        "luma": told.origins(), "warnings": list(done.warnings),
    }  # fmt: skip
