"""Does colour stay on what moves? Warp error (Lai et al. 2018) and flicker (Zhang et al. 2019), along the optical flow of the film's luma.

Warp error of a pair of frames: mean over visible pixels and channels of (O_t - O_{t+1} brought back along the flow)^2, R'G'B' in 0..1.
Visible is judged in two ways: by flow and counter-flow agreeing (:func:`dvcp.ops.flow.visible`), and softly, by how well luma is explained
(TCVC).

Flicker of a pair: equation 13 of Deep Exemplar-based Video Colorization, ||m * W(x_t^ab) - m * x_{t+1}^ab||, m the mask without occlusion.
The paper names no norm and no scale; here it is the mean over visible pixels (the first of the two masks) of the Euclidean distance in the
a*b* plane, in units of CIE L*a*b*, and the later frame is brought back onto the earlier one's grid, as for the warp error.

A film's values are the means over its pairs. Gray scores well in all of them, so the truth's own values stand beside every one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dvcp.evaluation.metrics import rgb_to_lab
from dvcp.ops.flow import dense_flow, inside, visible

Flow = NDArray[np.float32]
#: sharpness of the soft mask (TCVC's alpha)
ALPHA = 50.0


@dataclass(frozen=True, eq=False)
class Motion:
    """How one frame's pixels lie in the next.

    Attributes:
        flow: float32 ``[H, W, 2]``, steps in x and y.
        visible: bool ``[H, W]``, pixels seen in both frames.
        likeness: float32 ``[H, W]`` in [0, 1], the soft mask.
    """

    flow: Flow
    visible: NDArray[np.bool_]
    likeness: NDArray[np.float32]


@dataclass(frozen=True)
class Steadiness:
    """How much colour changes along the motion of a film, mean over its pairs of frames; 0 is steadiest.

    Attributes:
        warp_error: over visible pixels, R'G'B' in 0..1 squared.
        warp_error_soft: the same, weighted by likeness.
        flicker: distance in the a*b* plane over visible pixels, L*a*b* units.
    """

    warp_error: float
    warp_error_soft: float
    flicker: float


def motions(gray: NDArray[np.uint8]) -> list[Motion]:
    """Motion of every frame of ``gray``, uint8 ``[T, H, W]``, into the next: ``T - 1`` of them."""
    return [_motion(here, then) for here, then in pairwise(gray)]


def _motion(here: NDArray[np.uint8], then: NDArray[np.uint8]) -> Motion:
    forth, back = dense_flow(here, then), dense_flow(then, here)
    planes = _planes(forth)
    seen, within = (mask[0, 0].numpy() for mask in (visible(planes, _planes(back)), inside(planes)))
    difference = _unit(here) - warp(_unit(then), forth)
    return Motion(forth, seen, (within * np.exp(-ALPHA * difference**2)).astype(np.float32))


def _planes(flow: Flow) -> Tensor:
    return torch.from_numpy(flow).permute(2, 0, 1)[None]


def warp(picture: NDArray[np.float32], flow: Flow) -> NDArray[np.float32]:
    """``picture`` ``[H, W]`` or ``[H, W, C]`` sampled where each pixel of the frame before lies in it, bilinear, edges repeated."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    moved = cv2.remap(picture, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)


def _unit(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(codes, np.float32) / np.float32(255)


def steadiness(frames: Iterable[NDArray[np.uint8]], motion: Sequence[Motion]) -> Steadiness:
    """How steady the colour of consecutive uint8 RGB pictures ``[H, W, 3]`` is along their motion.

    Raises:
        ValueError: not one picture more than there are motions, or fewer than two.
    """
    hard, soft, moved = [], [], []
    coloured = ((_unit(frame), rgb_to_lab(frame)[..., 1:].astype(np.float32)) for frame in frames)
    for ((here, ab), (then, ab_then)), step in zip(pairwise(coloured), motion, strict=True):
        squared = ((here - warp(then, step.flow)).astype(np.float64) ** 2).mean(-1)
        change = np.linalg.norm((ab - warp(ab_then, step.flow)).astype(np.float64), axis=-1)
        seen = step.visible if step.visible.any() else np.ones_like(step.visible)
        hard.append(squared[seen].mean())
        soft.append((squared * step.likeness).sum() / max(float(step.likeness.sum()), 1e-9))
        moved.append(change[seen].mean())
    if not hard:
        raise ValueError("steadiness needs two frames or more")
    return Steadiness(float(np.mean(hard)), float(np.mean(soft)), float(np.mean(moved)))
