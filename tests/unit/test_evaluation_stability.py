from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates
from skimage.color import rgb2lab

from dvcp.evaluation.stability import Motion, Steadiness, motions, steadiness, warp


def moving(count: int, step: int, height: int = 64, width: int = 96) -> NDArray[np.uint8]:
    """A textured RGB picture that moves right by ``step`` pixels a frame, ``[T, H, W, 3]``."""
    wide = gaussian_filter(np.random.default_rng(0).random((height, width + step * count, 3)), (3, 3, 0))
    wide = 255 * (wide - wide.min()) / (wide.max() - wide.min())
    return np.stack([wide[:, step * (count - k) :][:, :width] for k in range(count)]).astype(np.uint8)


def test_warping_agrees_with_scipy() -> None:
    rng = np.random.default_rng(1)
    picture, flow = rng.random((20, 30, 3)).astype(np.float32), rng.uniform(-6, 6, (20, 30, 2)).astype(np.float32)
    y, x = np.mgrid[:20, :30]
    for c in range(3):
        wanted = map_coordinates(picture[..., c], [y + flow[..., 1], x + flow[..., 0]], order=1, mode="nearest")
        np.testing.assert_allclose(warp(picture, flow)[..., c], wanted, atol=0.04)  # OpenCV places samples to 1/32 pixel


def test_a_still_film_has_no_error_and_is_wholly_visible() -> None:
    frames = np.repeat(moving(1, 0), 3, 0)
    steps = motions(frames[..., 1])
    assert len(steps) == 2 and all(s.visible.all() and np.allclose(s.likeness, 1) for s in steps)
    assert steadiness(frames, steps) == Steadiness(0, 0, 0)


def test_colour_that_moves_along_is_steady_and_colour_that_flickers_is_not() -> None:
    frames = moving(5, 3)
    steps = motions(frames.mean(-1).astype(np.uint8))
    steady = steadiness(frames, steps)
    assert steady.warp_error < 2e-4 and steady.warp_error_soft < 2e-4 and steady.flicker < 1.5
    flicker = frames.astype(int)
    flicker[::2, ..., 0] += 20
    shaken = steadiness(flicker.clip(0, 255).astype(np.uint8), steps)
    # 20 of 255 in one of three channels, in every pair
    assert shaken.warp_error == pytest.approx((20 / 255) ** 2 / 3, rel=0.1)
    assert shaken.warp_error_soft == pytest.approx(shaken.warp_error, rel=0.1)
    assert shaken.flicker > 4 * steady.flicker


def test_flicker_is_the_distance_in_the_ab_plane_over_visible_pixels() -> None:
    """Against scikit-image and scipy, for motion that is known: everything moves, only the left half is visible in both frames."""
    rng = np.random.default_rng(5)
    frames = rng.integers(0, 256, (3, 20, 30, 3)).astype(np.uint8)
    flow = np.zeros((20, 30, 2), np.float32)
    flow[...] = (2, -1)
    seen = np.zeros((20, 30), bool)
    seen[:, :15] = True
    steps = [Motion(flow, seen, np.ones((20, 30), np.float32))] * 2
    y, x = np.mgrid[:20, :30]
    ab = rgb2lab(frames)[..., 1:]
    wanted = []
    for here, then in pairwise(ab):
        back = np.stack([map_coordinates(then[..., c], [y - 1, x + 2], order=1, mode="nearest") for c in (0, 1)], -1)
        wanted.append(np.hypot(*np.moveaxis(back - here, -1, 0))[:, :15].mean())
    assert steadiness(frames, steps).flicker == pytest.approx(np.mean(wanted), rel=1e-5)


def test_flicker_knows_nothing_of_light() -> None:
    """Gray frames of other brightness: much warp error, no flicker."""
    frames = np.stack([np.full((16, 24, 3), code, np.uint8) for code in (40, 200)])
    steady = steadiness(frames, [Motion(np.zeros((16, 24, 2), np.float32), np.ones((16, 24), bool), np.ones((16, 24), np.float32))])
    assert steady.warp_error == pytest.approx((160 / 255) ** 2, rel=1e-5) and steady.flicker < 0.01


def test_what_is_covered_does_not_count() -> None:
    frames = np.repeat(moving(1, 0), 2, 0)
    frames[1, 20:40, 30:60] = np.random.default_rng(3).integers(0, 256, (20, 30, 1))
    [step] = motions(frames.mean(-1).astype(np.uint8))
    assert step.likeness[22:38, 32:58].mean() < 0.5 < step.likeness[:, 70:].mean()
    steady = steadiness(frames, [step])
    plain = float(((frames[0] / 255 - frames[1] / 255) ** 2).mean())
    assert steady.warp_error_soft < 0.2 * plain and steady.warp_error < plain


def test_one_frame_has_no_pairs() -> None:
    with pytest.raises(ValueError, match="two frames"):
        steadiness(moving(1, 0), [])
    with pytest.raises(ValueError):
        steadiness(moving(4, 1), motions(moving(3, 1)[..., 0]))
