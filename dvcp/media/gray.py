"""One luma plane of a scanned picture: its own samples where it has but one value a pixel, else computed when asked for."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvcp.colour import COEFFICIENTS
from dvcp.errors import MediaError
from dvcp.media.picture import SourcePicture
from dvcp.methods.base import Samples


class Luma(StrEnum):
    """How luma is computed from channels that differ: the weights of a Y'CbCr matrix, or the green channel alone."""

    BT709 = "bt709"
    BT601 = "bt601"
    BT2020 = "bt2020"
    GREEN = "green"


class Origin(StrEnum):
    """Where the luma of a picture comes from: its only channel, any of three equal ones, or arithmetic."""

    GRAY = "gray"
    EQUAL = "equal"
    COMPUTED = "computed"


def gray_of(picture: SourcePicture, luma: Luma | None) -> tuple[Samples, Origin]:
    """Samples ``[H, W]`` of the picture's depth and type.

    Gray and R = G = B are taken bit for bit, whatever ``luma`` says. Otherwise Y' = Kr R' + Kg G' + Kb B' in float64, rounded to nearest,
    halves to even, at the same depth; or G'.

    Raises:
        MediaError: the channels differ and ``luma`` is None.
    """
    samples: NDArray[Any] = picture.samples
    if samples.ndim == 2:
        return picture.samples, Origin.GRAY
    green: Samples = np.ascontiguousarray(samples[..., 1])
    unequal = (samples != green[..., None]).any(axis=-1)
    if not unequal.any():
        return green, Origin.EQUAL
    if luma is None:
        spread = int((samples.max(axis=-1).astype(np.int32) - samples.min(axis=-1)).max())
        message = f"R, G and B differ by up to {spread} codes of {(1 << picture.depth) - 1}, in {unequal.mean():.1%} of the pixels"
        hint = "its luma cannot be kept as it is; --luma bt709, bt601, bt2020 or green computes one"
        raise MediaError(message, file=picture.url, hint=hint)
    if luma is Luma.GREEN:
        return green, Origin.COMPUTED
    kr, kb = COEFFICIENTS[luma.value]
    y = kr * samples[..., 0].astype(np.float64) + (1 - kr - kb) * samples[..., 1] + kb * samples[..., 2]
    computed: Samples = np.rint(y).astype(samples.dtype)
    return computed, Origin.COMPUTED
