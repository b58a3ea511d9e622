from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from dvcp.methods.dvcp import DeepPropagation, Settings
from dvcp.nets.fusion import FusionNet
from dvcp.nets.sepconv import KernelNet
from dvcp.training.fusion import Rollout, held_out_chroma, roll_out, train_fusion
from dvcp.training.loop import Schedule
from tests.unit.training_clips import drifting_clip


@pytest.fixture(scope="module")
def local() -> KernelNet:
    torch.manual_seed(0)
    return KernelNet(taps=5).eval()


@pytest.fixture(scope="module")
def matcher() -> DeepPropagation:
    return DeepPropagation(Settings(branches="global", device="cpu"))


@pytest.mark.parametrize("fused", [False, True])
def test_a_roll_out_follows_the_clip(local: KernelNet, matcher: DeepPropagation, fused: bool) -> None:
    clip = drifting_clip(count=6, height=33, width=46)
    fusion = FusionNet().eval() if fused else None
    roll = roll_out(clip, matcher, local, fusion, 4, np.random.default_rng(0))
    for planes in (roll.local, roll.matched, roll.truth):
        assert planes.shape == (4, 3, 16, 23) and planes.dtype == np.float16 and np.isfinite(planes).all()
    half = clip.planes[:, :, :32].astype(np.float32).reshape(6, 3, 16, 2, 23, 2).mean((3, 5)) / 255
    half[:, 1:] -= 128 / 255
    places = [int(np.abs(half - frame).mean((1, 2, 3)).argmin()) for frame in roll.truth.astype(np.float32)]
    assert len(set(np.diff(places))) == 1 and abs(int(np.diff(places)[0])) == 1, "consecutive frames, forward or backward"
    assert all(np.abs(half[p] - frame).max() < 1e-3 for p, frame in zip(places, roll.truth, strict=True))


def test_roll_outs_run_both_ways_and_drift(local: KernelNet, matcher: DeepPropagation) -> None:
    clip = drifting_clip(count=6, height=32, width=32)
    clip.planes[:, 0] = (np.arange(6, dtype=np.uint8) * 30 + 20)[:, None, None]
    rising, errors = set(), []
    for seed in range(6):
        roll = roll_out(clip, matcher, local, None, 5, np.random.default_rng(seed))
        rising.add(bool(roll.truth[-1, 0].mean() > roll.truth[0, 0].mean()))
        errors.append(np.abs(roll.local[:, 1:].astype(float) - roll.truth[:, 1:]).mean((1, 2, 3)))
    assert rising == {True, False}
    drift = np.mean(errors, 0)
    assert drift[-1] > drift[0], "errors of the local branch add up over a shot: this is what fusion must see"


def test_each_branch_is_measured_by_its_own_error() -> None:
    truth = np.zeros((1, 3, 16, 16), np.float16)
    local, matched = truth.copy(), truth.copy()
    local[:, 1:], matched[:, 1:] = 0.125, 0.25
    with torch.inference_mode():
        measured = held_out_chroma(FusionNet().eval(), [Rollout(local, matched, truth)])
    assert measured["psnr_local"] == pytest.approx(-20 * np.log10(0.125), abs=1e-3)
    assert measured["psnr_matched"] == pytest.approx(-20 * np.log10(0.25), abs=1e-3)
    assert np.isfinite(measured["psnr_fused"])


@pytest.mark.slow
def test_a_few_steps_lower_the_loss(tmp_path: Path, local: KernelNet) -> None:
    clips = [drifting_clip(name, height=64, width=64, step=2, seed=seed) for seed, name in enumerate("ab")]
    schedule = Schedule(60, 0, 4, 1e-3, report_every=10)
    net, measured = train_fusion(clips, local, tmp_path, schedule, size=24, frames=4, passes=2)
    losses = []
    for turn in ("pass1", "pass2"):
        with (tmp_path / turn / "curve.csv").open(newline="") as lines:
            losses.append([float(row["loss"]) for row in csv.DictReader(lines)])
    assert [len(rows) for rows in losses] == [3, 3]
    assert losses[0][-1] < losses[0][0] * 0.8 and losses[1][-1] < losses[0][0] * 0.8
    assert not net.training and measured["steps"] == 30
    assert measured["psnr_fused"] > 10
