"""Painted stills in, pictures out, and the road from a still to a reference on the film's own grid."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import fsspec
import numpy as np
from av.video.frame import VideoFrame
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
from dvcp.media.pixels import layout_of, packed_view, plane_view
from dvcp.media.probe import FULL_RANGE, MATRICES, VideoInfo
from dvcp.media.source import is_url, open_bytes
from dvcp.methods.base import Reference, Samples

#: largest spread between R, G and B that still counts as gray: JPEG of a gray picture strays by one code
GRAY_SPREAD = 1.5 / 255
#: relative difference of aspect up to which a picture is scaled to the frame instead of padded
SAME_ASPECT = 0.01


@dataclass(frozen=True, eq=False)
class Still:
    """A picture: ``rgb`` float32 ``[H, W, 3]`` in [0, 1], sRGB-encoded; ``gray`` when it has no colour at all; sha256 of its file."""

    rgb: NDArray[np.float32]
    gray: bool
    digest: str
    path: str


def read_still(url: str, most: int | None = None) -> Still:
    """Read PNG, TIFF (8 or 16 bits), JPEG or WebP from a local path or URL. Alpha is dropped.

    Args:
        most: make a bigger picture as small as about so many pixels: enough to know what it shows, and a photograph of 12 million pixels
            takes a tenth of a second and 50 MB instead of seconds and a gigabyte.

    Raises:
        ReferenceError: missing, empty, or not a picture.
    """
    hint = "save it again as PNG, TIFF, JPEG or WebP"
    try:
        with open_bytes(url) as file:
            data = file.read()
    except MediaError as error:
        raise ReferenceError(error.message, file=url, hint=error.hint) from error
    try:
        # from memory: a path with a percent sign would be read as the pattern of an image sequence
        with av.open(io.BytesIO(data), "r") as container:
            frame = next(container.decode(video=0))
            rgb = _frame_rgb(frame if most is None else _smaller(frame, most))
    except (av.error.FFmpegError, StopIteration, IndexError, ValueError) as error:
        raise ReferenceError("cannot be read as a picture", file=url, hint=hint) from error
    spread = np.ptp(rgb, axis=-1).max() if rgb.size else 0.0
    return Still(rgb, bool(spread <= GRAY_SPREAD), hashlib.sha256(data).hexdigest(), url)


def write_still(path: str, picture: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    """Write a PNG: ``picture`` is RGB ``[H, W, 3]`` or gray ``[H, W]``, uint8 or uint16 (full 16-bit scale); path or URL."""
    data = png_of(picture)
    if is_url(path):
        filesystem, inner = fsspec.core.url_to_fs(path)
        filesystem.pipe_file(inner, data)
    else:
        Path(path).write_bytes(data)


def png_of(picture: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """The PNG file of ``picture``, as :func:`write_still` writes it."""
    height, width = picture.shape[:2]
    deep, colour = picture.dtype == np.uint16, picture.ndim == 3
    encoder = av.CodecContext.create("png", "w")
    frame = VideoFrame(width, height, ("rgb48be" if deep else "rgb24") if colour else ("gray16be" if deep else "gray"))
    encoder.width, encoder.height, encoder.pix_fmt = width, height, frame.format.name
    encoder.framerate = Fraction(1)
    rows = packed_view(frame, 0, np.dtype(np.uint8))
    samples = np.ascontiguousarray(picture.astype(">u2") if deep else picture)
    rows[:, : samples[0].nbytes] = samples.reshape(height, -1).view(np.uint8)
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


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
    warnings = [warning] if warning else []
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


def _frame_rgb(frame: VideoFrame) -> NDArray[np.float32]:
    """A decoded picture as float32 RGB in [0, 1], without the rounding of an 8-bit conversion."""
    layout = layout_of(frame.format.name.replace("yuva", "yuv"))
    if layout is not None:
        luma = plane_view(frame, 0, layout.depth)
        if layout.gray:
            return np.repeat((luma / np.float32((1 << layout.depth) - 1))[..., None], 3, axis=-1).astype(np.float32)
        chroma = np.stack([plane_view(frame, 1, layout.depth), plane_view(frame, 2, layout.depth)])
        full = layout.jpeg or frame.color_range == FULL_RANGE
        colour = ColourSpec(MATRICES.get(frame.colorspace, "bt601"), full, layout.depth, layout.subsample)
        return _unit_rgb(luma, chroma, colour)
    deep = any(component.bits > 8 for component in frame.format.components)
    converted = frame.reformat(format="rgb48le" if deep else "rgb24")
    rows = packed_view(converted, 0, np.dtype("<u2" if deep else np.uint8))[:, : frame.width * 3]
    rgb: NDArray[np.float32] = rows.reshape(frame.height, frame.width, 3).astype(np.float32) / np.float32(65535 if deep else 255)
    return rgb


def _smaller(frame: VideoFrame, most: int) -> VideoFrame:
    scale = (most / (frame.width * frame.height)) ** 0.5
    if scale >= 1:
        return frame
    # Y'CbCr stays what it is, for its tags to be read later; a palette cannot be scaled as one, and 8 bits are enough for a look.
    kept = frame.format.name if layout_of(frame.format.name.replace("yuva", "yuv")) else "rgb24"
    width, height = (max(1, round(n * scale)) for n in (frame.width, frame.height))
    return frame.reformat(width, height, format=kept, interpolation="AREA")


def _resize(rgb: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    import torch  # here: it takes a second to load, and most users of this module never resize

    planes = torch.from_numpy(np.ascontiguousarray(np.moveaxis(rgb, -1, 0)))[None]
    resized = torch.nn.functional.interpolate(planes, size=(height, width), mode="bicubic", antialias=True, align_corners=False)
    out: NDArray[np.float32] = np.ascontiguousarray(np.moveaxis(resized[0].clamp(0, 1).numpy(), 0, -1))
    return out
