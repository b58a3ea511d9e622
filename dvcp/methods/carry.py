"""The local branch led by optical flow: colour carried from frame to frame, and each pixel's place in the reference beside it.

Colour warped again and again blurs and slips off its edges. So the place that every pixel has in the reference is carried too, and put
right in each frame by registering the reference, warped there, on the frame itself: its colour is sampled once, from the painting, however
far away that is. Warped colour survives where the reference is hidden; the fusion chooses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dvcp.ops.flow import dense_flow, half_flow, sample, standing

State = dict[str, NDArray[Any]]
#: how fast trust falls with the luma that a warp does not explain: e-fold at 1/12 of the range
_LUMA = 12.0


@dataclass(frozen=True, eq=False)
class Carried:
    """What the local branch proposes for one frame, on the working grid.

    Attributes:
        warped: float32 ``[3, h, w]``, I^w: Y', Cb, Cr of the frame before, moved along the flow.
        anchored: ``[3, h, w]``, the reference's Y', Cb, Cr at each pixel's place there.
        trust: ``[1, h, w]`` in [0, 1], how surely colour came all the way from the reference; falls at occlusions and stays fallen.
        seen: ``[1, h, w]`` in [0, 1], whether flow and counter-flow agree in this one step.
        age: ``[1, h, w]`` in [0, 1], all of one value, how near the reference is: :func:`age_of` the frames gone by.
        place: ``[2, h, w]``, x and y in the reference.
    """

    warped: Tensor
    anchored: Tensor
    trust: Tensor
    seen: Tensor
    age: Tensor
    place: Tensor


@dataclass(frozen=True, eq=False)
class Track:
    """State after a frame.

    Attributes:
        picture: float32 ``[3, h, w]``, I_{k-1}: Y', Cb, Cr as finally coloured.
        trust: ``[1, h, w]``.
        place: ``[2, h, w]``.
        reference: ``[3, h, w]``.
        gray: uint8 ``[2h, 2w]``, Y' of the frame at twice the working grid, in 255ths.
        steps: frames gone by since the reference.
    """

    picture: Tensor
    trust: Tensor
    place: Tensor
    reference: Tensor
    gray: NDArray[np.uint8]
    steps: int

    @classmethod
    def begin(cls, picture: Tensor, gray: NDArray[np.uint8], sure: float = 1.0, steps: int = 0) -> Track:
        """At a painted frame (or one that stands in for it, with less trust, as if it were ``steps`` frames away)."""
        height, width = picture.shape[-2:]
        place = standing(height, width, picture.device)
        return cls(picture, torch.full_like(picture[:1], sure), place, picture, gray, steps)

    def step(self, gray: NDArray[np.uint8]) -> Carried:
        """What is carried into the next frame, whose Y' is ``gray``, uint8 ``[2h, 2w]``."""
        device, (height, width) = self.picture.device, self.picture.shape[-2:]
        small, small_last = _half(gray), _half(self.gray)
        back = half_flow(gray, self.gray, height, width).to(device)
        forth = torch.from_numpy(dense_flow(small_last, small)).permute(2, 0, 1).to(device)
        here = standing(height, width, device)
        moved = sample(torch.cat([self.picture, self.trust, self.place, forth]), here + back)
        warped, trust, place, forth = moved.split([3, 1, 2, 2])
        luma = torch.from_numpy(small).to(device).float()[None] / 255
        seen = torch.exp(-0.5 * ((forth + back) ** 2).sum(0, keepdim=True))
        trust = trust * seen * torch.exp(-_LUMA * (warped[:1] - luma).abs())
        # Register the reference, brought here by the carried places, on the frame itself: what is left over is drift.
        brought = (sample(self.reference[:1], place)[0] * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
        drift = torch.from_numpy(dense_flow(small, brought)).permute(2, 0, 1).to(device)
        place = sample(place, here + drift)
        age = torch.full_like(trust, age_of(self.steps + 1))
        return Carried(warped, sample(self.reference, place), trust, seen, age, place)

    def follow(self, carried: Carried, picture: Tensor, gray: NDArray[np.uint8]) -> Track:
        """The state after a frame that was finally coloured as ``picture``."""
        return Track(picture, carried.trust, carried.place, self.reference, gray, self.steps + 1)

    def state(self) -> State:
        """As arrays, to be stored between segments."""
        named = {"picture": self.picture, "trust": self.trust, "place": self.place, "reference": self.reference}
        return {name: plane.float().cpu().numpy() for name, plane in named.items()} | {"gray": self.gray, "steps": np.array(self.steps)}

    @classmethod
    def of(cls, state: State, device: torch.device) -> Track:
        """Read :meth:`state` back."""
        picture, trust, place, reference = (
            torch.from_numpy(np.array(state[name])).to(device) for name in ("picture", "trust", "place", "reference")
        )
        return cls(picture, trust, place, reference, np.array(state["gray"]), int(state["steps"]))


def age_of(distance: int) -> float:
    """1 at the reference, 1/e twenty frames away."""
    return math.exp(-distance / 20)


def _half(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = gray.shape[0] // 2, gray.shape[1] // 2
    blocks = gray.reshape(height, 2, width, 2).astype(np.uint16)
    half: NDArray[np.uint8] = ((blocks.sum((1, 3)) + 2) >> 2).astype(np.uint8)
    return half
