"""Dense optical flow between two gray frames: dense inverse search (Kroeger et al. 2016), as OpenCV has it, preset medium."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

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


def sample(planes: Tensor, place: Tensor) -> Tensor:
    """Values of ``planes`` ``[C, h, w]`` at ``place`` ``[2, h', w']`` (x and y in pixels), bilinear, edges repeated: ``[C, h', w']``."""
    height, width = planes.shape[-2:]
    # grid_sample counts from the outer edges of the first and last pixel
    grid = torch.stack([(place[0] * 2 + 1) / width - 1, (place[1] * 2 + 1) / height - 1], -1)
    return F.grid_sample(planes[None], grid[None], mode="bilinear", padding_mode="border", align_corners=False)[0]


def standing(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """The place of every pixel that has not moved: float32 ``[2, height, width]``, x and y."""
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    return torch.stack([x, y]).float()
