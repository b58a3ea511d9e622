"""One look at every frame before any work: which cannot be decoded, where the cuts are, and what each shot is.

Not every shot of an archive's film is gray and in need of colour: reels are joined from black and white and colour, prints are tinted,
leader and title cards stand between. What a shot is follows from numbers taken of its frames, so that it can be asked again for an edited
shot list without decoding anything.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dvcp.colour import ColourSpec, chroma_to_unit, luma_to_unit
from dvcp.errors import MediaError, PictureChange
from dvcp.media.probe import INTERLACED, VideoInfo
from dvcp.media.reader import FrameReader, each_frame
from dvcp.media.unfilled import unfilled
from dvcp.shots.detect import FLAT, READ_BYTES, CutFinder, small_gray
from dvcp.store import files
from dvcp.timing import Span

#: numbers of one frame. ``spread``: mean absolute deviation from its mean gray (of 255); ``change``: correlation of its layout with that of
#: the frame before; ``tones``: share of its samples in its two tones (0 when they do not stand well apart); ``colour``: RMS of the chroma
#: that does not follow from luma, in units of full chroma; ``cb``, ``cr``: mean chroma, likewise; ``comb``: share of samples that stand out
#: from the lines above and below as only fields of different moments do
LOOK = np.dtype([(name, np.float32) for name in ("spread", "change", "tones", "colour", "cb", "cr", "comb")])
#: share of undecodable frames above which a film is refused: what is left is no film
MOST_DAMAGED = 0.5
#: frames of another size or format that may pass as damaged; with more of them the film itself changes
MOST_CHANGED = 3
#: RMS of a shot's chroma that does not follow from luma: 0.0198 at least on 51 corpus clips in colour, 0.0126 at most on the same as sepia
#: prints with chroma noise of 6 codes and blotches of 2
COLOUR = 0.014
#: mean chroma from which a print counts as tinted
TINT = 0.012
#: share of a title card's samples in its two tones, their distance in codes of 255, and how still it stands
TONES, APART, STILL = 0.9, 80, 0.998
#: how much more combed by lines than by columns a shot's most combed frames must be to be of two moments. Of 34 corpus clips 33 stay below
#: 0.0015 and one reaches 0.006, with noise of 8 codes likewise; woven of two moments they have 0.05 to 0.35 where much moves
COMBED = 0.008
#: frames from one that is asked for combs to the next: it is the costliest question
COMB_STEP = 4
#: frames around damage that are decoded twice, and how many in a row must be the same
REACH, SETTLED = 64, 24
MAYBE_WOVEN = (*INTERLACED, "unknown")
_VERSION = 1


class Kind(StrEnum):
    """What a shot is.

    ``GRAY``: has no colour; ``TINTED``: its colour follows from its luma (a tinted, toned or faded print), so it counts as gray;
    ``COLOUR``: is in colour already; ``BLANK``: black, white or plain leader; ``CARD``: a still picture of two tones, a title or slate.
    """

    GRAY = "gray"
    TINTED = "tinted"
    COLOUR = "colour"
    BLANK = "blank"
    CARD = "card"

    @property
    def wants_colour(self) -> bool:
        return self in (Kind.GRAY, Kind.TINTED)


@dataclass(frozen=True)
class Character:
    """What a shot is.

    Attributes:
        kind: what it shows.
        tint: mean Cb and Cr, centred at 0, in units of full chroma.
        fields: its frames are woven of two fields of different moments.
    """

    kind: Kind
    tint: tuple[float, float] = (0.0, 0.0)
    fields: bool = False


@dataclass(frozen=True, eq=False)
class Survey:
    """What one pass over a film found.

    Attributes:
        looks: one of :data:`LOOK` a frame.
        damaged: numbers of the frames that cannot be decoded, rising.
        trouble: what the first of them said.
        cuts: first frames of all shots but the first; None when they were not looked for.
    """

    looks: NDArray[np.void]
    damaged: tuple[int, ...]
    trouble: str
    cuts: tuple[int, ...] | None

    def character(self, span: Span, info: VideoInfo) -> Character:
        """What the shot ``span`` is."""
        sound = np.setdiff1d(np.arange(span.first, span.stop), self.damaged)
        looks = self.looks[sound]
        tint = (float(looks["cb"].mean()), float(looks["cr"].mean())) if len(looks) else (0.0, 0.0)
        # What is flagged as progressive is left whole: a fence is combed too.
        combs = looks["comb"][~np.isnan(looks["comb"])]
        combed = len(combs) > 0 and float(np.quantile(combs, 0.9)) > COMBED
        return Character(self._kind(looks, tint), tint, combed and info.field_order in MAYBE_WOVEN)

    def _kind(self, looks: NDArray[np.void], tint: tuple[float, float]) -> Kind:
        if not len(looks) or np.mean(looks["spread"] < FLAT) >= 0.9:
            return Kind.BLANK
        if float(np.median(looks["colour"])) > COLOUR:
            return Kind.COLOUR
        # A shot's first frame differs from the shot before.
        still = len(looks) == 1 or float(np.quantile(looks["change"][1:], 0.1)) > STILL
        if still and float(np.quantile(looks["tones"], 0.1)) > TONES:
            return Kind.CARD
        return Kind.TINTED if np.hypot(*tint) > TINT else Kind.GRAY

    def write(self, url: str) -> None:
        """Store it. Raises StoreError."""
        buffer = io.BytesIO()
        cuts = np.array([-1] if self.cuts is None else self.cuts, np.int64)
        arrays = {"looks": self.looks, "damaged": np.array(self.damaged, np.int64), "cuts": cuts, "trouble": np.array(self.trouble)}
        np.savez_compressed(buffer, allow_pickle=False, version=np.array(_VERSION), **arrays)
        files.put_bytes(buffer.getvalue(), url)

    @classmethod
    def read(cls, url: str, frames: int) -> Survey | None:
        """The survey stored at ``url``; None when there is none of a film of so many frames, or it is damaged, or of another version."""
        try:
            with np.load(io.BytesIO(files.get_bytes(url) or b""), allow_pickle=False) as stored:
                looks, cuts = stored["looks"], tuple(stored["cuts"].tolist())
                if int(stored["version"]) != _VERSION or len(looks) != frames or looks.dtype != LOOK:
                    return None
                return cls(looks, tuple(stored["damaged"].tolist()), str(stored["trouble"]), None if cuts == (-1,) else cuts)
        except Exception:  # a damaged archive makes its reader stumble over anything: zlib.error, RuntimeError, its own
            return None


def survey(info: VideoInfo, *, cuts: bool = True, progress: Callable[[int], None] | None = None) -> Survey:
    """Decode a film once, from end to end. Memory does not grow with its length but by 28 bytes a frame.

    Args:
        cuts: look for them, too.
        progress: called with the number of frames seen so far.

    Raises:
        ConfigError: cuts are wanted and PySceneDetect is not installed.
        MediaError: the film cannot be opened, more than half of its frames cannot be decoded, its pictures change size or format, or its
            data do not fill them.
    """
    if unfilled(info):
        message = f"its data do not fill pictures of {info.width}x{info.height}: what is missing decodes to something else each time"
        raise MediaError(message, file=info.url, hint="its header announces a wrong size; correct it, or take another copy")
    count, size = len(info.frames), info.width * info.height * np.dtype(info.colour.dtype).itemsize
    looks = np.zeros(count, LOOK)
    finder = CutFinder(rate=info.average_rate) if cuts else None
    damaged: list[int] = []
    trouble: MediaError | None = None
    last: NDArray[np.float32] | None = None
    woven, changed = info.field_order in MAYBE_WOVEN, 0
    for number, frame in enumerate(each_frame(info, max(1, min(16, READ_BYTES // (2 * size))))):
        if isinstance(frame, MediaError):
            trouble = trouble or frame
            damaged.append(number)
            changed += isinstance(frame, PictureChange)
            if changed > MOST_CHANGED:
                raise frame
            if len(damaged) > MOST_DAMAGED * count:
                break
        else:
            gray = small_gray(frame[0], info.colour)
            if finder is not None:
                finder.see(gray)
            last, before = _layout(gray), last
            comb = _combed(frame[0], info.colour) if woven and number % COMB_STEP == 0 else np.nan
            looks[number] = (*_spread(gray, last, before), _tones(gray), *_coloured(*frame, info), comb)
        if progress is not None:
            progress(number + 1)
    if trouble is not None and len(damaged) > MOST_DAMAGED * count:
        seen = damaged[-1] + 1 - len(damaged)
        hint = "restore or convert it first"
        what = f"only {seen} of the first {damaged[-1] + 1} frames can be decoded; {trouble.message}"
        raise MediaError(what, file=info.url, frame=trouble.frame, hint=hint)
    damaged = sorted({*damaged, *_shaky(info, tuple(damaged))})
    numbers = np.setdiff1d(np.arange(count), damaged)
    found = None if finder is None else tuple(numbers[finder.finish()].tolist())
    return Survey(looks, tuple(damaged), str(trouble or ""), found)


def _shaky(info: VideoInfo, damaged: Sequence[int]) -> set[int]:
    """Frames around damaged ones that are not the same when decoding begins at them and when it comes through what is before.

    A decoder mends what refers to lost pictures as well as it can, which is another picture each way; both ways are taken, by segments that
    begin here and by verification, and luma must not depend on that.
    """
    found, lost = set[int](), set(damaged)
    seen = -1
    for last in (frame for frame in damaged if frame + 1 not in lost):
        alike, start = 0, max(seen + 1, last - REACH)
        with FrameReader(replace(info, damaged=tuple(damaged))) as through:
            if start:
                through.luma(Span(max(0, start - REACH), start))
            for frame in range(start, min(len(info.frames), last + REACH)):
                if frame > last and alike == SETTLED:
                    break
                seen = frame
                if frame in lost:
                    continue
                try:
                    with FrameReader(info) as fresh:
                        same = np.array_equal(through.luma(Span(frame, frame + 1)), fresh.luma(Span(frame, frame + 1)))
                except MediaError:
                    same = False
                alike = alike + 1 if same else 0
                if not same:
                    found.add(frame)
    return found


def _layout(gray: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A frame as a vector of 18 x 32 samples of zero mean and unit length; a plain frame gives zeros."""
    small = cv2.resize(gray.astype(np.float32), (32, 18), interpolation=cv2.INTER_AREA)
    vector = small.ravel() - small.mean()
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-6), np.float32)


