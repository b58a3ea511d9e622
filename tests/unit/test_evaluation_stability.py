from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from dvcp.evaluation.stability import motions, warp, warp_errors


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
    assert warp_errors(frames, steps) == (0, 0)


def test_colour_that_moves_along_is_steady_and_colour_that_flickers_is_not() -> None:
    frames = moving(5, 3)
    steps = motions(frames.mean(-1).astype(np.uint8))
    hard, soft = warp_errors(frames, steps)
    assert hard < 2e-4 and soft < 2e-4
    flicker = frames.astype(int)
    flicker[::2, ..., 0] += 20
    shaken = warp_errors(flicker.clip(0, 255).astype(np.uint8), steps)
    # 20 of 255 in one of three channels, in every pair
    assert shaken[0] == pytest.approx((20 / 255) ** 2 / 3, rel=0.1) and shaken[1] == pytest.approx(shaken[0], rel=0.1)


def test_what_is_covered_does_not_count() -> None:
    frames = np.repeat(moving(1, 0), 2, 0)
    frames[1, 20:40, 30:60] = np.random.default_rng(3).integers(0, 256, (20, 30, 1))
    [step] = motions(frames.mean(-1).astype(np.uint8))
    assert step.likeness[22:38, 32:58].mean() < 0.5 < step.likeness[:, 70:].mean()
    hard, soft = warp_errors(frames, [step])
    plain = float(((frames[0] / 255 - frames[1] / 255) ** 2).mean())
    assert soft < 0.2 * plain and hard < plain


def test_one_frame_has_no_pairs() -> None:
    with pytest.raises(ValueError, match="two frames"):
        warp_errors(moving(1, 0), [])
    with pytest.raises(ValueError):
        warp_errors(moving(4, 1), motions(moving(3, 1)[..., 0]))
