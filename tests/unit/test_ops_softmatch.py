from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dvcp.ops.softmatch import doubled, joined, keys_of, quarters, soft_match, whole


def described(rows: int, columns: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Unit descriptors at both levels and a picture."""
    g = torch.Generator().manual_seed(seed)
    coarse = F.normalize(torch.randn(8, rows, columns, generator=g), dim=0)
    fine = F.normalize(torch.randn(6, 2 * rows, 2 * columns, generator=g), dim=0)
    return coarse, fine, torch.rand(3, 4 * rows, 4 * columns, generator=g)


def test_quarters_and_back() -> None:
    planes = torch.arange(2 * 6 * 4).reshape(2, 6, 4).float()
    cells = quarters(planes)
    assert cells.shape == (6, 4, 2)
    assert cells[0, :, 0].tolist() == [0, 1, 4, 5], "the four of one cell, row by row"
    assert torch.equal(whole(cells, (3, 2)), planes)


@pytest.mark.parametrize("kept", [1, 3, 99])
def test_the_match_equals_its_definition(kept: int) -> None:
    """Written out place by place in float64."""
    frame, reference = described(3, 4, 0), described(4, 3, 1)
    sharp = torch.tensor([7.0, 5.0])
    match = soft_match(keys_of(*frame[:2]), keys_of(*reference), sharp, kept)
    found, cues = match.colours, match.cues
    assert found.shape == (3, 6, 8) and cues.shape == (4, 6, 8)
    small = F.avg_pool2d(reference[2][None], 2)[0].double().numpy()
    c, f, rc, rf = (t.double().numpy() for t in (*frame[:2], *reference[:2]))
    for y in range(6):
        for x in range(8):
            score = np.einsum("c,crk->rk", c[:, y // 2, x // 2], rc)
            best = np.argsort(-score.ravel())[:kept]
            logits, colours, near = [], [], []
            for cell in best:
                r, k = divmod(int(cell), 3)
                for qy, qx in ((0, 0), (0, 1), (1, 0), (1, 1)):
                    near.append(f[:, y, x] @ rf[:, 2 * r + qy, 2 * k + qx])
                    logits.append(7 * score[r, k] + 5 * near[-1])
                    colours.append(small[:, 2 * r + qy, 2 * k + qx])
            weight = np.exp(np.array(logits) - max(logits))
            weight /= weight.sum()
            np.testing.assert_allclose(found[:, y, x], weight @ np.array(colours), atol=1e-5)
            chroma = np.array(colours)[:, 1:]
            spread = np.sqrt(max(0, weight @ (chroma**2).sum(1) - ((weight @ chroma) ** 2).sum()))
            wanted = [weight.max(), 2 * score.max() - 1, 2 * near[int(weight.argmax())] - 1, 8 * spread]
            np.testing.assert_allclose(cues[:, y, x], np.clip(wanted, 0, 1), atol=2e-3)


def test_a_sharp_match_of_a_picture_with_itself_is_the_picture() -> None:
    coarse, fine, picture = described(5, 6, 2)
    keys = keys_of(coarse, fine, picture)
    match = soft_match(keys, keys, torch.tensor([100.0, 100.0]))
    torch.testing.assert_close(match.colours, F.avg_pool2d(picture[None], 2)[0], atol=1e-3, rtol=0)
    assert match.cues[:3].min() > 0.99 and match.cues[3].max() < 0.05


def test_large_frames_are_matched_in_pieces_to_the_same_result() -> None:
    coarse, fine, _ = described(20, 21, 3)
    reference = keys_of(*described(6, 5, 4))
    sharp = torch.tensor([9.0, 6.0])
    found = soft_match(keys_of(coarse, fine), reference, sharp).colours
    part = soft_match(keys_of(coarse[:, 15:], fine[:, 30:]), reference, sharp).colours
    torch.testing.assert_close(found[:, 30:], part, atol=1e-5, rtol=0)


def test_evidence_is_brought_to_the_working_grid() -> None:
    found = doubled(torch.full((2, 3, 4, 6), 0.5), 7, 11)
    assert found.shape == (2, 3, 7, 11) and torch.equal(found, torch.full_like(found, 0.5))


def test_each_place_takes_its_colours_from_the_picture_that_shows_it() -> None:
    here, there = described(3, 4, 6), described(4, 3, 7)
    sharp = torch.tensor([100.0, 100.0])
    both = joined([keys_of(*here), keys_of(*there)])
    for coarse, fine, picture in (here, there):
        found = soft_match(keys_of(coarse, fine), both, sharp).colours
        torch.testing.assert_close(found, F.avg_pool2d(picture[None], 2)[0], atol=1e-3, rtol=0)
