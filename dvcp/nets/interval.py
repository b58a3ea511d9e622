"""Deep features carried between two anchors: backward by motion, then forward by motion and fusion (TCVC, section 3.1.3, eqs. 2 to 6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from dvcp.nets.tcvc import FeatureFusion
from dvcp.ops.flow import warp

#: how fast trust falls with the luma that is not explained: e-fold at 1/12 of the range
_LUMA = 12.0
#: keeps odds finite
_LEAST = 1 / 255


def ahead(first: Tensor, to_last: Tensor) -> list[Tensor]:
    """Features of the frames that follow one, by motion alone.

    Args:
        first: ``[1, C, h, w]``, features of that frame.
        to_last: ``[n, 2, h, w]``, where each pixel of a frame lies in the one before it on this way, in pixels of this grid.

    Returns:
        n features ``[1, C, h, w]``, in the order of the frames.
    """
    found = [first]
    for flow in to_last:
        found.append(warp(found[-1], flow[None]))
    return found[1:]


def behind(after: Tensor, to_next: Tensor) -> list[Tensor]:
    """Backward propagation, eq. 2: F^b of the frames before one, by motion alone.

    Args:
        after: ``[1, C, h, w]``, features of the last frame.
        to_next: ``[n, 2, h, w]``, where each pixel of frame i lies in frame i + 1, in pixels of this grid; of n frames in film order.

    Returns:
        ``n + 1`` features ``[1, C, h, w]`` in film order, ``after`` the last of them.
    """
    return [*ahead(after, to_next.flip(0))[::-1], after]


def leaning(light: Tensor, to_next: Tensor, to_last: Tensor) -> Tensor:
    """What speaks for the anchor before each frame of an interval, beside the features: how near it is, and how well its luma, brought
    along, explains the frame's.

    Args:
        light: (L* - 50) / 100 of the interval, both anchors included ``[n + 2, 1, h, w]``.
        to_next, to_last: motion between its frames, ``[n + 1, 2, h, w]``.

    Returns:
        Log-odds ``[n, 1, h, w]``.
    """
    count = len(light) - 2
    rear = behind(light[-1:], to_next[1:])[:-1]
    forth = ahead(light[:1], to_last[:-1])
    steps = torch.arange(1, count + 1, device=light.device)[:, None, None, None]
    return odds(steps, count + 1 - steps, trust(torch.cat(forth), light[1:-1]), trust(torch.cat(rear), light[1:-1]))


def trust(brought: Tensor, here: Tensor) -> Tensor:
    """How well luma brought along explains a frame's own (any scale of range 1), in [0, 1]."""
    return torch.exp(-_LUMA * (brought - here).abs())


def odds(gone: Tensor, left: Tensor, forth: Tensor, rear: Tensor) -> Tensor:
    """Log-odds for what came from before, ``gone`` frames ago, over what came from behind, ``left`` frames off, as each is trusted."""
    return (left / gone * (forth + _LEAST) / (rear + _LEAST)).log()


def between(
    fusion: FeatureFusion,
    first: Tensor,
    lumas: Tensor,
    back: Sequence[Tensor],
    to_last: Tensor,
    prior: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Forward propagation and fusion of n frames.

    Args:
        first: ``[1, C, h, w]``, features of the frame before them.
        lumas: luma features of that frame, of the n frames, and of the one behind them: ``[n + 2, L, h, w]``.
        back: F^b of the n frames and of the one behind them, as from :func:`behind`.
        to_last: ``[n, 2, h, w]``, where each pixel of a frame lay in the one before it.
        prior: ``[n, 1, h, w]`` in log-odds, what else speaks for the frame before; None: nothing, as in the paper.

    Yields:
        F~ of each frame ``[1, C, h, w]`` and W ``[1, 1, h, w]``, the share of what came from before.
    """
    last = first
    for k, flow in enumerate(to_last):
        around = (lumas[k : k + 1], lumas[k + 1 : k + 2], lumas[k + 2 : k + 3])
        forth = warp(last, flow[None])
        leading = None if prior is None else prior[k : k + 1]
        last, weight = fusion.fuse(around, back[k], back[k + 1], forth, last, prior=leading)
        yield last, weight
