"""A film as numbered RGB pictures: DPX, TIFF or PNG, each written whole or not at all, and only those that are missing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Any

from numpy.typing import NDArray

from dvcp.errors import ConfigError, StoreError
from dvcp.media import sidecar
from dvcp.media.ahead import ahead
from dvcp.media.dpx import DpxFacts, dpx_of
from dvcp.media.picture import png_of, tiff_of
from dvcp.media.probe import INTERLACED, VideoInfo, probe
from dvcp.media.rates import exact_rate
from dvcp.media.reader import FrameReader
from dvcp.media.rgb import rgb_of
from dvcp.media.sequence import PicturePattern, number_range, parse_pattern
from dvcp.media.siting import Siting
from dvcp.media.source import content_digest
from dvcp.methods.base import Samples
from dvcp.store import files
from dvcp.timecode import later, parse
from dvcp.timing import Span

#: bits a sample that each format is written with, the default first
DEPTHS = {"dpx": (10, 8, 12, 16), "tiff": (16, 8), "png": (16, 8)}
_FORMATS = {".dpx": "dpx", ".tif": "tiff", ".tiff": "tiff", ".png": "png"}
#: threads that convert, encode and put pictures
WRITERS = 2
#: pictures after which the manifest is put: so many may have to be made again to be compared after a crash
EVERY = 100
#: codes of DPX by CICP transfer and primaries, as FFmpeg maps them the other way
_DPX_TRANSFER, _DPX_COLORIMETRIC = {1: 6, 6: 8, 8: 2, 14: 6, 15: 6}, {1: 6, 5: 7, 6: 8}
_MANIFEST = "dvcp pictures 1"


@dataclass(frozen=True)
class UnwrapSettings:
    """What a person asks for.

    Attributes:
        source: the film, path or URL.
        out: pattern of the pictures, ``graded/reel.####.dpx``, path or URL.
        format: "dpx", "tiff" or "png"; None: as the pattern ends.
        depth: bits a sample; None: 10 for DPX, else 16.
        start: number of the first picture; None: that of the scans the film was wrapped from, else 1.
        siting: of the film's chroma.
        overwrite: replace pictures that are there and differ.
    """

    source: str
    out: str
    format: str | None = None
    depth: int | None = None
    start: int | None = None
    siting: Siting = Siting.CENTER
    overwrite: bool = False


@dataclass(frozen=True)
class Unwrapped:
    """What came of it.

    Attributes:
        notation, missing: of the numbers, in fileseq's notation.
        written, kept: pictures put now, and there already with the right bytes.
        luma_error: largest error of Y' in codes of the pictures' depth, over the pictures written now, where nothing was clipped.
        clipped: largest share of pixels of a picture whose colour lies outside RGB.
        manifest_url: JSON with the sha256 of every picture.
        warnings: one line each.
    """

    notation: str
    missing: str
    written: int
    kept: int
    luma_error: float
    clipped: float
    manifest_url: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Numbering:
    """Numbers of the frames, the rate they count at, and the DPX codes of the scans they come from."""

    numbers: tuple[int, ...]
    rate: Fraction
    transfer: int
    colorimetric: int


@dataclass(frozen=True, eq=False)
class _Job:
    index: int
    luma: Samples
    chroma: Samples


@dataclass(frozen=True)
class _Done:
    number: int
    digest: str
    put: bool
    luma_error: float
    clipped: float


def unwrap(settings: UnwrapSettings, report: Callable[[int, int], None] = lambda done, total: None) -> Unwrapped:
    """Write every frame of a film as a picture.

    Luma cannot stay bit for bit in RGB; the error is measured. Run again to go on: pictures whose sha256 is in the manifest are kept.

    Args:
        report: called with (pictures done, pictures in all).

    Raises:
        ConfigError: a pattern, format or depth that makes no sense. MediaError: the film cannot be read.
        StoreError: a picture is there already with other bytes, or the manifest is of something else, and ``overwrite`` is not given.
    """
    pattern = parse_pattern(settings.out)
    if pattern.numbers is not None:
        raise ConfigError("names numbers of its own", file=settings.out, hint="write # for each digit and give --start")
    name = _FORMATS[pattern.suffix.lower()[pattern.suffix.rfind(".") :]]
    if settings.format not in (None, name):
        raise ConfigError(f"is a name of {name} pictures, not {settings.format}", file=settings.out, hint="change --out or --format")
    depth = settings.depth or DEPTHS[name][0]
    if depth not in DEPTHS[name]:
        raise ConfigError(f"{name} is not written with {depth} bits", hint=f"--depth {' or '.join(map(str, DEPTHS[name]))}")
    info = probe(settings.source)
    numbering = number_frames(info, settings.start)
    info, warnings = _with_timecode(info, numbering)
    manifest = _Manifest(settings, pattern, name, depth, content_digest(settings.source))
    known = manifest.read(settings.overwrite)
    present = files.list_sizes(pattern.folder)
    kept = {number: known[number] for number in numbering.numbers if _there(pattern, number, known, present)}
    todo = [k for k, number in enumerate(numbering.numbers) if number not in kept]

    def finish(job: _Job) -> _Done:
        number = numbering.numbers[job.index]
        picture = rgb_of(job.luma, job.chroma, info.colour, depth, settings.siting, info.field_order in INTERLACED)
        data = _encoded(picture.samples, name, depth, _facts(info, numbering, pattern.name(number), job.index))
        put = _put(data, pattern.url(number), pattern.name(number) in present, settings.overwrite)
        return _Done(number, hashlib.sha256(data).hexdigest(), put, picture.luma_error, picture.clipped)

    digests, made = dict(kept), list[_Done]()
    report(len(kept), len(numbering.numbers))
    with FrameReader(info) as reader:
        for done in ahead(finish, _jobs(reader, todo), WRITERS):
            made.append(done)
            digests[done.number] = done.digest
            report(len(digests), len(numbering.numbers))
            if len(made) % EVERY == 0:
                manifest.write(digests)
    manifest.write(digests)
    numbers = numbering.numbers
    gaps = set(range(numbers[0], numbers[-1] + 1)) - set(numbers)
    return Unwrapped(
        f"{pattern.base}{number_range(numbers)}{'#' * pattern.padding}{pattern.suffix}", number_range(gaps, pattern.padding),
        sum(d.put for d in made), len(kept) + sum(not d.put for d in made), max((d.luma_error for d in made), default=0.0),
        max((d.clipped for d in made), default=0.0), manifest.url, tuple(warnings),
    )  # fmt: skip


def number_frames(info: VideoInfo, start: int | None = None) -> Numbering:
    """The number of every frame: from the tags or the sidecar of a film that was wrapped from scans, gaps included; else counted.

    Args:
        start: number of the first frame instead.
    """
    tags = {key.upper(): value for key, value in info.metadata.items()}
    told = sidecar.read(sidecar.url_beside(info.url)) if sidecar.FIRST not in tags else None
    if told is not None and len(told.pictures) == len(info.frames):
        tags |= {sidecar.FIRST: str(told.first), sidecar.RATE: told.asked.rate}
    transfer = int(tags.get(sidecar.DPX_TRANSFER, _DPX_TRANSFER.get(info.colour.transfer, 4)))
    colorimetric = int(tags.get(sidecar.DPX_COLORIMETRIC, _DPX_COLORIMETRIC.get(info.colour.primaries, 4)))
    if sidecar.FIRST not in tags or sidecar.RATE not in tags:
        first = 1 if start is None else start
        return Numbering(tuple(range(first, first + len(info.frames))), info.average_rate, transfer, colorimetric)
    first, rate = int(tags[sidecar.FIRST]) if start is None else start, exact_rate(tags[sidecar.RATE])
    begin = int(info.frames.pts[0])
    ticks = [round((int(pts) - begin) * info.frames.timebase * rate) for pts in info.frames.pts]
    return Numbering(tuple(first + tick for tick in ticks), rate, transfer, colorimetric)


def _with_timecode(info: VideoInfo, numbering: Numbering) -> tuple[VideoInfo, list[str]]:
    """The film without a timecode that its rate does not have, and a warning then."""
    if info.timecode is None:
        return info, []
    try:
        parse(info.timecode, numbering.rate)
    except ConfigError as error:
        return replace(info, timecode=None), [f"{info.url}: {error.message}; pictures carry none"]
    return info, []


def _jobs(reader: FrameReader, todo: list[int]) -> Iterator[_Job]:
    for k in todo:
        luma, chroma = reader.planes(Span(k, k + 1))
        yield _Job(k, luma[0], chroma[0])


def _facts(info: VideoInfo, numbering: Numbering, name: str, index: int) -> DpxFacts:
    offset = numbering.numbers[index] - numbering.numbers[0]
    timecode = later(info.timecode, offset, numbering.rate) if info.timecode else None
    return DpxFacts(name, offset, numbering.rate, timecode, numbering.transfer, numbering.colorimetric, info.sample_aspect)


def _encoded(samples: NDArray[Any], name: str, depth: int, facts: DpxFacts) -> bytes:
    if name == "dpx":
        return dpx_of(samples, depth, facts)
    return tiff_of(samples) if name == "tiff" else png_of(samples)


def _put(data: bytes, url: str, present: bool, overwrite: bool) -> bool:
    """Store a picture; False when it is there already with these bytes."""
    if present and files.get_bytes(url) == data:
        return False
    if present and not overwrite:
        raise StoreError("exists and is another picture", file=url, hint="choose another --out, or --overwrite")
    files.put_bytes(data, url)
    return True


def _there(pattern: PicturePattern, number: int, known: dict[int, str], present: dict[str, int]) -> bool:
    if number not in known or pattern.name(number) not in present:
        return False
    data = files.get_bytes(pattern.url(number))
    return data is not None and hashlib.sha256(data).hexdigest() == known[number]


class _Manifest:
    """``reel.dpx.pictures.json`` beside the pictures: what they were made from, how, and the sha256 of each."""

    def __init__(self, settings: UnwrapSettings, pattern: PicturePattern, name: str, depth: int, film_sha256: str) -> None:
        stem = pattern.base.rstrip("._-") or "sequence"
        self.url = files.join(pattern.folder, f"{stem}{pattern.suffix}.pictures.json")
        self._pattern, self._settings = pattern, settings
        self._made = {
            "film_sha256": film_sha256, "pattern": pattern.name(0), "format": name, "depth": depth, "siting": settings.siting.value,
            "start": settings.start,
        }  # fmt: skip

    def read(self, overwrite: bool) -> dict[int, str]:
        """sha256 by number; empty when there is no manifest, or another one that may be overwritten."""
        data = files.get_bytes(self.url)
        if data is None:
            return {}
        try:
            found = json.loads(data)
            same = found["made"] == self._made
            digests = {p["number"]: p["sha256"] for p in found["pictures"]}
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError("is no manifest of dvcp unwrap", file=self.url, hint="remove it") from error
        if same:
            return digests
        if not overwrite:
            raise StoreError("tells of other pictures under these names", file=self.url, hint="choose another --out, or --overwrite")
        return {}

    def write(self, digests: dict[int, str]) -> None:
        """Put the manifest of the pictures done so far."""
        pictures = [{"number": n, "file": self._pattern.name(n), "sha256": digest} for n, digest in sorted(digests.items())]
        data = {"manifest": _MANIFEST, "film": self._settings.source, "made": self._made, "pictures": pictures}
        files.put_bytes(json.dumps(data, indent=1).encode(), self.url)


def summary(done: Unwrapped) -> dict[str, Any]:
    """The result as JSON types."""
    return asdict(done)
