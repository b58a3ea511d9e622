"""A picture file of any make as upright sRGB samples: what it hides, what it lacks and what would burst memory is said or refused."""

from __future__ import annotations

import io
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from dvcp.errors import DvcpError, ReferenceError
from dvcp.media.pixels import packed_view

#: Pillow's names; others have readers that few test, and no colourist saves them
FORMATS = ("PNG", "TIFF", "JPEG", "WEBP", "GIF", "BMP")
HINT = "save it again as PNG, TIFF, JPEG or WebP"
#: FFmpeg's formats of more than 8 bits, without their byte order, and how many samples a pixel has
DEEP = {"gray16": 1, "ya16": 2, "rgb48": 3, "rgba64": 4}
#: the same of those that keep each channel in a plane of its own: where R, G, B (and alpha) lie
PLANAR = {"gbrp16": (2, 0, 1), "gbrap16": (2, 0, 1, 3)}
#: codes by which a profile may differ from sRGB and still be called it: makers round the same curve differently
SAME_PROFILE = 2
#: EXIF orientations (1 to 8) that exchange rows and columns, and those that then mirror
TURNED, MIRRORED, UPSIDE_DOWN = (5, 6, 7, 8), (2, 3, 6, 7), (3, 4, 7, 8)
#: tags of TIFF and EXIF
BITS, EXTRA_SAMPLES, SAMPLE_FORMAT, ORIENTATION = 258, 338, 339, 274
PREMULTIPLIED = 1

Pixels = NDArray[Any]  # uint8 or uint16


def decode_picture(data: bytes, url: str, most: int | None = None) -> tuple[Pixels, tuple[str, ...]]:
    """Decode PNG, TIFF, JPEG, WebP, GIF or BMP of 1 to 16 bits, gray, palette, RGB or CMYK.

    Rotation in EXIF is carried out. A colour profile is applied. What is transparent becomes gray as far as it is transparent: colours
    under it were never seen by who painted it. Of several pictures in a file the first is taken.

    Args:
        data: the file.
        url: its name, for messages.
        most: a bigger picture is made about so many pixels small.

    Returns:
        sRGB samples ``[H, W, 3]``, uint8, or uint16 (full scale) for files of more than 8 bits; and warnings, one line each.

    Raises:
        ReferenceError: not a picture, damaged, cut off, floating point, or of more pixels than Pillow's limit (179 million); no memory is
            taken for the pixels of those.
    """
    warnings: list[str] = []
    try:
        _verify(data)
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            picture = _decode(image, data, url, most, warnings)
    except DvcpError:
        raise
    except Image.DecompressionBombError as error:
        hint = "make it smaller: more pixels than the film has give it nothing"
        raise ReferenceError("has too many pixels to be read", file=url, hint=hint) from error
    except UnidentifiedImageError as error:
        raise ReferenceError("cannot be read as a picture", file=url, hint=HINT) from error
    except Exception as error:  # Pillow's readers raise whatever a damaged file makes them stumble over
        line = next(iter(str(getattr(error, "strerror", None) or error).splitlines()), "") or type(error).__name__
        raise ReferenceError(f"cannot be read as a picture: {line}", file=url, hint=HINT) from error
    return picture, tuple(f"{url}: {warning}" for warning in warnings)


def _verify(data: bytes) -> None:
    # Pillow and FFmpeg pass over a wrong checksum of pixels, and with it over half a picture.
    if data.startswith(b"\x89PNG"):
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            image.verify()


def _decode(image: Image.Image, data: bytes, url: str, most: int | None, warnings: list[str]) -> Pixels:
    if image.format != "MPO" and getattr(image, "is_animated", False):
        warnings.append("holds several pictures, an animation or pages: the first is used")
    deep = _deep(image, data, url)
    profile = _profile(image, warnings)
    if deep and profile is not None:
        warnings.append("read with 8 bits, to apply its colour profile; save it as sRGB to keep its depth")
        deep = False
    if deep:
        pixels = _deep_pixels(image, data, url)
        return _smaller(_on_gray(pixels, warnings), most)
    return _shallow_pixels(image, profile, most, warnings)


def _deep(image: Image.Image, data: bytes, url: str) -> bool:
    """Whether the file has more than 8 bits, of which Pillow would drop the lower ones."""
    if image.format == "PNG":
        return data[24] > 8
    if image.format != "TIFF":
        return False
    tags: Any = getattr(image, "tag_v2", {})
    bits = max(tags.get(BITS, (1,)))
    if bits > 16 or set(tags.get(SAMPLE_FORMAT, (1,))) != {1}:
        raise ReferenceError(f"holds samples of {bits} bits or in floating point", file=url, hint="save it with 8 or 16 bits a channel")
    return bool(bits > 8)


def _profile(image: Image.Image, warnings: list[str]) -> ImageCms.ImageCmsProfile | None:
    """The profile by which the picture's colours must be changed; None for sRGB, for gray, and for one that cannot be used."""
    data = image.info.get("icc_profile")
    mode = "CMYK" if image.mode == "CMYK" else "RGB"
    if not data or image.mode in ("1", "L", "LA", "I;16", "I;16B"):
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        codes = np.linspace(0, 255, 6).astype(np.uint8)
        grid = np.stack(np.meshgrid(*[codes] * len(mode)), axis=-1).reshape(6, -1, len(mode))
        seen = np.asarray(_to_srgb(Image.fromarray(grid, mode), profile))
    except (ImageCms.PyCMSError, OSError, ValueError):
        warnings.append("its colour profile cannot be used and is left out")
        return None
    if mode == "RGB" and np.abs(seen.astype(int) - grid).max() <= SAME_PROFILE:
        return None
    return profile


