from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dvcp.ops import match
from dvcp.ops.match import CELL, ReferenceCells, coarse_match, fine_match, nearest, reference_cells

Levels = tuple[Tensor, Tensor, Tensor]


def features(rows: int, columns: int, seed: int = 0, channels: int = 6) -> Levels:
    """Whole numbers, so that sums are exact in any order and equal distances are truly equal; ``rows`` x ``columns`` cells at stride 16."""
    generator = torch.Generator().manual_seed(seed)
    shapes = ((channels, rows, columns), (channels, 2 * rows, 2 * columns), (channels, 8 * rows, 8 * columns))
    deep, middle, fine = (torch.randint(-4, 5, s, generator=generator).float() for s in shapes)
    return deep, middle, fine


def fine_by_definition(fine: Tensor, cells: Tensor, key: Tensor, columns: int) -> Tensor:
    """:func:`fine_match` written out a pixel at a time: the first of the nearest pixels in the 3 x 3 cells around the match."""
    height, width = fine.shape[-2:]
    rows = key.shape[-2] // CELL
    out = torch.empty(height, width, dtype=torch.int64)
    for y in range(height):
        for x in range(width):
            place = int(cells[(y // CELL) * columns + x // CELL])
            best, where = float("inf"), 0
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    top = min(max(place // columns + dy, 0), rows - 1) * CELL
                    left = min(max(place % columns + dx, 0), columns - 1) * CELL
                    for v in range(top, top + CELL):
                        for u in range(left, left + CELL):
                            distance = float(((fine[:, y, x] - key[:, v, u]) ** 2).sum())
                            if distance < best:
                                best, where = distance, v * width + u
            out[y, x] = where
    return out


@pytest.mark.parametrize("channels", [1, 6])
def test_the_fine_match_is_its_definition(channels: int) -> None:
    deep, middle, fine = features(2, 3, seed=1, channels=channels)
    _, _, key = features(2, 3, seed=2, channels=channels)
    keys = reference_cells(deep, middle, key)
    cells = torch.randint(0, 4 * 6, (4 * 6,), generator=torch.Generator().manual_seed(3))
    assert torch.equal(fine_match(fine, cells, keys), fine_by_definition(fine, cells, key, columns=6))


def test_a_picture_is_matched_to_itself() -> None:
    levels = features(3, 4)
    keys = reference_cells(*levels)
    cells, similarity = coarse_match(levels[0], levels[1], keys)
    assert torch.equal(cells, torch.arange(6 * 8))
    assert torch.equal(coarse_match(levels[0], levels[1], keys, reach=0)[0], cells), "the search begins at the cell's own place"
    torch.testing.assert_close(similarity, torch.ones(48))
    assert torch.equal(fine_match(levels[2], cells, keys), torch.arange(24 * 32).reshape(24, 32))


@pytest.mark.parametrize("down, right", [(1, 0), (0, 2), (1, -1)])
def test_a_shifted_picture_is_matched_to_its_shift(down: int, right: int) -> None:
    """Shifts are in cells of stride 16, 8 pixels of the fine grid; cells that wrap around stay unique."""
    levels = features(4, 5, seed=5)
    keys = reference_cells(*levels)
    deep, middle, fine = (x.roll((down * k, right * k), (1, 2)) for x, k in zip(levels, (1, 2, 8), strict=True))
    cells, similarity = coarse_match(deep, middle, keys)
    assert torch.equal(cells.reshape(8, 10), torch.arange(80).reshape(8, 10).roll((2 * down, 2 * right), (0, 1)))
    assert similarity.min() > 0.999
    wanted = torch.arange(32 * 40).reshape(32, 40).roll((8 * down, 8 * right), (0, 1))
    assert torch.equal(fine_match(fine, cells, keys), wanted)


def test_middle_features_move_a_match_by_up_to_two_cells() -> None:
    deep, middle, fine = features(4, 4, seed=6)
    keys = reference_cells(deep, middle, fine)
    cells, _ = coarse_match(deep, middle.roll(1, 2), keys)
    wanted = torch.arange(64).reshape(8, 8).roll(1, 1)
    assert torch.equal(cells.reshape(8, 8)[:, 1:], wanted[:, 1:])


def test_similarity_falls_for_another_picture() -> None:
    keys = reference_cells(*features(4, 4, seed=0, channels=32))
    own, other = features(4, 4, seed=0, channels=32), features(4, 4, seed=1, channels=32)
    assert coarse_match(*other[:2], keys)[1].mean() < coarse_match(*own[:2], keys)[1].mean() - 0.3


def test_ties_go_to_the_lowest_index() -> None:
    keys = torch.tensor([[1.0, 0], [0, 1], [1, 0], [0, 1]])
    index, score = nearest(torch.tensor([[1.0, 0], [0, 2], [1, 1]]), keys)
    assert index.tolist() == [0, 1, 0] and score.tolist() == [1, 2, 1]
    levels = features(2, 2)
    flat = ReferenceCells(**{**vars(reference_cells(*levels)), "fine": torch.zeros(16, 16, 6)})
    found = fine_match(levels[2], torch.full((16,), 5), flat)
    assert (found == 0).all(), "cell 5 is row 1, column 1: its region begins at pixel 0"


@pytest.mark.parametrize("rows, cells", [(1, 1), (3, 5), (7, 11)])
def test_tiles_change_nothing(monkeypatch: pytest.MonkeyPatch, rows: int, cells: int) -> None:
    query, key = features(3, 4, seed=1), features(3, 4, seed=2)

    def matched() -> tuple[Tensor, Tensor]:
        keys = reference_cells(*key)
        place, _ = coarse_match(query[0], query[1], keys)
        return place, fine_match(query[2], place, keys)

    whole = matched()
    monkeypatch.setattr(match, "_ROWS", rows)
    monkeypatch.setattr(match, "_CELLS", cells)
    assert all(torch.equal(a, b) for a, b in zip(whole, matched(), strict=True))
