from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from dvcp.ops.correlate import Places, correlate, correlate_whole, joined, unit_features


def features(seed: int, rows: int = 5, columns: int = 7, channels: int = 16) -> Tensor:
    return torch.randn(channels, rows, columns, generator=torch.Generator().manual_seed(seed))


def places(seed: int, rows: int = 5, columns: int = 7) -> Places:
    colours = torch.randn(rows * columns, 2, generator=torch.Generator().manual_seed(100 + seed))
    return Places(unit_features(features(seed, rows, columns)), colours * 40)


def by_definition(frame: Tensor, reference: Tensor, colours: Tensor, tau: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Equations 3 to 5 in float64, a place at a time, from features as the network gives them."""

    def unit(x: Tensor) -> np.ndarray:
        flat = x.double().numpy().reshape(len(x), -1)
        flat = flat - flat.mean(1, keepdims=True)
        return np.asarray(flat / np.sqrt((flat**2).sum(0)))

    warped, similarity = [], []
    keys = unit(reference)
    for query in unit(frame).T:
        f = query @ keys
        weights = np.exp((f - f.max()) / tau) if tau else (f == f.max()).astype(float)
        warped.append(weights / weights.sum() @ colours.double().numpy())
        similarity.append(f.max())
    return np.array(warped), np.array(similarity)


@pytest.mark.parametrize("tau", [None, 0.01, 0.1, 1e-10])
@pytest.mark.parametrize("rows", [1, 4, 11, 512])
def test_blocks_are_the_definition(tau: float | None, rows: int) -> None:
    reference = places(1, 6, 4)
    found = correlate(unit_features(features(0)), reference, tau, rows)
    colours, similarity = by_definition(features(0), features(1, 6, 4), reference.colours, tau)
    np.testing.assert_allclose(found.colours.numpy(), colours, atol=1e-3)
    np.testing.assert_allclose(found.similarity.numpy(), similarity, atol=1e-6)
    whole = correlate_whole(unit_features(features(0)), reference, tau)
    torch.testing.assert_close(found.colours, whole.colours, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(found.similarity, whole.similarity)


def test_the_authors_temperature_is_the_likeliest_place() -> None:
    frame, reference = unit_features(features(2)), places(3)
    torch.testing.assert_close(correlate(frame, reference, 1e-10).colours, correlate(frame, reference).colours, atol=1e-4, rtol=0)


def test_the_whole_matrix_never_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = 0
    plain = torch.Tensor.__matmul__

    def watched(a: Tensor, b: Tensor) -> Tensor:
        nonlocal largest
        product = plain(a, b)
        largest = max(largest, product.numel())
        return product

    monkeypatch.setattr(torch.Tensor, "__matmul__", watched)
    frame = unit_features(features(0, 40, 50))
    correlate(frame, Places(frame, torch.zeros(2000, 2)))
    assert 0 < largest <= 512 * 2000


def test_a_frame_is_matched_to_itself() -> None:
    frame = unit_features(features(4))
    colours = torch.arange(35.0)[:, None]
    found = correlate(frame, Places(frame, colours), rows=8)
    assert torch.equal(found.colours, colours)
    torch.testing.assert_close(found.similarity, torch.ones(35))


def test_features_are_centred_before_they_are_normalised() -> None:
    x = features(5)
    torch.testing.assert_close(unit_features(3 * x + torch.arange(16.0)[:, None, None]), unit_features(x), atol=1e-5, rtol=1e-4)
    assert torch.equal(unit_features(torch.full((4, 2, 2), 0.5)), torch.zeros(4, 4)), "nothing to tell apart, and no NaN"


def test_several_references_are_one_with_all_their_places() -> None:
    frame = unit_features(features(6))
    first, second = places(7, 5, 7), places(8, 3, 4)
    both = correlate(frame, joined([first, second]))
    alone = [correlate(frame, r) for r in (first, second)]
    better = (alone[1].similarity > alone[0].similarity)[:, None]
    assert better.any() and not better.all()
    assert torch.equal(both.colours, torch.where(better, alone[1].colours, alone[0].colours))
    torch.testing.assert_close(both.similarity, torch.maximum(alone[0].similarity, alone[1].similarity))
    assert joined([first]) is first