def _spread(gray: NDArray[np.uint8], layout: NDArray[np.float32], before: NDArray[np.float32] | None) -> tuple[float, float]:
    """``spread`` and ``change`` of :data:`LOOK`."""
    level = gray.astype(np.float32)
    return float(np.abs(level - level.mean()).mean()), 1.0 if before is None else float(layout @ before)


def _tones(gray: NDArray[np.uint8]) -> float:
    """Share of samples within 12 codes of the two commonest tones."""
    counts = np.bincount(gray.ravel(), minlength=256).astype(np.float64)
    near = np.convolve(counts, np.ones(25), "same")
    first = int(near.argmax())
    far = np.abs(np.arange(256) - first) >= APART
    second = int(np.where(far, near, -1).argmax())
    # Letters are fine strokes that area averaging softens: what lies between the two tones must be little, and the second one be there.
    return float((near[first] + near[second]) / gray.size) if near[second] > 0.01 * gray.size else 0.0


def _coloured(luma: NDArray[Any], chroma: NDArray[Any], info: VideoInfo) -> tuple[float, float, float]:
    """RMS of the chroma that no cubic of luma explains, and mean Cb and Cr."""
    if info.gray:
        return 0.0, 0.0, 0.0
    y, *planes = (cv2.resize(np.ascontiguousarray(p, np.float32), (32, 18), interpolation=cv2.INTER_AREA).ravel() for p in (luma, *chroma))
    u, ab = luma_to_unit(y, info.colour).clip(0, 1), chroma_to_unit(np.stack(planes, 1), info.colour)
    terms = np.stack([np.ones_like(u), u, u * u, u * u * u], 1)
    rest = ab - terms @ np.linalg.lstsq(terms, ab, rcond=None)[0]
    return float(np.sqrt(np.square(rest).sum(1).mean())), float(ab[:, 0].mean()), float(ab[:, 1].mean())


def _combed(luma: NDArray[Any], colour: ColourSpec) -> float:
    """How much more of the picture stands out from the lines on both sides than from the columns on both sides, at least 0.

    Noise and fine patterns do both alike, fields of different moments only the one.
    """
    samples = luma.astype(np.int32)
    limit = 8 * ((1 << colour.depth) // 256)
    return max(0.0, _teeth(samples, limit) - _teeth(samples.T, limit))


def _teeth(rows: NDArray[np.int32], limit: int) -> float:
    """Share of samples above or below both neighbouring lines by more than ``limit``, while the lines two further are like them."""
    if len(rows) < 8:
        return 0.0
    here = rows[2:-2]
    up, down = here - rows[1:-3], here - rows[3:-1]
    least = np.minimum(np.abs(up), np.abs(down))
    own = np.maximum(np.abs(here - rows[:-4]), np.abs(here - rows[4:]))
    return float(np.mean((least > limit) & ((up > 0) == (down > 0)) & (2 * own < least)))
