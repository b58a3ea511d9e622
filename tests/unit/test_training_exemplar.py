from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dvcp.colour import ColourSpec
from dvcp.methods import create
from dvcp.methods.base import Reference, Window
from dvcp.nets.descriptor import DescriptorNet
from dvcp.nets.features import load_backbone
from dvcp.nets.weights import save_weights
from dvcp.training.clips import Clip
from dvcp.training.exemplar import Studio, train_exemplar
from dvcp.training.loop import Schedule
from dvcp.training.scenes import Draw, Stock
from tests.unit.test_training_scenes import clip, picture


@pytest.fixture(scope="module")
def studio() -> Studio:
    torch.manual_seed(0)
    made = Studio(DescriptorNet(), load_backbone())
    torch.nn.init.normal_(made.colour.last.weight, std=0.02)
    return made


@pytest.fixture(scope="module")
def draw() -> Draw:
    stock = Stock([clip(0), clip(1)], [], np.eye(2, dtype=np.float32))
    draws = (stock.draw(4, np.random.default_rng(seed)) for seed in range(99))
    return next(one for one in draws if one.same and one.start == 0.0)


def test_both_sides_learn_from_one_loss_and_neither_from_the_others(studio: Studio, draw: Draw) -> None:
    studio.zero_grad()
    studio(draw).backward()
    for name, parameter in studio.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.isfinite().all()), name
    learned = {part: sum(float(p.grad.abs().sum()) for p in getattr(studio, part).parameters()) for part in ("descriptor", "colour")}
    assert min(learned.values()) > 0
    # the discriminator's gradient is that of its own loss alone: telling truth from colours that stand still
    before = [p.grad.clone() for p in studio.discriminator.parameters() if p.grad is not None]
    assert sum(float(g.abs().sum()) for g in before) > 0


def test_a_start_is_given_and_not_coloured(studio: Studio, draw: Draw) -> None:
    made, errors, brought = studio.eval().unroll(draw)
    assert len(made) == len(errors) == len(brought) == 3
    truth = F.avg_pool2d(draw.truth, 2)
    inside = (..., slice(8, -8), slice(8, -8))
    off = (brought[0][:, 1:] - truth[1:2, 1:])[inside].abs().mean()
    assert float(off) < 0.03, "the true first frame was brought along"
    without, _, carried = studio.unroll(replace(draw, start=None))
    assert len(without) == 4
    matched, _ = studio.matched(draw.luma[:1], studio.keys(draw.reference[:, :1], F.avg_pool2d(draw.reference, 2)[0]))
    torch.testing.assert_close(carried[0], matched)


def test_what_is_learned_is_what_the_method_does(studio: Studio, draw: Draw, tmp_path: Path) -> None:
    """The unrolled network in training and the method at work, on the same frames: the same colours, but for the rounding between them."""
    path = tmp_path / "w.safetensors"
    save_weights(path, {"descriptor": studio.descriptor, "colour": studio.colour}, {})
    spec = ColourSpec("bt601", True, 8, (1, 1))
    luma = (draw.truth[:, 0] * 255).round().clamp(0, 255)
    rounded = replace(draw, luma=luma[:, None] / 255, reference=draw.truth[:1], start=0.0)
    made, _, _ = studio.eval().unroll(rounded)
    chroma = F.avg_pool2d(draw.truth[:1, 1:], 2)[0].numpy()
    reference = Reference(luma[0].byte().numpy(), chroma, True, "")
    method = create("exemplar", weights=str(path), device="cpu")
    window = Window((1, 2, 3), luma[1:].byte().numpy(), spec)
    _, found = method.propagate(method.start(reference, spec), window, method.match(window, method.anchor([reference], spec)))
    for k, wanted in enumerate(made):
        off = np.abs(found.planes[k] - wanted[0].detach().numpy())
        assert off.mean() < 0.004, (k, off.mean())


@pytest.mark.slow
def test_training_lowers_the_loss_and_begins_again_where_it_stopped(tmp_path: Path) -> None:
    clips = [Clip(s.name, s.name, s.planes) for s in (clip(k) for k in range(2))]

    def run(folder: Path, steps: int) -> tuple[Studio, dict[str, float]]:
        schedule = Schedule(steps, 0, 1, 1e-3, report_every=2)
        torch.manual_seed(0)
        return train_exemplar(clips, [picture(0)], DescriptorNet(), folder, schedule, frames=4)

    # in two goes, a schedule's end being another each time, so only the second's last steps are compared with themselves
    _, first = run(tmp_path / "a", 4)
    net, again = run(tmp_path / "a", 4)
    assert first["steps"] == again["steps"] == 4 and first["psnr"] == again["psnr"], "nothing is left to do"
    assert first["psnr"] > 15
    assert {"psnr", "psnr_match"} <= first.keys()
    assert not any(p.requires_grad for p in net._backbone[0].parameters()), "the backbone stays as it is"  # type: ignore[attr-defined]
    assert not any(name.startswith("_backbone") for name in net.state_dict())
