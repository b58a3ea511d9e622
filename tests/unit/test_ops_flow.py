from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from dvcp.ops.flow import FlowSearch, dense_flow, dis_flow, halved, inside, sample, standing, visible, warp


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


def pictures(height: int, width: int, *corners: tuple[int, int]) -> torch.Tensor:
    """Y' ``[T, 1, h, w]`` cut out of one texture at (x, y)."""
    wide = texture(height + 20, width + 20)
    return torch.stack([torch.from_numpy(wide[y : y + height, x : x + width].copy())[None] / 255 for x, y in corners])


def test_what_lies_along_the_flow_of_a_search_is_the_picture() -> None:
    search: FlowSearch = dis_flow
    a, b = pictures(64, 96, (6, 2), (3, 9)), pictures(64, 96, (10, 5), (8, 9))
    flow = search(a, b)
    assert flow.shape == (2, 2, 64, 96) and flow.dtype == torch.float32
    for k, (x, y) in enumerate([(-4, -3), (-5, 0)]):  # what is at (x, y) in a is further left and up in b
        np.testing.assert_allclose(flow[k, :, 12:-12, 12:-12].flatten(1).median(1).values, [x, y], atol=0.1)
    error = (warp(b, flow) - a)[..., 12:-12, 12:-12].abs().mean()
    assert error < 0.02 < (b - a)[..., 12:-12, 12:-12].abs().mean()


def test_a_search_is_dense_flow_of_the_codes() -> None:
    a, b = pictures(20, 30, (0, 0), (4, 4)), pictures(20, 30, (1, 0), (6, 5))
    for k, flow in enumerate(dis_flow(a, b)):
        codes = [(x[k, 0].numpy() * 255).round().astype(np.uint8) for x in (a, b)]
        np.testing.assert_array_equal(flow.permute(1, 2, 0).numpy(), dense_flow(*codes))


def test_a_constant_flow_shifts_and_repeats_edges() -> None:
    planes = torch.rand(2, 3, 7, 9)
    found = warp(planes, torch.tensor([2.0, -1.0])[:, None, None].expand(2, 2, 7, 9))
    rows, columns = (torch.arange(7) - 1).clamp(min=0), (torch.arange(9) + 2).clamp(max=8)
    torch.testing.assert_close(found, planes[:, :, rows][..., columns], atol=1e-5, rtol=0)
    torch.testing.assert_close(warp(planes, torch.zeros(2, 2, 7, 9)), planes, atol=1e-6, rtol=0)


def test_warp_is_sample_frame_by_frame() -> None:
    rng = np.random.default_rng(0)
    planes, flow = torch.rand(2, 3, 7, 9), torch.from_numpy(rng.uniform(-5, 5, (2, 2, 7, 9)).astype(np.float32))
    found = warp(planes, flow)
    for k in range(2):
        torch.testing.assert_close(found[k], sample(planes[k], standing(7, 9) + flow[k]))


def test_there_and_back_is_the_picture() -> None:
    planes = pictures(40, 60, (0, 0))
    y, x = torch.meshgrid(torch.arange(40) / 6, torch.arange(60) / 9, indexing="ij")
    forth = torch.stack([2 * x.sin() + 1.3, y.cos()])[None]
    back = -forth
    for _ in range(20):  # the inverse: back(x) = -forth(x + back(x))
        back = -warp(forth, back)
    error = (warp(warp(planes, forth), back) - planes)[..., 5:-5, 5:-5].abs().mean()
    assert error < 0.02 < (warp(planes, forth) - planes)[..., 5:-5, 5:-5].abs().mean()


def test_inside_is_the_picture_to_the_middle_of_its_last_pixels() -> None:
    flow = torch.zeros(1, 2, 4, 5)
    flow[:, 0], flow[:, 1] = 1.0, -0.5
    wanted = torch.ones(4, 5, dtype=torch.bool)
    wanted[:, -1], wanted[0] = False, False
    assert torch.equal(inside(flow)[0, 0], wanted)
    assert inside(torch.zeros(2, 2, 3, 3)).all() and inside(torch.zeros(2, 2, 3, 3)).shape == (2, 1, 3, 3)


def test_visible_is_where_flow_and_counter_flow_agree() -> None:
    forward, backward = torch.zeros(1, 2, 12, 16), torch.zeros(1, 2, 12, 16)
    forward[:, 0], backward[:, 0] = 2.0, -2.0
    backward[:, 1, 3, 9] = 0.9  # squared 0.81 > 0.01 (4 + 4.81) + 0.5
    backward[:, 1, 8, 9] = 0.7  # squared 0.49 is not
    wanted = torch.ones(12, 16, dtype=torch.bool)
    wanted[:, -2:] = False  # leaves the picture
    wanted[3, 7] = False
    assert torch.equal(visible(forward, backward)[0, 0], wanted)
    edged = forward.clone()
    edged[:, 1, 6:] = 0.5  # a step of 0.25 on both sides: squared 0.0625 > 0.01 * 4.25 + 0.002
    found = visible(edged, -edged)
    assert not found[0, 0, 5:7].any() and found[0, 0, 7:-1, :-2].all() and found[0, 0, :5, :-2].all()


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 1)])
def test_lines_and_dots_are_visible(size: tuple[int, int]) -> None:
    assert visible(torch.zeros(2, 2, *size), torch.zeros(2, 2, *size)).all()
