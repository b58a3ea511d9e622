"""Soft match, coarse to fine: for every place of a frame the reference's colours, averaged by likeness.

One wrong cell of a hard match is one wrong patch of colour. Here the best few cells of the whole reference stand for each cell of the frame
(stride 8), their quarters are weighed once more (stride 4), and colours are averaged with those weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

#: reference cells that stand for each cell of the frame
KEPT = 8
#: cells of the frame matched at a time, so that the full matrix (168 MB for a 480p frame) never stands
_ROWS = 1024


@dataclass(frozen=True, eq=False)
class Keys:
    """A reference, or a frame to be matched, cell by cell in row order.

    Attributes:
        coarse: ``[N, C]``, unit vectors, one a cell of stride 8.
        fine: ``[N, 4, C']``, unit vectors of its quarters.
        colours: ``[N, 4, 3]``, Y', Cb, Cr of its quarters; None for a frame.
        grid: (rows, columns) of cells.
    """

    coarse: Tensor
    fine: Tensor
    colours: Tensor | None
    grid: tuple[int, int]

    def to(self, device: torch.device) -> Keys:
        """The same on another device."""
        colours = None if self.colours is None else self.colours.to(device)
        return Keys(self.coarse.to(device), self.fine.to(device), colours, self.grid)


def quarters(planes: Tensor) -> Tensor:
    """``[C, 2 r, 2 c]`` to ``[r c, 4, C]``."""
    channels, height, width = planes.shape
    return planes.reshape(channels, height // 2, 2, width // 2, 2).permute(1, 3, 2, 4, 0).reshape(-1, 4, channels)


def whole(cells: Tensor, grid: tuple[int, int]) -> Tensor:
    """``[r c, 4, C]`` back to ``[C, 2 r, 2 c]``."""
    rows, columns = grid
    return cells.reshape(rows, columns, 2, 2, -1).permute(4, 0, 2, 1, 3).reshape(-1, rows * 2, columns * 2)


def keys_of(coarse: Tensor, fine: Tensor, colours: Tensor | None = None) -> Keys:
    """Cells of one frame: ``[C, r, c]``, ``[C', 2 r, 2 c]`` and, for a reference, its picture ``[3, 4 r, 4 c]`` on the working grid."""
    small = None if colours is None else quarters(F.avg_pool2d(colours[None], 2)[0])
    return Keys(coarse.flatten(1).t().contiguous(), quarters(fine), small, (coarse.shape[1], coarse.shape[2]))


def soft_match(frame: Keys, reference: Keys, sharpness: Tensor, kept: int = KEPT) -> tuple[Tensor, Tensor]:
    """Match all cells of ``frame``.

    Args:
        sharpness: ``[2]``, factors of the similarities at stride 8 and stride 4.

    Returns:
        Y', Cb, Cr ``[3, 2 r, 2 c]`` and the largest weight ``[1, 2 r, 2 c]`` in [0, 1]: 1 where a single quarter explains the place.
    """
    assert reference.colours is not None
    found, sure = [], []
    for coarse, fine in zip(frame.coarse.split(_ROWS), frame.fine.split(_ROWS), strict=True):
        score, cell = (coarse @ reference.coarse.t()).topk(min(kept, len(reference.coarse)), dim=1)
        near = torch.bmm(fine, reference.fine[cell].flatten(1, 2).transpose(1, 2))
        weight = torch.softmax(near * sharpness[1] + (score * sharpness[0]).repeat_interleave(4, 1)[:, None], 2)
        found.append(torch.bmm(weight, reference.colours[cell].flatten(1, 2)))
        sure.append(weight.amax(2, keepdim=True))
    return whole(torch.cat(found), frame.grid), whole(torch.cat(sure), frame.grid)
