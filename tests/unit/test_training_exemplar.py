from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dvcp.colour import ColourSpec
from dvcp.errors import WeightsError
from dvcp.methods import create
from dvcp.methods.base import Reference, Window
from dvcp.nets.descriptor import DescriptorNet
from dvcp.nets.features import load_backbone
from dvcp.nets.weights import save_weights
from dvcp.training import losses
from dvcp.training.clips import Clip
from dvcp.training.exemplar import Studio, train_exemplar
from dvcp.training.loop import Schedule
from dvcp.training.scenes import Draw, Stock
from tests.unit.test_training_scenes import clip, picture


@pytest.fixture(scope="module")
def studio() -> Studio:
    torch.manual_seed(0)
    made = Studio(DescriptorNet(), load_backbone(), along=True)
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
    def of_discriminator() -> torch.Tensor:
        return torch.cat([p.grad.flatten() for p in studio.discriminator.parameters() if p.grad is not None])

    with_all = of_discriminator()
    studio.zero_grad()
    made, _, _ = studio.unroll(draw)
    k = len(draw.luma) - len(made)
    luma, truth, chroma = F.avg_pool2d(draw.luma[k:], 2), F.avg_pool2d(draw.truth[k:], 2)[:, 1:], torch.cat(made).detach()
    shown, true = (torch.cat([luma[-1:], c[-1:], luma[-2:-1], c[-2:-1]], 1) for c in (chroma, truth))
    losses.relativistic(studio.discriminator(true), studio.discriminator(shown)).backward()
    # spectral norm moves on by itself at every call, so not to the last bit
    assert float(F.cosine_similarity(of_discriminator(), with_all, 0)) > 0.98
    torch.testing.assert_close(of_discriminator().norm(), with_all.norm(), rtol=0.1, atol=0)


def test_descriptors_stay_as_they_are_unless_asked(draw: Draw) -> None:
    torch.manual_seed(0)
    still = Studio(DescriptorNet(), load_backbone())
    still(draw).backward()
    assert all(p.grad is None for p in still.descriptor.parameters())
    assert any(p.grad is not None for p in still.colour.parameters())


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
def test_training_goes_on_where_it_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = [Clip(s.name, s.name, s.planes) for s in (clip(k) for k in range(2))]
    schedule = Schedule(4, 0, 1, 1e-3, report_every=2)
    torch.manual_seed(5)
    first = DescriptorNet().state_dict()

    def same() -> DescriptorNet:
        net = DescriptorNet()
        net.load_state_dict(first)
        return net

    whole, measured = train_exemplar(clips, [picture(0)], same(), tmp_path / "whole", schedule, frames=4)
    draw_of = Stock.draw
    asked = []

    def killed(self: Stock, frames: int, rng: np.random.Generator) -> Draw:
        asked.append(1)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return draw_of(self, frames, rng)

    monkeypatch.setattr(Stock, "draw", killed)
    with pytest.raises(KeyboardInterrupt):
        train_exemplar(clips, [picture(0)], same(), tmp_path / "killed", schedule, frames=4)
    monkeypatch.undo()
    resumed, again = train_exemplar(clips, [picture(0)], same(), tmp_path / "killed", schedule, frames=4)
    assert again["psnr"] == pytest.approx(measured["psnr"], abs=1e-4)
    for (name, one), other in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4, msg=name)
    assert not any(name.startswith("_backbone") for name in whole.state_dict())
    with pytest.raises(WeightsError, match="another along"):
        train_exemplar(clips, [picture(0)], same(), tmp_path / "killed", schedule, frames=4, along=0.05)
