"""Coarse-to-fine nearest match, the global branch: for every pixel of a gray frame the pixel of the reference that looks most alike.

Deep Video Color Propagation section 3.2: deep features choose a region, shared by all pixels of a cell; shallow features choose the pixel
inside it, and its colour is copied, not blended. Ties go to the lowest index, so that a run repeated gives the same picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

#: pixels of the chroma grid along one side of a cell (cells stand at stride 8 of luma)
CELL = 4
#: queries matched at a time: coarse cells, and cells of the fine match
_ROWS, _CELLS = 4096, 1024


@dataclass(frozen=True)
class ReferenceCells:
    """A reference ready to be matched against; cells are stored one after another so that the fine match gathers whole cells.

    Attributes:
        deep: ``[N16, C]``, centred and of unit length, cells in row order.
        deep_mean: ``[C]``, what was subtracted.
        middle: ``[N8, C']``, likewise at stride 8.
        middle_mean: ``[C']``.
        fine: ``[N8, 16, C'']``, the pixels of each cell.
        grid: (rows, columns) of the stride-8 grid.
    """

    deep: Tensor
    deep_mean: Tensor
    middle: Tensor
    middle_mean: Tensor
    fine: Tensor
    grid: tuple[int, int]

    def to(self, device: torch.device) -> ReferenceCells:
        """The same on another device."""
        deep, deep_mean, middle, middle_mean, fine = (
            t.to(device) for t in (self.deep, self.deep_mean, self.middle, self.middle_mean, self.fine)
        )
        return ReferenceCells(deep, deep_mean, middle, middle_mean, fine, self.grid)


def _unit(x: Tensor, mean: Tensor) -> Tensor:
    """``[C, h, w]`` to ``[h w, C]``, centred, unit length."""
    return F.normalize(x.flatten(1).t() - mean, dim=1)


def _cells(fine: Tensor) -> Tensor:
    """``[C, h, w]`` to ``[cells, 16, C]``."""
    channels, height, width = fine.shape
    blocks = fine.reshape(channels, height // CELL, CELL, width // CELL, CELL)
    return blocks.permute(1, 3, 2, 4, 0).reshape(-1, CELL * CELL, channels).contiguous()


def reference_cells(deep: Tensor, middle: Tensor, fine: Tensor) -> ReferenceCells:
    """Prepare features of one reference: ``[C, H/16, W/16]``, ``[C', H/8, W/8]``, ``[C'', H/2, W/2]``."""
    deep_mean, middle_mean = deep.flatten(1).mean(1), middle.flatten(1).mean(1)
    return ReferenceCells(
        _unit(deep, deep_mean), deep_mean, _unit(middle, middle_mean), middle_mean, _cells(fine), (middle.shape[1], middle.shape[2])
    )


def nearest(query: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """Index and cosine of the best key for every query row, ``[N, C]`` against ``[M, C]``, in tiles so that no full matrix ever stands."""
    best, where = zip(*((part @ keys.t()).max(1) for part in query.split(_ROWS)), strict=True)
    return torch.cat(where), torch.cat(best)


def _neighbours(index: Tensor, grid: tuple[int, int], reach: int) -> Tensor:
    """Cells within ``reach`` of cell ``index`` ``[N]``, clamped at the border: ``[N, (2 reach + 1)^2]``."""
    rows, columns = grid
    steps = torch.arange(-reach, reach + 1, device=index.device)
    y = (index // columns)[:, None] + steps
    x = (index % columns)[:, None] + steps
    return (y.clamp(0, rows - 1)[:, :, None] * columns + x.clamp(0, columns - 1)[:, None]).flatten(1)


def coarse_match(deep: Tensor, middle: Tensor, reference: ReferenceCells, reach: int = 2) -> tuple[Tensor, Tensor]:
    """For every stride-8 cell of a frame the best cell of the reference.

    Deep features choose at stride 16; features of both depths choose among the cells around that place at stride 8.

    Returns:
        cell index ``[N8]`` (int64) and similarity ``[N8]`` in [-1, 1].
    """
    rows, columns = reference.grid
    place, score = nearest(_unit(deep, reference.deep_mean), reference.deep)
    deep_columns = columns // 2
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    parent = ((y // 2) * deep_columns + x // 2).flatten().to(place.device)
    offset_y, offset_x = (y % 2).flatten().to(place.device), (x % 2).flatten().to(place.device)
    start = (place[parent] // deep_columns * 2 + offset_y) * columns + place[parent] % deep_columns * 2 + offset_x
    candidates = _neighbours(start, reference.grid, reach)
    query = _unit(middle, reference.middle_mean)
    similarity = torch.bmm(reference.middle[candidates], query[:, :, None])[..., 0]
    best = similarity.argmax(1, keepdim=True)
    return candidates.gather(1, best)[:, 0], 0.5 * (score[parent] + similarity.gather(1, best)[:, 0])


def fine_match(fine: Tensor, cells: Tensor, reference: ReferenceCells, reach: int = 1) -> Tensor:
    """For every pixel the nearest pixel (L2 of shallow features) inside the region around its cell's match.

    Args:
        fine: ``[C, h, w]``.
        cells: ``[N8]`` from :func:`coarse_match`.

    Returns:
        int64 ``[h, w]``, flat pixel index into the reference's ``[h, w]`` grid.
    """
    _, height, width = fine.shape
    columns = reference.grid[1]
    region = _neighbours(cells, reference.grid, reach)  # [N8, R]
    chosen = []
    for query, near in zip(_cells(fine).split(_CELLS), region.split(_CELLS), strict=True):
        keys = reference.fine[near].flatten(1, 2)  # [n, R 16, C]
        # |q - k|^2 without its constant |q|^2
        distance = torch.baddbmm((keys * keys).sum(-1)[:, None], query, keys.transpose(1, 2), beta=1, alpha=-2)
        pick = distance.argmin(2)
        cell, inside = near.gather(1, pick // (CELL * CELL)), pick % (CELL * CELL)
        row = cell // columns * CELL + inside // CELL
        chosen.append(row * width + cell % columns * CELL + inside % CELL)
    return torch.cat(chosen).reshape(height // CELL, width // CELL, CELL, CELL).permute(0, 2, 1, 3).reshape(height, width)
