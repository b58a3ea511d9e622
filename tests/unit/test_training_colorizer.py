from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dvcp.errors import ConfigError
from dvcp.training.colorizer import HEIGHT, SHIFT, WIDTH, colour_loss, draw_views, steadiness, train_colorizer
from dvcp.training.loop import Schedule
from dvcp.training.scenes import Scene
from tests.unit.training_clips import drifting_clip


def picture(seed: int) -> Scene:
    clip = drifting_clip(f"p{seed}", 1, 200, 260, seed=seed)
    return Scene(clip.name, clip.planes)


def test_two_views_show_the_same_places_at_their_shift() -> None:
    luma, chroma, shift = draw_views(picture(0), np.random.default_rng(4))
    assert luma.shape == (2, 1, HEIGHT, WIDTH) and chroma.shape == (2, 2, HEIGHT // 2, WIDTH // 2)
    assert int(shift.min()) >= 0 and int(shift.max()) <= SHIFT // 2 and int(shift.sum()) > 0
    assert float(steadiness(chroma, shift[None])) == pytest.approx(0, abs=1e-4)
    assert float(steadiness(chroma, torch.zeros_like(shift)[None])) > 0.1


def test_lively_pixels_count_more() -> None:
    found, pale, lively = torch.zeros(1, 2, 4, 4), torch.full((1, 2, 4, 4), 0.02), torch.full((1, 2, 4, 4), 0.2)
    assert float(colour_loss(found, lively)) > 20 * float(colour_loss(found, pale))
    assert float(colour_loss(lively, lively)) == 0


def test_it_learns_and_resumes_as_if_undisturbed(tmp_path: Path) -> None:
    scenes = [picture(k) for k in range(2)]
    schedule = Schedule(4, 0, 1, 2e-3, report_every=2)
    whole, _ = train_colorizer([], scenes, tmp_path / "a", schedule)
    train_colorizer([], scenes, tmp_path / "b", Schedule(2, 0, 1, 2e-3, report_every=2))
    with pytest.raises(ConfigError, match="nothing to train on"):
        train_colorizer([], [], tmp_path / "c", schedule)
    rows = (tmp_path / "a" / "curve.csv").read_text().splitlines()
    assert rows[0].split(",") == ["step", "minutes", "loss", "psnr", "psnr_gray", "lively", "unsteady"] and len(rows) == 3
    assert all(bool(p.isfinite().all()) for p in whole.parameters())
