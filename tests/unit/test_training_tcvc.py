from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dvcp.nets.colorizer import Colorizer
from dvcp.nets.tcvc import FeatureFusion
from dvcp.training.loop import Schedule
from dvcp.training.scenes import Scene
from dvcp.training.tcvc import Run, Studio, draw_run, measured_run, train_tcvc, warping_loss
from tests.unit.training_clips import drifting_clip


@pytest.fixture(scope="module")
def generator() -> Colorizer:
    torch.manual_seed(0)
    return Colorizer().eval().requires_grad_(False)


def run(frames: int = 5) -> Run:
    clip = drifting_clip("c", frames, 140, 200)
    return measured_run(torch.from_numpy(clip.planes[:, :1]).float() / 255)


def test_colours_that_go_with_the_motion_cost_nothing() -> None:
    one = run()
    # the clip drifts right by one pixel a frame, and so do these colours
    colours = torch.from_numpy(drifting_clip("d", 5, 140, 200, seed=5).planes[:, 1:]).float() / 255 - 0.5
    still = colours[:1].expand(5, -1, -1, -1)
    light = one.luma - 0.5
    assert float(warping_loss(one, colours, light)) < 0.05 * float(warping_loss(one, still, light))


def test_what_luma_does_not_explain_does_not_count() -> None:
    one = run()
    colours = torch.rand(5, 2, 140, 200)
    flashing = torch.stack([torch.full((1, 140, 200), float(k % 4 < 2)) for k in range(5)])
    assert float(warping_loss(one, colours, flashing - 0.5)) < 0.7 * float(warping_loss(one, colours, one.luma - 0.5))


def test_the_fusion_learns_the_generator_does_not_and_no_truth_is_seen(generator: Colorizer) -> None:
    studio = Studio(generator, FeatureFusion.of(generator.channels))
    studio(run(4)).backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in studio.parameters())
    assert not any(p.requires_grad for p in generator.parameters())
    assert set(studio.state_dict()) == {f"fusion.{name}" for name in studio.fusion.state_dict()}
    # a run holds luma alone
    drawn = draw_run(Scene("c", drifting_clip("c", 6, 140, 200).planes), 5, np.random.default_rng(0))
    assert drawn.luma.shape[:2] == (5, 1) and len(drawn.to_next) == len(drawn.to_last) == 4 and len(drawn.two_back) == 3


def test_anchors_keep_the_generator_s_colours(generator: Colorizer) -> None:
    studio, one = Studio(generator, FeatureFusion.of(generator.channels)), run(4)
    with torch.no_grad():
        sides = studio.sides(one)
        chroma = studio.colours(one, sides, studio.fused(sides))
        for end in (0, -1):
            torch.testing.assert_close(chroma[end], generator(one.luma[[end]])[0], atol=1e-5, rtol=1e-4)


def test_training_begins_from_motion_alone_and_writes_its_curve(generator: Colorizer, tmp_path: Path) -> None:
    clips = [drifting_clip(name, 5, 140, 200, seed=k) for k, name in enumerate("ab")]
    fusion, measured = train_tcvc(clips, generator, tmp_path, Schedule(2, 0, 1, 1e-4, report_every=1), frames=3)
    assert {"fused", "mixed", "single", "kept", "steps"} <= set(measured) and measured["fused"] <= measured["single"]
    assert float(fusion.refine.last.state_dict()["weight"].abs().max()) < 1e-3
    assert len((tmp_path / "curve.csv").read_text().splitlines()) == 3
