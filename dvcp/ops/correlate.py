"""Dense correspondence of Deep Exemplar-based Video Colorization (Zhang et al. 2019, equations 3 to 5): every place of a frame against
every place of the reference.

With centred unit features F(x) and G(y), the correlation is f(x, y) = F(x) . G(y); the warped colours are W(x) = softmax_y(f / tau) . c(y)
and the confidence is S(x) = max_y f(x, y). The matrix f of two frames of 216 x 384 takes 107 MB and grows with the square of the picture.
It never stands whole: rows are independent and are worked on in blocks of a fixed size.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

#: places of the frame correlated at a time: 15 MB against one reference at the largest grid
_ROWS = 512


@dataclass(frozen=True, eq=False)
class Places:
    """Places of one or more references.

    Attributes:
        features: float32 ``[M, C]``, centred and of unit length.
        colours: float32 ``[M, V]``.
    """

    features: Tensor
    colours: Tensor

    def to(self, device: torch.device) -> Places:
        """The same on another device."""
        return Places(self.features.to(device), self.colours.to(device))


@dataclass(frozen=True, eq=False)
class Correlated:
    """What was found for the places of a frame.

    Attributes:
        colours: float32 ``[N, V]``, W.
        similarity: float32 ``[N]`` in [-1, 1], S.
    """

    colours: Tensor
    similarity: Tensor


def unit_features(features: Tensor) -> Tensor:
    """Float32 ``[C, h, w]`` to ``[h w, C]``: less their mean over all places, then of unit length; a zero vector stays zero."""
    flat = features.flatten(1).t()
    return F.normalize(flat - flat.mean(0), dim=1, eps=sys.float_info.epsilon)


def joined(references: Sequence[Places]) -> Places:
    """Several references, of grids of any sizes, as one: every place of each is a candidate."""
    if len(references) == 1:
        return references[0]
    return Places(torch.cat([r.features for r in references]), torch.cat([r.colours for r in references]))


def correlate_whole(frame: Tensor, reference: Places, tau: float | None = None) -> Correlated:
    """:func:`correlate` as the paper writes it, with the whole matrix."""
    f = frame @ reference.features.t()
    similarity, best = f.max(1)
    if tau is None:
        return Correlated(reference.colours[best], similarity)
    return Correlated((f / tau).softmax(1) @ reference.colours, similarity)


def correlate(frame: Tensor, reference: Places, tau: float | None = None, rows: int = _ROWS) -> Correlated:
    """Colours of the reference for every place of a frame.

    Args:
        frame: float32 ``[N, C]`` of :func:`unit_features`.
        tau: temperature of the softmax, the authors' 0.01 in training; None copies the colour of the likeliest place, which is the limit
            tau -> 0 and what their 1e-10 at inference comes to.
        rows: places of the frame worked on at a time; decides memory, ``4 rows M`` bytes, and nothing else.
    """
    parts = [correlate_whole(part, reference, tau) for part in frame.split(rows)]
    return Correlated(torch.cat([p.colours for p in parts]), torch.cat([p.similarity for p in parts]))
