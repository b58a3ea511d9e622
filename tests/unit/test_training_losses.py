"""Every loss against its formula, written out place by place in numpy."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from dvcp.nets.features import Features
from dvcp.training import losses


def test_contextual_is_equations_9_and_10() -> None:
    torch.manual_seed(0)
    found, reference = torch.randn(1, 6, 3, 4), torch.randn(1, 6, 2, 5) + 1
    x, y = (t[0].flatten(1).double().numpy() for t in (found, reference))
    centre = y.mean(1, keepdims=True)
    x, y = ((p - centre) / np.linalg.norm(p - centre, axis=0) for p in (x, y))
    best = []
    for i in range(x.shape[1]):
        d = 1 - x[:, i] @ y
        w = np.exp((1 - d / (d.min() + 1e-5)) / 0.1)
        best.append((w / w.sum()).max())
    np.testing.assert_allclose(float(losses.contextual(found, reference)), -np.log(np.mean(best)), rtol=1e-4)


def test_contextual_is_least_where_the_reference_is_found_again_anywhere() -> None:
    torch.manual_seed(0)
    reference = torch.randn(1, 8, 8, 8)
    shuffled = reference.flatten(2)[..., torch.randperm(64)].reshape(1, 8, 8, 8)
    assert float(losses.contextual(shuffled, reference)) < 1e-3
    assert float(losses.contextual(torch.randn(1, 8, 8, 8), reference)) > 0.2


def test_perceptual_is_relative() -> None:
    deep = torch.rand(1, 3, 4, 4)

    def features(x: torch.Tensor) -> Features:
        return Features(x, x, x, x)

    one = float(losses.perceptual(features(deep * 1.5), features(deep)))
    assert abs(one - 0.25) < 1e-5
    assert abs(float(losses.perceptual(features(deep * 15), features(deep * 10))) - one) < 1e-5


def test_smoothness_is_equation_11_with_weights_of_the_truth() -> None:
    torch.manual_seed(0)
    chroma, truth = torch.rand(1, 2, 4, 5) * 20, torch.rand(1, 3, 4, 5) * 10
    c, t = (np.pad(p[0].double().numpy(), ((0, 0), (1, 1), (1, 1)), mode="edge") for p in (chroma, truth))
    total = 0.0
    for y in range(1, 5):
        for x in range(1, 6):
            near = [(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
            w = np.array([np.exp(-((t[:, y, x] - t[:, a, b]) ** 2).sum() / 10) for a, b in near])
            mean = sum(k * c[:, a, b] for k, (a, b) in zip(w / w.sum(), near, strict=True))
            total += ((c[:, y, x] - mean) ** 2).sum()
    np.testing.assert_allclose(float(losses.smoothness(chroma, truth)), total / 40, rtol=1e-4)


def test_colour_across_an_edge_of_the_truth_costs_nothing() -> None:
    truth = torch.zeros(1, 3, 8, 8)
    truth[..., 4:] = 200
    chroma = truth[:, 1:] / 4
    assert float(losses.smoothness(chroma, truth)) < 1e-6
    assert float(losses.smoothness(chroma, torch.zeros_like(truth))) > 1


def test_temporal_counts_only_what_the_flow_explains() -> None:
    chroma, carried = torch.full((1, 2, 4, 4), 10.0), torch.zeros(1, 2, 4, 4)
    unexplained = torch.zeros(1, 1, 4, 4)
    assert abs(float(losses.temporal(chroma, carried, unexplained)) - 100) < 1e-3
    unexplained[..., :2] = 0.5
    assert abs(float(losses.temporal(chroma, carried, unexplained)) - 50) < 1e-3


def test_relativistic_is_equation_12() -> None:
    real, made = torch.tensor([1.0, 3.0]), torch.tensor([0.0, -2.0])
    wanted = (((real - -1 - 1) ** 2).mean() + ((made - 2 + 1) ** 2).mean()) / 2
    assert float(losses.relativistic(real, made)) == float(wanted)
    assert float(losses.relativistic(torch.tensor([0.5]), torch.tensor([-0.5]))) == 0


def test_three_levels_the_higher_the_weightier() -> None:
    torch.manual_seed(0)
    a, b = (Features(*(torch.randn(1, c, s, s) for c, s in ((4, 3), (5, 6), (6, 12), (7, 24)))) for _ in range(2))
    wanted = 8 * losses.contextual(a.deep, b.deep) + 4 * losses.contextual(a.middle, b.middle)
    wanted = wanted + 2 * losses.contextual(F.avg_pool2d(a.shallow, 2), F.avg_pool2d(b.shallow, 2))
    torch.testing.assert_close(losses.contextual_levels(a, b), wanted)
