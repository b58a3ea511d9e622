"""The losses of Deep Exemplar-based Video Colorization (section 3.3; weights and forms as in the authors' code where the paper is silent).

Colours are Cb and Cr in code values (times 255), about the size of the paper's a*b*, so that its weights mean here what they meant there.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from dvcp.nets.features import Features

#: chroma in [-0.5, 0.5] to code values
CODES = 255.0
#: bandwidth h of the contextual loss, and what keeps its distances finite
_BANDWIDTH, _EPSILON = 0.1, 1e-5
#: weights of the contextual loss at strides 16, 8 and 4 (halved to 8): the authors' for relu5_2, relu4_2 and relu3_2
CONTEXT = (8.0, 4.0, 2.0)
#: squared luma difference (Y' in [0, 1]) at which a flow's word counts e-fold less, inverse
_VISIBLE = 200.0


def perceptual(found: Features, truth: Features) -> Tensor:
    """Eq. 8 on the deepest features ``[B, C, h, w]``: squared distance, relative to the truth's own size, so that it means the same for
    every backbone."""
    return (found.deep - truth.deep).square().mean() / truth.deep.square().mean().clamp(min=1e-6)


def contextual(found: Tensor, reference: Tensor) -> Tensor:
    """Eqs. 9 and 10, forward matching: every place of ``found`` ``[1, C, h, w]`` should have one in ``reference`` ``[1, C, h', w']`` that
    is far more alike than all others."""
    centre = reference.mean((2, 3), keepdim=True)
    x, y = (F.normalize((t - centre).flatten(2)[0], dim=0) for t in (found, reference))
    distance = (1 - x.t() @ y).clamp(min=0)
    relative = distance / (distance.min(1, keepdim=True).values + _EPSILON)
    affinity = torch.softmax((1 - relative) / _BANDWIDTH, 1)
    return -affinity.amax(1).mean().log()


def contextual_levels(found: Features, reference: Features) -> Tensor:
    """Eq. 10 over three levels, the higher the weightier."""
    levels = [(f, r) for f, r in ((found.deep, reference.deep), (found.middle, reference.middle))]
    levels.append((F.avg_pool2d(found.shallow, 2), F.avg_pool2d(reference.shallow, 2)))
    return sum((w * contextual(f, r) for w, (f, r) in zip(CONTEXT, levels, strict=True)), found.deep.new_zeros(()))


def smoothness(chroma: Tensor, truth: Tensor) -> Tensor:
    """Eq. 11: colours ``[B, 2, h, w]`` (codes) against their neighbours', weighted by how alike those are in the true picture.

    Args:
        truth: Y', Cb, Cr ``[B, 3, h, w]``, codes.
    """

    def around(planes: Tensor) -> Tensor:
        batch, channels, height, width = planes.shape
        return F.unfold(F.pad(planes, (1, 1, 1, 1), mode="replicate"), 3).reshape(batch, channels, 9, height, width)

    weight = torch.softmax(-(around(truth) - truth[:, :, None]).square().sum(1, keepdim=True) / 10, 2)
    return (chroma - (weight * around(chroma)).sum(2)).square().mean()


def temporal(chroma: Tensor, carried: Tensor, unexplained: Tensor) -> Tensor:
    """Eq. 13: colours of a frame ``[1, 2, h, w]`` (codes) against the last frame's, brought along the flow, where they are the same place.

    Args:
        unexplained: luma difference ``[1, 1, h, w]`` that the flow leaves: the mask, soft.
    """
    return (torch.exp(-_VISIBLE * unexplained.square()) * (chroma - carried).square()).mean()


def relativistic(real: Tensor, made: Tensor) -> Tensor:
    """Eq. 12, least squares, for the side that wants ``real`` to score 1 above the average of ``made``; swap them for the other side."""
    return ((real - made.mean() - 1).square().mean() + (made - real.mean() + 1).square().mean()) / 2
