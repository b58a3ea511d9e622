from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from dvcp.ops.flow import dense_flow, halved, sample, standing


def texture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    wide = gaussian_filter(np.random.default_rng(seed).random((height, width)), 2)
    scaled: NDArray[np.uint8] = (255 * (wide - wide.min()) / max(wide.max() - wide.min(), 1e-9)).astype(np.uint8)
    return scaled


def test_flow_points_to_where_a_pixel_was() -> None:
    wide = texture(80, 140)
    last, now = wide[5:69, 10:106], wide[2:66, 6:102]  # what stood at (x, y) now stands 4 to the right and 3 down
    flow = dense_flow(now, last)
    assert flow.shape == (64, 96, 2) and flow.dtype == np.float32
    np.testing.assert_allclose(np.median(flow[12:-12, 12:-12], (0, 1)), [-4, -3], atol=0.1)


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (15, 15), (16, 200)])
def test_small_pictures_neither_raise_nor_crash(size: tuple[int, int]) -> None:
    flow = dense_flow(texture(*size), texture(*size, seed=1))
    assert flow.shape == (*size, 2) and np.isfinite(flow).all()


def test_the_same_frames_give_the_same_flow() -> None:
    a, b, c = (texture(64, 64, s) for s in range(3))
    first = dense_flow(a, b)
    dense_flow(c, a)
    np.testing.assert_array_equal(dense_flow(a, b), first)


def test_half_the_grid_has_half_the_steps() -> None:
    flow = np.full((7, 9, 2), 6, np.float32)
    np.testing.assert_array_equal(halved(flow, 3, 4), np.full((3, 4, 2), 3, np.float32))


def test_samples_agree_with_scipy() -> None:
    rng = np.random.default_rng(0)
    planes = rng.random((2, 11, 14)).astype(np.float32)
    place = rng.uniform(-3, 16, (2, 6, 5)).astype(np.float32)
    found = sample(torch.from_numpy(planes), torch.from_numpy(place)).numpy()
    for plane, got in zip(planes, found, strict=True):
        np.testing.assert_allclose(got, map_coordinates(plane, [place[1], place[0]], order=1, mode="nearest"), atol=1e-4)


def test_where_nothing_moves_everything_is_sampled_in_place() -> None:
    planes = torch.rand(3, 8, 9)
    torch.testing.assert_close(sample(planes, standing(8, 9)), planes, atol=1e-6, rtol=0)
