"""Clips made of numbers, for the training tests."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from dvcp.training.clips import Clip


def drifting_clip(name: str = "drift", count: int = 6, height: int = 48, width: int = 64, step: int = 1, seed: int = 0) -> Clip:
    """Soft random colour that moves right by ``step`` pixels a frame."""
    rng = np.random.default_rng(seed)
    wide = gaussian_filter(rng.random((3, height, width + step * count)), (0, 2, 2))
    low, high = wide.min((1, 2), keepdims=True), wide.max((1, 2), keepdims=True)
    codes = (30 + 195 * (wide - low) / (high - low)).astype(np.uint8)
    return Clip(name, f"{name}.mp4", np.stack([codes[..., step * (count - k) :][..., :width] for k in range(count)]))
