"""Y'CbCr planes to R'G'B' on tensors, for networks that look at pictures in colour."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dvcp.colour import Matrix, ycbcr_to_rgb


def to_rgb(planes: Tensor, matrix: Matrix) -> Tensor:
    """Y' in [0, 1], Cb and Cr centred at 0, ``[B, 3, H, W]``, to R'G'B' clipped to [0, 1]; gradients flow."""
    # The conversion is linear: what it makes of each of the three alone is its matrix.
    rows = torch.from_numpy(ycbcr_to_rgb(np.eye(3, dtype=np.float32), matrix)).to(planes)
    return torch.einsum("bihw,ij->bjhw", planes, rows).clamp(0, 1)
