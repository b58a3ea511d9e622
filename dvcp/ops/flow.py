"""Dense optical flow between gray frames, what is brought along it, and what is visible at both ends.

The flow that is always there is dense inverse search (DIS, Kroeger et al. 2016), as OpenCV has it, preset medium.
"""

from __future__ import annotations

from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dvcp.ops.codes import to_codes

#: least side of a picture the search is given: below it OpenCV raises, or reads outside its buffers and kills the process
_SEARCHED = 16


def dense_flow(gray: NDArray[np.uint8], last: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Where each pixel of ``gray`` was in ``last``: float32 ``[h, w, 2]``, steps in x and y, in pixels. Both uint8 ``[h, w]``."""
    rows, columns = gray.shape
    pad = ((0, max(0, _SEARCHED - rows)), (0, max(0, _SEARCHED - columns)))
    # A fresh searcher a frame: one kept carries its buffers, and the output would depend on what was coloured before.
    search: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # cv2's annotations want the start it does not need
    flow = search.calc(np.pad(gray, pad, mode="edge"), np.pad(last, pad, mode="edge"), None)
    return np.asarray(flow[:rows, :columns], np.float32)


def halved(flow: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """A flow found at twice the size (or a little more, where that was padded) on the grid of ``height`` x ``width``, in its pixels."""
    fine = torch.from_numpy(flow[: 2 * height, : 2 * width]).permute(2, 0, 1)[None]
    return (F.avg_pool2d(fine, 2)[0] * 0.5).permute(1, 2, 0).numpy()


def half_flow(gray: NDArray[np.uint8], last: NDArray[np.uint8], height: int, width: int) -> Tensor:
    """:func:`dense_flow` of frames at twice the size, :func:`halved` to ``height`` x ``width``: float32 ``[2, height, width]``."""
    return torch.from_numpy(halved(dense_flow(gray, last), height, width)).permute(2, 0, 1)


class FlowSearch(Protocol):
    """Finds flow, of many pairs of frames at once."""

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """Where each pixel of ``a`` lies in ``b``: :func:`warp` of ``b`` along it is ``a``.

        Args:
            a, b: Y', float32 ``[T, 1, h, w]`` in [0, 1], any size.

        Returns:
            float32 ``[T, 2, h, w]`` on the same device, steps in x and y, in pixels.
        """
        ...


def dis_flow(a: Tensor, b: Tensor) -> Tensor:
    """:func:`dense_flow` as a :class:`FlowSearch`, frame by frame on the CPU."""
    pairs = zip(to_codes(a)[:, 0], to_codes(b)[:, 0], strict=True)
    return torch.from_numpy(np.stack([dense_flow(here, there) for here, there in pairs])).permute(0, 3, 1, 2).to(a.device)


def _sampled(planes: Tensor, place: Tensor) -> Tensor:
    """Values of ``planes`` ``[T, C, h, w]`` at ``place`` ``[T, 2, h', w']`` (x and y in pixels), bilinear, edges repeated."""
    height, width = planes.shape[-2:]
    # grid_sample counts from the outer edges of the first and last pixel
    grid = torch.stack([(place[:, 0] * 2 + 1) / width - 1, (place[:, 1] * 2 + 1) / height - 1], -1)
    return F.grid_sample(planes, grid, mode="bilinear", padding_mode="border", align_corners=False)


def sample(planes: Tensor, place: Tensor) -> Tensor:
    """Values of ``planes`` ``[C, h, w]`` at ``place`` ``[2, h', w']`` (x and y in pixels), bilinear, edges repeated: ``[C, h', w']``."""
    return _sampled(planes[None], place[None])[0]


def warp(planes: Tensor, flow: Tensor) -> Tensor:
    """``planes`` ``[T, C, h, w]``, bilinear and with edges repeated, where ``flow`` ``[T, 2, h, w]`` says that each pixel lies in them."""
    return _sampled(planes, _places(flow))


def resized(flow: Tensor, height: int, width: int) -> Tensor:
    """``flow`` ``[T, 2, H, W]`` on a grid of another size over the same picture, in its pixels: ``[T, 2, height, width]``."""
    if tuple(flow.shape[-2:]) == (height, width):
        return flow
    scale = torch.tensor([width / flow.shape[-1], height / flow.shape[-2]], device=flow.device)[:, None, None]
    if height < flow.shape[-2]:
        return F.interpolate(flow, size=(height, width), mode="area") * scale
    return F.interpolate(flow, size=(height, width), mode="bilinear", align_corners=False) * scale


def standing(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """The place of every pixel that has not moved: float32 ``[2, height, width]``, x and y."""
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    return torch.stack([x, y]).float()


def _places(flow: Tensor) -> Tensor:
    """Where the pixels of ``flow`` ``[T, 2, h, w]`` come to lie, x and y."""
    height, width = flow.shape[-2:]
    return standing(height, width, flow.device) + flow


def inside(flow: Tensor) -> Tensor:
    """Pixels that ``flow`` ``[T, 2, h, w]`` does not lead out of the picture: bool ``[T, 1, h, w]``."""
    height, width = flow.shape[-2:]
    x, y = _places(flow).split(1, 1)
    found: Tensor = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return found


def visible(forward: Tensor, backward: Tensor) -> Tensor:
    """Pixels of the first frame that are seen in the second: inside it, and flow and counter-flow agree there.

    The test is of Ruder et al. 2016, the constants those of Lai et al. 2018: no |f + b|^2 above 0.01 (|f|^2 + |b|^2) + 0.5, where b was
    brought along f, and no |grad f|^2 above 0.01 |f|^2 + 0.002.

    Args:
        forward: from the first frame to the second, float ``[T, 2, h, w]``, in pixels.
        backward: from the second to the first, on the second's grid.

    Returns:
        bool ``[T, 1, h, w]``.
    """
    returned = warp(backward, forward)
    length = forward.square().sum(1, keepdim=True)
    apart = (forward + returned).square().sum(1, keepdim=True) > 0.01 * (length + returned.square().sum(1, keepdim=True)) + 0.5
    # A picture of one line has no slope across it.
    slopes = [torch.gradient(forward, dim=side)[0].square().sum(1, keepdim=True) for side in (-2, -1) if forward.shape[side] > 1]
    edge = sum(slopes, torch.zeros_like(length)) > 0.01 * length + 0.002
    return inside(forward) & ~apart & ~edge
