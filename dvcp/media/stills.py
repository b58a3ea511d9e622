"""Painted stills in, pictures out, and the road from a still to a reference on the film's own grid."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
from numpy.typing import NDArray

from dvcp.colour import (
    ColourSpec,
    chroma_to_unit,
    luma_to_unit,
    rgb_to_ycbcr,
    subsample_chroma,
    unit_to_luma,
    upsample_chroma,
    ycbcr_to_rgb,
)
from dvcp.errors import MediaError, ReferenceError
from dvcp.media.picture import png_of
from dvcp.media.picturefile import decode_picture
from dvcp.media.probe import VideoInfo
from dvcp.media.source import is_url, open_bytes
from dvcp.methods.base import Reference, Samples

#: largest spread between R, G and B that still counts as gray: JPEG of a gray picture strays by one code
GRAY_SPREAD = 1.5 / 255
#: relative difference of aspect up to which a picture is scaled to the frame instead of padded
SAME_ASPECT = 0.01
#: more than any picture of the pixels that are read takes
MOST_BYTES = 2 << 30


@dataclass(frozen=True, eq=False)
class Still:
    """A picture: ``rgb`` float32 ``[H, W, 3]`` in [0, 1], sRGB-encoded; ``gray`` when it has no colour at all; sha256 of its file;
    what a person should know of how it was read, one line each."""

    rgb: NDArray[np.float32]
    gray: bool
    digest: str
    path: str
    warnings: tuple[str, ...] = ()


def read_still(url: str, most: int | None = None) -> Still:
    """Read PNG, TIFF (8 or 16 bits), JPEG, WebP, GIF or BMP from a local path or URL, as :func:`decode_picture` does.

    Args:
        most: make a bigger picture as small as about so many pixels: enough to know what it shows, and a photograph of 12 million pixels
            takes a tenth of a second and 50 MB instead of seconds and a gigabyte.

    Raises:
        ReferenceError: missing, empty, too large, damaged, or not a picture.
    """
    try:
        with open_bytes(url) as file:
            if file.seek(0, os.SEEK_END) > MOST_BYTES:
                raise MediaError("is too large for a picture", file=url, hint="is it a film?")
            file.seek(0)
            data = file.read()
    except MediaError as error:
        raise ReferenceError(error.message, file=url, hint=error.hint) from error
    except OSError as error:
        raise ReferenceError("cannot be read", file=url, hint="check disk or network, then run again") from error
    picture, warnings = decode_picture(data, url, most)
    top = np.float32(np.iinfo(picture.dtype).max)
    gray = bool(np.ptp(picture, axis=-1).max() <= GRAY_SPREAD * top)
    return Still(picture.astype(np.float32) / top, gray, hashlib.sha256(data).hexdigest(), url, warnings)


def write_still(path: str, picture: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    """Write a PNG: ``picture`` is RGB ``[H, W, 3]`` or gray ``[H, W]``, uint8 or uint16 (full 16-bit scale); path or URL."""
    data = png_of(picture)
    if is_url(path):
        filesystem, inner = fsspec.core.url_to_fs(path)
        filesystem.pipe_file(inner, data)
    else:
        Path(path).write_bytes(data)


def fit_still(still: Still, height: int, width: int) -> tuple[NDArray[np.float32], str | None]:
    """The still's RGB on a ``height`` x ``width`` grid, float32 ``[H, W, 3]``, and a warning when it had to be fitted.

    A picture of the same aspect (within 1 %) is resampled; any other is scaled to fit inside and its edges repeated outward.
    Stills exported by dvcp have the film's storage size, so sample aspect plays no part.
    """
    h, w = still.rgb.shape[:2]
    if (h, w) == (height, width):
        return still.rgb, None
    size = f"{still.path}: {w}x{h} picture"
    if abs(w * height / (h * width) - 1) <= SAME_ASPECT:
        return _resize(still.rgb, height, width), f"{size} scaled to {width}x{height}"
    scale = min(height / h, width / w)
    inner_height, inner_width = max(1, min(height, round(h * scale))), max(1, min(width, round(w * scale)))
    inner = _resize(still.rgb, inner_height, inner_width)
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    margins = ((top, height - inner_height - top), (left, width - inner_width - left), (0, 0))
    return np.pad(inner, margins, mode="edge"), f"{size} has another aspect than {width}x{height}: fitted inside, edges repeated"


def reference_from_still(still: Still, info: VideoInfo, luma: Samples | None, fields: bool = False) -> tuple[Reference, list[str]]:
    """A still as a reference of a film.

    Args:
        still: the picture, any size.
        info: the film.
        luma: the film's own frame that was painted, native samples ``[H, W]``, or None for a picture from elsewhere.
        fields: its shot is woven of two fields, so that every line of chroma belongs to one of them.

    Returns:
        The reference (``in_shot`` when luma is given) and warnings, one line each.
    """
    rgb, warning = fit_still(still, info.height, info.width)
    warnings = [*still.warnings, *([warning] if warning else [])]
    if still.gray:
        warnings.append(f"{still.path}: the picture has no colour")
    ycc = rgb_to_ycbcr(rgb, info.colour.matrix)
    chroma = subsample_chroma(np.moveaxis(ycc[..., 1:], -1, 0).astype(np.float32), info.colour, fields)
    own = unit_to_luma(ycc[..., 0], info.colour) if luma is None else luma
    return Reference(luma=own, chroma=chroma, in_shot=luma is not None, digest=still.digest), warnings


def frame_to_rgb(luma: Samples, chroma: NDArray[Any], colour: ColourSpec) -> NDArray[np.uint8]:
    """One frame for looking at: uint8 ``[H, W, 3]`` from native luma ``[H, W]`` and chroma ``[2, Hc, Wc]``, native or float in
    [-0.5, 0.5]."""
    return np.rint(_unit_rgb(luma, chroma, colour) * 255).astype(np.uint8)


def frame_to_still(luma: Samples, chroma: NDArray[Any], colour: ColourSpec) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """As :func:`frame_to_rgb`, for a person to paint on: uint16 over the full scale where the film has more than 8 bits."""
    if colour.depth == 8:
        return frame_to_rgb(luma, chroma, colour)
    return np.rint(_unit_rgb(luma, chroma, colour).astype(np.float64) * 65535).astype(np.uint16)


def _unit_rgb(luma: Samples, chroma: NDArray[Any], colour: ColourSpec) -> NDArray[np.float32]:
    unit = chroma if chroma.dtype.kind == "f" else chroma_to_unit(chroma, colour)
    full = upsample_chroma(unit.astype(np.float32), luma.shape[0], luma.shape[1], colour)
    rgb = ycbcr_to_rgb(np.stack([luma_to_unit(luma, colour), full[0], full[1]], axis=-1), colour.matrix)
    clipped: NDArray[np.float32] = np.clip(rgb, 0, 1).astype(np.float32)
    return clipped


def _resize(rgb: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    import torch  # here: it takes a second to load, and most users of this module never resize

    planes = torch.from_numpy(np.ascontiguousarray(np.moveaxis(rgb, -1, 0)))[None]
    resized = torch.nn.functional.interpolate(planes, size=(height, width), mode="bicubic", antialias=True, align_corners=False)
    out: NDArray[np.float32] = np.ascontiguousarray(np.moveaxis(resized[0].clamp(0, 1).numpy(), 0, -1))
    return out
