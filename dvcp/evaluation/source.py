"""What is measured on: clips of true colour, and single frames of them that serve as references from elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dvcp.colour import ColourSpec, luma_to_unit, unit_to_chroma
from dvcp.errors import MediaError
from dvcp.evaluation.aged import age, wear
from dvcp.evaluation.stability import Motion, Steadiness, motions, steadiness
from dvcp.media.probe import VideoInfo, probe_colour
from dvcp.media.reader import FrameReader
from dvcp.media.source import content_digest
from dvcp.media.stills import GRAY_SPREAD, Still, frame_to_rgb
from dvcp.methods.base import Samples
from dvcp.store import files
from dvcp.timing import Span


@dataclass(frozen=True, eq=False)
class Film:
    """The first frames of one clip, native samples: luma ``[T, H, W]`` and chroma ``[T, 2, Hc, Wc]``."""

    luma: Samples
    chroma: Samples
    colour: ColourSpec

    def truth(self, k: int) -> NDArray[np.uint8]:
        """Frame ``k`` as it is: RGB ``[H, W, 3]``."""
        return frame_to_rgb(self.luma[k], self.chroma[k], self.colour)

    def gray(self, k: int) -> NDArray[np.uint8]:
        """Frame ``k`` without its colour: RGB ``[H, W, 3]``."""
        return frame_to_rgb(self.luma[k], np.zeros(self.chroma.shape[1:], np.float32), self.colour)

    def coloured(self, k: int, planes: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Frame ``k`` in the colour of ``planes`` (float32 ``[T, 2, Hc, Wc]`` in [-0.5, 0.5], all frames): RGB ``[H, W, 3]``.

        By way of codes: what is measured is what a file would hold.
        """
        return frame_to_rgb(self.luma[k], unit_to_chroma(planes[k], self.colour), self.colour)


class Source:
    """One clip: its digest at once, its frames only when something is left to measure.

    Args:
        url: of the clip.
        frames: how many of its first frames to take; a shorter clip gives what it has.
        lead, tail: how many of these, at the start and at the end, are given to a method in colour and so are not measured.
        aged: seed of the wear its luma is given, see :mod:`dvcp.evaluation.aged`; None leaves it as it is.
    """

    def __init__(self, url: str, frames: int, lead: int, tail: int = 0, aged: int | None = None) -> None:
        self.url, self.name, self.aged, self._frames, self._lead, self._tail = url, files.split(url)[1], aged, frames, lead, tail

    @cached_property
    def digest(self) -> str:
        """sha256 (hex) of the file; of an aged film, of the file and its wear. Raises MediaError."""
        digest = content_digest(self.url)
        return digest if self.aged is None else hashlib.sha256(f"{digest} {wear(self.aged)}".encode()).hexdigest()

    @cached_property
    def info(self) -> VideoInfo:
        """Probed at the first use. Raises MediaError, also for a clip that has no colour or nothing but what is given."""
        info = probe_colour(self.url, "to compare with")
        if len(info.frames) <= self._lead + self._tail:
            few = "a single frame" if len(info.frames) == 1 else f"only {len(info.frames)} frames"
            raise MediaError(f"has {few}: nothing is left to colour beside what is given", file=self.url, hint="evaluate on longer clips")
        return info

    @cached_property
    def film(self) -> Film:
        """What methods see and results are compared with: true chroma, and luma aged where asked. Raises MediaError, as :attr:`info`."""
        if self.aged is None:
            return self._clean
        return replace(self._clean, luma=age(self._clean.luma, self.info.colour, self.aged))

    @cached_property
    def _clean(self) -> Film:
        with FrameReader(self.info) as reader:
            return Film(*reader.planes(Span(0, min(self._frames, len(self.info.frames)))), self.info.colour)

    @property
    def measured(self) -> range:
        """Numbers of the measured frames."""
        return range(self._lead, len(self.film.luma) - self._tail)

    @property
    def given(self) -> list[int]:
        """Numbers of the frames given in colour."""
        return [k for k in range(len(self.film.luma)) if k not in self.measured]

    @cached_property
    def motion(self) -> list[Motion]:
        """Of every measured frame into the next, found once for all methods in the film's luma, without its wear."""
        luma = luma_to_unit(self._clean.luma[self.measured.start : self.measured.stop], self.film.colour)
        return motions((luma * 255).round().clip(0, 255).astype(np.uint8))

    def steadiness(self, planes: NDArray[np.float32]) -> Steadiness | None:
        """Of the measured frames in the colour of ``planes`` (all frames of the film); None for a single one."""
        return self._steadiness(self.film.coloured(k, planes) for k in self.measured)

    @cached_property
    def steadiness_truth(self) -> Steadiness | None:
        """Of the measured frames as they are; None for a single one."""
        return self._steadiness(self.film.truth(k) for k in self.measured)

    def _steadiness(self, pictures: Iterator[NDArray[np.uint8]]) -> Steadiness | None:
        return steadiness(pictures, self.motion) if len(self.measured) > 1 else None


class Picture:
    """Frame ``frame`` (0-based) of the clip ``url`` as a picture from elsewhere; read only when something is left to measure."""

    def __init__(self, url: str, frame: int) -> None:
        self.url, self.name, self.frame = url, files.split(url)[1], frame

    @cached_property
    def clip_digest(self) -> str:
        """sha256 (hex) of the clip's file. Raises MediaError."""
        return content_digest(self.url)

    @cached_property
    def codes(self) -> NDArray[np.uint8]:
        """RGB ``[H, W, 3]`` in the clip's own size. Raises MediaError, also for a clip that has no colour or not so many frames."""
        info = probe_colour(self.url, "to take as a reference")
        if self.frame >= len(info.frames):
            raise MediaError(f"has no frame {self.frame}", file=self.url, hint=f"its last frame is {len(info.frames) - 1}")
        with FrameReader(info) as reader:
            luma, chroma = reader.planes(Span(self.frame, self.frame + 1))
        return frame_to_rgb(luma[0], chroma[0], info.colour)

    @cached_property
    def still(self) -> Still:
        """As :func:`dvcp.media.stills.read_still` would give it, had the frame been saved as an 8-bit picture. Raises MediaError."""
        rgb = self.codes.astype(np.float32) / np.float32(255)
        digest = hashlib.sha256(f"{self.clip_digest} {self.frame}".encode()).hexdigest()
        return Still(rgb, bool(np.ptp(rgb, axis=-1).max() <= GRAY_SPREAD), digest, f"{self.url}, frame {self.frame}")