def _to_srgb(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None  # it is only when converting in place
    return converted


def _deep_pixels(image: Image.Image, data: bytes, url: str) -> Pixels:
    """16-bit samples ``[H, W, 1 to 4]`` as FFmpeg reads them, alpha not multiplied in, upright."""
    decoder: Any = av.CodecContext.create("png" if image.format == "PNG" else "tiff", "r")
    if image.format == "PNG":  # of TIFF it would refuse sound files
        decoder.options = {"err_detect": "explode"}
    tags: Any = getattr(image, "tag_v2", {})
    orientation = image.getexif().get(ORIENTATION, 1)
    frames: list[VideoFrame] = [*decoder.decode(av.Packet(data)), *decoder.decode(None)]
    pixels = _samples(frames[0]) if frames and not frames[0].is_corrupt else None
    if pixels is None:
        raise ReferenceError("cannot be read as a picture", file=url, hint=HINT)
    if pixels.shape[-1] in (2, 4) and PREMULTIPLIED in tags.get(EXTRA_SAMPLES, ()):
        alpha = np.maximum(pixels[..., -1:], 1).astype(np.float64)
        pixels[..., :-1] = np.rint(np.minimum(pixels[..., :-1] / alpha, 1) * 65535)
    if orientation in TURNED:
        pixels = pixels.swapaxes(0, 1)
    upright: Pixels = pixels[:: -1 if orientation in UPSIDE_DOWN else 1, :: -1 if orientation in MIRRORED else 1]
    return upright


def _samples(frame: VideoFrame) -> Pixels | None:
    """16-bit samples ``[H, W, channels]``; None for a format that no picture of those has that we asked for."""
    name, dtype = frame.format.name[:-2], np.dtype(">u2" if frame.format.is_big_endian else "<u2")
    if places := PLANAR.get(name):
        return np.stack([packed_view(frame, k, dtype)[:, : frame.width] for k in places], axis=-1).astype(np.uint16)
    if channels := DEEP.get(name):
        rows = packed_view(frame, 0, dtype)[:, : frame.width * channels].astype(np.uint16)
        return rows.reshape(frame.height, frame.width, channels)
    return None


def _shallow_pixels(image: Image.Image, profile: ImageCms.ImageCmsProfile | None, most: int | None, warnings: list[str]) -> Pixels:
    """8-bit samples ``[H, W, 3]``, upright, small, on gray, sRGB."""
    size = _small_size(image.size, most)
    image.draft(None, size)  # JPEG only: a decoder that skips what a small picture does not show is five times as fast
    image = ImageOps.exif_transpose(image)
    size = _small_size(image.size, most)
    if image.has_transparency_data:
        image = image.convert("RGBA")
    elif image.mode not in ("RGB", "CMYK", "L"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    if size != image.size:
        image = image.resize(size, Image.Resampling.BOX)
    if image.mode == "CMYK" and profile is None:
        warnings.append("is CMYK without a colour profile: its colours are approximate; save it as sRGB")
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    image = image.convert("RGB") if profile is None or image.mode == "RGBA" else image
    pixels = np.asarray(image if profile is None else _to_srgb(image, profile))
    return pixels if alpha is None else _on_gray(np.dstack([pixels, np.asarray(alpha)]), warnings)


def _on_gray(pixels: Pixels, warnings: list[str]) -> Pixels:
    """``[H, W, 1 to 4]`` (gray, gray + alpha, RGB, RGBA) as RGB ``[H, W, 3]``, over middle gray where it is transparent."""
    top = np.iinfo(pixels.dtype).max
    channels = pixels.shape[-1]
    colours, alpha = (pixels[..., :-1], pixels[..., -1:]) if channels in (2, 4) else (pixels, None)
    if alpha is not None and int(alpha.min()) < top:
        share = round(100 * float((alpha < top).mean()))
        warnings.append(f"is transparent in {max(1, share)} % of it: that is taken as unpainted, without colour")
        cover = alpha / np.float32(top)
        colours = np.rint(colours * cover + np.float32(top / 2) * (1 - cover)).astype(pixels.dtype)
    return np.ascontiguousarray(np.broadcast_to(colours, (*pixels.shape[:2], 3)))


def _small_size(size: tuple[int, int], most: int | None) -> tuple[int, int]:
    """Width and height of a picture of ``size`` with about ``most`` pixels, never more than it has."""
    scale = 1.0 if most is None else min(1.0, (most / (size[0] * size[1])) ** 0.5)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _smaller(pixels: Pixels, most: int | None) -> Pixels:
    size = _small_size((pixels.shape[1], pixels.shape[0]), most)
    if size == (pixels.shape[1], pixels.shape[0]):
        return pixels
    import cv2  # here: most pictures have 8 bits

    small: Pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return small
