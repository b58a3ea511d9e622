"""The yardsticks, in float64 and pure numpy. 8-bit arrays are widened before any subtraction: wrapped differences spoiled published tables.

Shapes: a picture is ``[H, W, 3]`` (any leading shape does), RGB uint8 in 0..255 or float in 0..1, sRGB-encoded; Lab is CIE L*a*b*, D65,
L* in 0..100. Both arguments of a comparison have one shape.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[Any]
Lab = NDArray[np.float64]

PEAK = 255.0
#: frame distances of the colour distribution consistency index (TCVC)
CDC_STEPS = (1, 2, 4)
#: lines through the a*b* plane, evenly over half a turn, that the chroma distance looks along
DIRECTIONS = 16
#: width of its bins and how far they go, L*a*b* units: no colour of sRGB lies further than 134 from gray
_BIN, _REACH = 0.5, 140.0

#: linear R'G'B' to XYZ and the D65 white of scikit-image and OpenCV, so that numbers agree with theirs
_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
_WHITE = np.array([0.95047, 1.0, 1.08883])
#: a pixel takes some thirty temporaries in CIEDE2000: in blocks they stay in cache, and a 4K frame in memory
_BLOCK = 1 << 16


def _linear(encoded: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(encoded > 0.04045, ((encoded + 0.055) / 1.055) ** 2.4, encoded / 12.92)


_LINEAR = _linear(np.arange(256) / 255.0)


def rgb_to_lab(rgb: Picture) -> Lab:
    """CIE L*a*b* (D65, 2 degrees) of sRGB pictures ``[..., 3]``: uint8, or float in 0..1."""
    linear = _LINEAR[rgb] if rgb.dtype == np.uint8 else _linear(rgb.astype(np.float64))
    t = linear @ (_XYZ / _WHITE[:, None]).T
    f = np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    lab: Lab = np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
    return lab


def psnr_lab(a: Lab, b: Lab) -> float:
    """PSNR in dB of two Lab pictures: peak 255, L* scaled by 255/100, a* and b* as they are, mean over pixels and channels.

    ``inf`` for equal pictures.
    """
    return _psnr((a - b) * np.array([PEAK / 100, 1.0, 1.0]))


def psnr_rgb(a: Picture, b: Picture) -> float:
    """PSNR in dB of two RGB pictures in 8-bit codes, peak 255. ``inf`` for equal pictures."""
    return _psnr(_codes(a) - _codes(b))


def _psnr(difference: NDArray[np.float64]) -> float:
    error = float(np.mean(difference**2))
    return float(10 * np.log10(PEAK**2 / error)) if error else float("inf")


def l2_ab(a: Lab, b: Lab) -> float:
    """Mean over pixels of the distance in the a*b* plane."""
    return float(np.hypot(a[..., 1] - b[..., 1], a[..., 2] - b[..., 2]).mean())


def delta_e2000(a: Lab, b: Lab) -> float:
    """Mean over pixels of the CIEDE2000 colour difference (CIE 142-2001, kL = kC = kH = 1)."""
    first, second = a.reshape(-1, 3), b.reshape(-1, 3)
    total = sum(_ciede2000(first[k : k + _BLOCK], second[k : k + _BLOCK]).sum() for k in range(0, len(first), _BLOCK))
    return float(total / len(first))


def _ciede2000(one: Lab, two: Lab) -> NDArray[np.float64]:
    """CIEDE2000 of each pair ``[P, 3]``, after Sharma, Wu and Dalal (2005), with their cases for colourless pixels."""
    (l1, a1, b1), (l2, a2, b2) = one.T, two.T
    mean_c7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    stretch = 1.5 - 0.5 * np.sqrt(mean_c7 / (mean_c7 + 25.0**7))
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360

    coloured = c1 * c2 > 0
    turn, total = h2 - h1, h1 + h2
    around = np.abs(turn) > 180
    step = np.where(coloured, turn - np.where(around, np.sign(turn) * 360, 0), 0)
    hue = np.where(coloured, (total + np.where(around, np.where(total < 360, 360, -360), 0)) / 2, total)

    d_l, d_c = l2 - l1, c2 - c1
    d_h = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(step) / 2)
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    angle = np.radians(hue)
    t = 1 - 0.17 * np.cos(angle - np.pi / 6) + 0.24 * np.cos(2 * angle)
    t = t + 0.32 * np.cos(3 * angle + np.pi / 30) - 0.2 * np.cos(4 * angle - np.radians(63))
    s_l = 1 + 0.015 * (mean_l - 50) ** 2 / np.sqrt(20 + (mean_l - 50) ** 2)
    s_c, s_h = 1 + 0.045 * mean_c, 1 + 0.015 * mean_c * t
    c7 = mean_c**7
    rotation = -2 * np.sqrt(c7 / (c7 + 25.0**7)) * np.sin(np.radians(60) * np.exp(-(((hue - 275) / 25) ** 2)))
    l_term, c_term, h_term = d_l / s_l, d_c / s_c, d_h / s_h
    squared: NDArray[np.float64] = l_term**2 + c_term**2 + h_term**2 + rotation * c_term * h_term
    return np.sqrt(np.maximum(squared, 0))


def colourfulness(rgb: Picture) -> float:
    """Hasler and Suesstrunk's index of one RGB picture in 8-bit codes, from the signed opponents R - G and (R + G) / 2 - B."""
    codes = _codes(rgb)
    r, g, b = codes[..., 0], codes[..., 1], codes[..., 2]
    rg, yb = r - g, (r + g) / 2 - b
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))


