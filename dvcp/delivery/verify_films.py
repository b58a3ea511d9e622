"""The films of a bag: each against its own lists and marks, and each copy against the master."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvcp.delivery import names
from dvcp.delivery.bag import Digests, local_copy
from dvcp.delivery.framemd5 import BATCH, first_difference, write_framemd5
from dvcp.delivery.mark import Mark, read_mark, recipe
from dvcp.delivery.sidecar import read_sidecar
from dvcp.delivery.sound import carried, sound_digests
from dvcp.errors import DvcpError, MediaError
from dvcp.media.compare import MIN_PSNR
from dvcp.media.planes import delivered_planes, delivered_size
from dvcp.media.probe import VideoInfo, probe
from dvcp.media.profiles import MASTER, Profile, profile_of
from dvcp.media.reader import FrameReader
from dvcp.store import files
from dvcp.timing import FrameTable, Span


@dataclass(frozen=True, eq=False)
class Film:
    """One film of the bag: name in ``data/``, URL there, local file, what it holds, profile."""

    name: str
    url: str
    path: Path
    info: VideoInfo
    profile: Profile

    def exact(self, clock: FrameTable, source: str) -> bool:
        """True when ``clock`` is that of the source file. Raises MediaError."""
        theirs = probe(source).frames
        return (clock.timebase, clock.pts.tolist()) == (theirs.timebase, theirs.pts.tolist())


def open_film(stack: ExitStack, url: str, entry: Mapping[str, Any]) -> Film:
    """A film the provenance names; the local copy lives as long as ``stack``. Raises DvcpError when it cannot be read."""
    where = files.join(url, "data", entry["file"])
    path = stack.enter_context(local_copy(where))
    return Film(entry["file"], where, path, probe(str(path)), profile_of(entry["profile"]))


def check_film(
    film: Film, provenance: Mapping[str, Any], digests: Digests, clock: FrameTable | None, scratch: Path
) -> Iterator[str]:
    """Problems of one film by itself: digest, mark, times, sound, and both lists made anew by decoding it."""
    name = f"data/{film.name}"
    told = next(entry for entry in provenance["delivery"]["files"] if entry["file"] == film.name)
    if (told["sha256"], told["bytes"]) != (digests.sha256, digests.size):
        yield f"{name}: sha256 or size is not that of {names.PROVENANCE}"
    yield from _marks(film, provenance, digests)
    if clock is not None:
        yield from _times(film, clock)
    # A container may have refused a track, which provenance then tells; the master's refuses none of what it was given.
    whole = provenance["delivery"]["sound"]
    if sound_digests(film.info) != told["sound"] or not carried(told["sound"], whole):
        yield f"{name}: its sound is not that of {names.PROVENANCE}"
    if film.profile is MASTER and told["sound"] != whole:
        yield f"{name}: has not all the sound of {names.PROVENANCE}"
    ours = scratch / "luma", scratch / "everything"
    try:
        write_framemd5(film.info, *ours)
    except DvcpError as error:
        yield f"{name}: frame {error.frame}: {error.message}"
        return
    for made, suffix in zip(ours, (names.LUMA, names.EVERYTHING), strict=True):
        kept = files.get_bytes(film.url + suffix)
        if kept is None:
            yield f"{name}{suffix}: missing"
        elif difference := first_difference(made.read_text().splitlines(), kept.decode(errors="replace").splitlines()):
            yield f"{name}{suffix}: decoding gives {difference}"


def check_copy(film: Film, master: Film) -> Iterator[str]:
    """Problems of a copy of the master: the layer sample by sample, a lossy one to :data:`dvcp.media.compare.MIN_PSNR` dB in each plane.

    Raises:
        MediaError: a frame of either cannot be decoded.
    """
    name, ours, theirs = f"data/{film.name}", film.info, master.info
    if len(ours.frames) != len(theirs.frames):
        yield f"{name}: {len(ours.frames)} frames instead of {len(theirs.frames)}"
    if (ours.height, ours.width) != delivered_size(theirs, film.profile):
        yield f"{name}: {ours.width}x{ours.height} is not what the master gives"
        return
    worst, at = math.inf, 0
    count = min(len(ours.frames), len(theirs.frames))
    with FrameReader(ours) as copy, FrameReader(theirs) as whole:
        for first in range(0, count, BATCH):
            span = Span(first, min(first + BATCH, count))
            (y, c), (luma, chroma) = copy.planes(span), whole.planes(span)
            for k, number in enumerate(span):
                wanted = delivered_planes(luma[k], chroma[k], theirs, film.profile)
                near = min(_psnr(a, b, ours.colour.depth) for a, b in zip((y[k], c[k, 0], c[k, 1]), wanted, strict=True))
                worst, at = min((worst, at), (near, number))
    if film.profile.lossy and worst < MIN_PSNR:
        yield f"{name}: frame {at} is {worst:.1f} dB from the master, below {MIN_PSNR:.0f} dB"
    if not film.profile.lossy and worst < math.inf:
        yield f"{name}: frame {at} is not the master's"


def _psnr(found: NDArray[Any], wanted: NDArray[Any], depth: int) -> float:
    if found.shape != wanted.shape:
        raise MediaError(f"a plane of {found.shape} where {wanted.shape} was expected")
    error = float(np.mean(np.square(found.astype(np.float64) - wanted)))
    return 10 * math.log10(((1 << depth) - 1) ** 2 / error) if error else math.inf


def _marks(film: Film, provenance: Mapping[str, Any], digests: Digests) -> Iterator[str]:
    name = f"data/{film.name}"
    mark = read_mark(film.info.metadata)
    if mark is None:
        yield f"{name}: carries no mark of synthetic colour"
        return
    if (mark.source, mark.recipe) != (provenance["source"]["sha256"], recipe(s["key"] for s in provenance["segments"])):
        yield f"{name}: its mark names another source or other segments than {names.PROVENANCE}"
    yield from _sidecar(film, mark, provenance, digests)


def _sidecar(film: Film, mark: Mark, provenance: Mapping[str, Any], digests: Digests) -> Iterator[str]:
    wanted = mark.to_json(film.name, digests.sha256, digests.size, film.profile.name, provenance["output"]["sha256"])
    try:
        found = read_sidecar(film.url + names.MARK)
    except DvcpError as error:
        yield f"data/{film.name}{names.MARK}: {error.message}"
        return
    if found != wanted:
        yield f"data/{film.name}{names.MARK}: {'missing' if found is None else 'does not agree with the film'}"


def _times(film: Film, clock: FrameTable) -> Iterator[str]:
    if len(film.info.frames) != len(clock):
        yield f"data/{film.name}: {len(film.info.frames)} frames, {names.PTS} has {len(clock)}"
    shift = max(Fraction(0), -int(clock.pts[0]) * clock.timebase)
    base = film.info.frames.timebase
    pairs = zip(clock.pts.tolist(), film.info.frames.pts.tolist(), strict=False)
    # within half a tick of the container's own clock: its rounding
    late = [number for number, (exact, found) in enumerate(pairs) if abs((exact * clock.timebase + shift) / base - found) > Fraction(1, 2)]
    if late:
        yield f"data/{film.name}: {len(late)} frames are not at the time of {names.PTS}, first frame {late[0]}"
