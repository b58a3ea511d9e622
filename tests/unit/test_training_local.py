from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from dvcp.nets.sepconv import KernelNet
from dvcp.training.clips import Clip
from dvcp.training.local import augment_gray, draw_pair, held_out_psnr, train_local
from dvcp.training.loop import Schedule
from tests.unit.training_clips import drifting_clip


def test_a_pair_is_two_frames_of_one_crop() -> None:
    clip = drifting_clip(step=1)
    rng = np.random.default_rng(0)
    for _ in range(20):
        pair = draw_pair(clip, 24, rng, gap=2)
        assert pair.shape == (2, 3, 24, 24) and pair.dtype == torch.float32
        assert pair[:, 0].min() >= 0 and pair[:, 0].max() <= 1 and pair[:, 1:].abs().max() <= 0.5
        assert not torch.equal(pair[0], pair[1])


def test_frames_of_a_pair_stand_as_far_apart_as_asked() -> None:
    """On a clip whose every frame has one value, the two values tell the frames."""
    clip = drifting_clip()
    clip.planes[:] = (np.arange(6) * 20)[:, None, None, None]
    rng = np.random.default_rng(1)
    for gap in (1, 3, 5, 40):
        steps = {round(float((p[1] - p[0])[0].mean() * 255 / 20)) for p in (draw_pair(clip, 16, rng, gap) for _ in range(20))}
        assert steps == {min(gap, 5), -min(gap, 5)}, "both directions in time, never beyond the clip"
    free = {abs(round(float((p[1] - p[0])[0].mean() * 255 / 20))) for p in (draw_pair(clip, 16, rng) for _ in range(60))}
    assert free == {1, 2, 3, 4}


def test_pairs_come_from_small_clips_too() -> None:
    assert draw_pair(drifting_clip(height=20, width=24), 64, np.random.default_rng(0)).shape == (2, 3, 64, 64)


def test_the_same_generator_gives_the_same_pair_and_grain() -> None:
    first, second = (draw_pair(drifting_clip(), 24, np.random.default_rng(5)) for _ in range(2))
    assert torch.equal(first, second)
    a, b, c = (augment_gray(first[:, 0], np.random.default_rng(s)) for s in (5, 5, 6))
    assert torch.equal(a, b) and not torch.equal(a, c) and a.shape == (2, 24, 24)
    assert a.isfinite().all() and (a - first[:, 0]).abs().mean() < 0.3


def test_copying_is_measured_beside_the_network() -> None:
    still = drifting_clip(step=0)
    torch.manual_seed(0)
    net = KernelNet(taps=5).eval()
    with torch.inference_mode():
        measured = held_out_psnr(net, [still], size=32, pairs=4)
    assert measured["copy_luma"] == measured["copy_chroma"] == pytest.approx(90)
    assert 15 < measured["psnr_luma"] < 60 and set(measured) == {"psnr_luma", "psnr_chroma", "copy_luma", "copy_chroma"}


@pytest.mark.slow
def test_a_few_steps_lower_the_loss(tmp_path: Path) -> None:
    """On noise that stands still the way down is short: stop blurring."""
    noise = np.random.default_rng(0).integers(0, 256, (1, 3, 32, 32), dtype=np.uint8).repeat(3, 0)
    net, measured = train_local([Clip("still", "", noise)], tmp_path, Schedule(8, 0, 2, 1e-2, report_every=4), size=32, taps=9)
    with (tmp_path / "curve.csv").open(newline="") as lines:
        losses = [float(row["loss"]) for row in csv.DictReader(lines)]
    assert losses[-1] < losses[0] * 0.8
    assert set(net.state_dict()) == set(KernelNet(taps=9).state_dict()), "what is returned is folded"
    assert measured["steps"] == 8 and np.isfinite(measured["psnr_chroma"])