def chroma_profile(lab: Lab) -> NDArray[np.float64]:
    """How the colours of a Lab picture ``[..., 3]`` lie in the a*b* plane, for :func:`chroma_distance`: float64 ``[DIRECTIONS, bins]``.

    Row d is the cumulative share of pixels along direction d, in bins of half a unit, the middle one around gray.
    """
    ab = lab[..., 1:].reshape(-1, 2)
    middle = round(_REACH / _BIN)
    angles = np.arange(DIRECTIONS) * (np.pi / DIRECTIONS)
    along = np.rint(np.stack([np.cos(angles), np.sin(angles)]).T @ ab.T / _BIN).astype(np.int64) + middle
    counts = np.stack([np.bincount(line, minlength=2 * middle + 1) for line in along])
    return np.cumsum(counts, axis=1) / len(ab)


def chroma_distance(one: NDArray[np.float64], two: NDArray[np.float64]) -> float:
    """Distance between the colour distributions of two pictures, of any sizes, from each one's :func:`chroma_profile`; in L*a*b* units.

    The sliced Wasserstein distance in the a*b* plane: the one-dimensional Wasserstein-1 distance of both pictures' colours projected onto
    a direction, averaged over DIRECTIONS of them, times pi/2. That factor makes it readable: turning every colour of a picture by one
    vector costs that vector's length, and the distance of any picture to gray is its mean chroma. Unlike the Jensen-Shannon divergence it
    needs no smoothing, and says by how much colours are off, not only that they fell into another bin; unlike the distances of a* and b*
    alone it tells red and green grass from yellow and blue. Where things stand in the picture plays no part.
    """
    return float(np.abs(one - two).sum(axis=1).mean() * _BIN * np.pi / 2)


def histograms(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Share of the pixels on each of the 256 codes, for each channel of a uint8 picture ``[H, W, 3]``: ``[3, 256]``, rows sum to 1."""
    counts = np.stack([np.bincount(rgb[..., c].ravel(), minlength=256) for c in range(3)])
    return counts / (rgb.size // 3)


def cdc(frames: Iterable[NDArray[np.uint8]]) -> float:
    """Colour distribution consistency (TCVC) of consecutive uint8 RGB pictures: how much the colour histograms of frames 1, 2 and 4 apart
    differ. Lower is steadier, but gray is steadiest: read it beside colourfulness and the true film's own value.

    Raises:
        ValueError: fewer than two frames.
    """
    return cdc_of_histograms([histograms(frame) for frame in frames])


def cdc_of_histograms(sequence: Sequence[NDArray[np.float64]]) -> float:
    """:func:`cdc` from each frame's :func:`histograms`. A film too short for a distance is measured over the others.

    Raises:
        ValueError: fewer than two frames.
    """
    if len(sequence) < 2:
        raise ValueError(f"consistency needs two frames or more, not {len(sequence)}")
    stack = np.stack(sequence)
    return float(np.mean([_jensen_shannon(stack[:-t], stack[t:]).mean() for t in CDC_STEPS if t < len(stack)]))


def _jensen_shannon(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Jensen-Shannon divergence over the last axis, natural logarithm."""
    middle = (p + q) / 2

    def divergence(x: NDArray[np.float64]) -> NDArray[np.float64]:
        ratio = np.divide(x, middle, out=np.ones_like(x), where=x > 0)
        return np.asarray((x * np.log(ratio)).sum(axis=-1))

    return (divergence(p) + divergence(q)) / 2


def _codes(rgb: Picture) -> NDArray[np.float64]:
    return rgb.astype(np.float64) * (1.0 if rgb.dtype == np.uint8 else 255.0)
