from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from dvcp.methods.carry import Track


def drift(count: int, step: int = 3, height: int = 96, width: int = 128) -> tuple[NDArray[np.uint8], torch.Tensor]:
    """A texture that moves right by ``step`` pixels a frame: gray ``[T, h, w]``, and Y', Cb, Cr of half the size ``[T, 3, h/2, w/2]``."""
    wide = gaussian_filter(np.random.default_rng(0).random((height, width + step * count)), 3)
    wide = (wide - wide.min()) / (wide.max() - wide.min())
    luma = np.stack([wide[:, step * (count - k) :][:, :width] for k in range(count)])
    gray = np.rint(luma * 255).astype(np.uint8)
    half = torch.from_numpy(gray.reshape(count, height // 2, 2, width // 2, 2).mean((2, 4))).float() / 255
    return gray, torch.stack([half, half - 0.5, 0.5 - half], 1)


def follow(track: Track, gray: NDArray[np.uint8], truth: torch.Tensor) -> list[torch.Tensor]:
    """Errors (warped, anchored) of each frame, with the local branch's own colours fed back."""
    errors = []
    for k in range(1, len(gray)):
        carried = track.step(gray[k])
        inside = (slice(None), slice(6, -6), slice(2 * k + 6, -6))
        errors.append(torch.stack([(p - truth[k])[inside][1:].abs().mean() for p in (carried.warped, carried.anchored)]))
        track = track.follow(carried, torch.cat([truth[k, :1], carried.warped[1:]]), gray[k])
    return errors


def test_colours_follow_what_moves_and_what_is_anchored_does_not_blur() -> None:
    gray, truth = drift(9)
    errors = follow(Track.begin(truth[0], gray[0]), gray, truth)
    assert max(float(e.max()) for e in errors) < 0.03
    still = (truth[8] - truth[0])[:, 6:-6, 22:-6].abs().mean()
    assert float(errors[-1][1]) < 0.15 * float(still)
    assert float(errors[-1][1]) < float(errors[-1][0]), "eight warps blur, one does not"


def test_trust_falls_where_something_new_appears_and_stays_fallen() -> None:
    gray, truth = drift(4, step=0)
    gray = gray.copy()
    rng = np.random.default_rng(5)
    for k in (1, 2, 3):
        gray[k, 30:60, 40:80] = rng.integers(0, 256, (30, 40))
    track = Track.begin(truth[0], gray[0])
    for k in (1, 2, 3):
        carried = track.step(gray[k])
        track = track.follow(carried, torch.cat([carried.warped]), gray[k])
    hidden, seen = carried.trust[0, 17:28, 22:38].mean(), carried.trust[0, :, 50:].mean()
    assert float(seen) > 0.9 and float(hidden) < 0.3 * float(seen)


def test_the_state_returns_as_it_was() -> None:
    gray, truth = drift(3)
    track = Track.begin(truth[0], gray[0])
    carried = track.step(gray[1])
    track = track.follow(carried, truth[1], gray[1])
    again = Track.of(track.state(), torch.device("cpu"))
    for a, b in zip(vars(track.step(gray[2])).values(), vars(again.step(gray[2])).values(), strict=True):
        assert torch.equal(a, b)
