"""For a shot nobody painted: which pictures, painted for another shot or from anywhere else, look most like it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dvcp.colour import luma_to_unit
from dvcp.errors import MediaError
from dvcp.media.probe import VideoInfo
from dvcp.media.reader import FrameReader
from dvcp.nets.embedding import CHANNELS, PictureEmbedder, reduced
from dvcp.shots.timeline import Shot
from dvcp.timing import Span

log = logging.getLogger(__name__)

#: Similarity from which on a picture fits a shot. Measured on 87 clips and 571 stills (5 % to 95 %): another frame of the same clip 0.80 to
#: 0.97, 0.72 at the first percentile; another clip 0.25 to 0.56; any still 0.20 to 0.45; the best of all stills 0.46 to 0.67. Colours
#: taken from a picture of 0.6 to 0.7 were farther from the truth than gray for 58 frames of 100, below 0.6 for 70, above 0.7 for one (most
#: of these pictures were of the same clip; of 12 that were not, one did harm).
FITS = 0.7
#: how far behind the best a further picture may lie
MARGIN = 0.1
#: Frames of a shot that are looked at, spread over it: of 87 clips three frames found them all again from their first frame, one 97 %.
_FRAMES = 3


@dataclass(frozen=True)
class Fit:
    """A picture of the index and how well it fits a shot.

    Attributes:
        url: the picture.
        digest: sha256 (hex) of its file.
        similarity: cosine, 1 = shows the same; rounded, so that the last bits of a sum decide nothing.
    """

    url: str
    digest: str
    similarity: float

    @property
    def fits(self) -> bool:
        return self.similarity >= FITS


@dataclass(frozen=True, eq=False)
class PictureIndex:
    """Pictures to choose from.

    Attributes:
        pictures: (URL, sha256 of the file) of each.
        vectors: float32 ``[N, 1280]``, unit vectors, as :func:`embed` makes them.
    """

    pictures: tuple[tuple[str, str], ...]
    vectors: NDArray[np.float32]

    def rank(self, vector: NDArray[np.float32]) -> list[Fit]:
        """All pictures, the best first and equals by name, for what a shot shows: a unit vector ``[1280]``."""
        similar = (self.vectors @ vector).astype(np.float64).round(4).tolist()
        fits = [Fit(url, digest, value) for (url, digest), value in zip(self.pictures, similar, strict=True)]
        return sorted(fits, key=lambda fit: (-fit.similarity, fit.url))


def choose(ranked: Sequence[Fit], take: int) -> list[Fit]:
    """The best of ``ranked``, whether it fits or not, and up to ``take - 1`` more that fit and are nearly as good."""
    more = [fit for fit in ranked[1:take] if fit.fits and fit.similarity >= ranked[0].similarity - MARGIN]
    return [*ranked[:1], *more]


def build_index(net: PictureEmbedder, pictures: Iterable[tuple[str, str, NDArray[np.float32]]]) -> PictureIndex:
    """Look at pictures one by one; of two copies of a file the first counts.

    Args:
        pictures: (URL, sha256 of the file, Y' in [0, 1] ``[H, W]``) of each. Taken one at a time, so that thousands need no memory.
    """
    found: dict[str, tuple[str, NDArray[np.float32]]] = {}
    for url, digest, luma in pictures:
        if digest not in found:
            found[digest] = (url, embed(net, [luma]))
        if len(found) % 100 == 0:
            log.info("%d pictures looked at", len(found))
    vectors = np.stack([vector for _, vector in found.values()]) if found else np.zeros((0, CHANNELS), np.float32)
    return PictureIndex(tuple((url, digest) for digest, (url, _) in found.items()), vectors)


def embed(net: PictureEmbedder, lumas: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """What pictures show together: float32 ``[1280]``, a unit vector.

    Args:
        lumas: Y' in [0, 1], each ``[H, W]``, all of one size; at least one.
    """
    with torch.inference_mode():
        seen = net(torch.from_numpy(np.stack([reduced(luma) for luma in lumas]))[:, None]).double().mean(0)
    out: NDArray[np.float32] = torch.nn.functional.normalize(seen, dim=0).float().numpy()
    return out


def embed_shots(net: PictureEmbedder, info: VideoInfo, shots: Iterable[Shot]) -> Iterator[NDArray[np.float32]]:
    """What each shot shows, as :func:`embed`: three frames spread over it, its key frame among them when the list names one.

    Raises:
        MediaError: none of them can be decoded.
    """
    with FrameReader(info) as reader:
        for shot in shots:
            lumas, trouble = [], None
            for number in _looked_at(shot):
                try:
                    lumas.append(luma_to_unit(reader.luma(Span(number, number + 1))[0], info.colour))
                except MediaError as error:
                    trouble = error
            if trouble is not None and not lumas:
                raise trouble
            yield embed(net, lumas)


def _looked_at(shot: Shot) -> list[int]:
    """Frame numbers: the middles of as many equal parts of the shot, so that a fade or a flash at a cut is left aside."""
    length = len(shot.span)
    spread = {shot.span.first + (2 * k + 1) * length // (2 * _FRAMES) for k in range(_FRAMES)}
    return sorted(spread | ({shot.key} if shot.key is not None else set()))
