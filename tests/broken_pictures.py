"""Damaged and odd pictures as references."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image


def colours(height: int = 48, width: int = 64, dtype: type = np.uint8) -> NDArray[Any]:
    """A smooth coloured picture ``[H, W, 3]``."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    rgb = np.stack([x, y, 0.5 + 0.5 * np.sin(7 * x * y)], axis=-1)
    return np.rint(rgb * np.iinfo(dtype).max).astype(dtype)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The file of ``image``."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def tiff(pixels: NDArray[Any], **options: Any) -> bytes:
    """A TIFF with the samples as they are."""
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **({"photometric": "rgb"} | options))
    return file.getvalue()


def png(width: int, height: int, depth: int, kind: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of these chunks after its header."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)), *chunks, (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts)
    return b"\x89PNG\r\n\x1a\n" + body


def with_orientation(orientation: int) -> bytes:
    """EXIF that says how the picture must be turned."""
    exif = Image.Exif()
    exif[274] = orientation
    return exif.tobytes()


def jpeg() -> bytes:
    return saved(Image.fromarray(colours()), "JPEG")


def pictures() -> list[tuple[str, str, Literal["error", "repaired", "works"], bytes]]:
    """(file name, what is odd, what to expect of :func:`dvcp.media.stills.read_still`, bytes); "repaired" is read with a warning."""
    image, zeros = Image.fromarray(colours()), zlib.compress(bytes(20 << 20), 9)
    small = (b"IDAT", zlib.compress(bytes(25 * 8)))
    painted = np.dstack([colours(), np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))])
    deep = colours(dtype=np.uint16)
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "green", "blue")]
    return [
        ("bomb.png", "60000x60000 in 20 kB", "error", png(60000, 60000, 8, 2, (b"IDAT", zeros))),
        ("bomb-text.png", "a comment of 20 MB in 20 kB", "error", png(8, 8, 8, 2, (b"zTXt", b"Comment\0\0" + zeros), small)),
        ("bomb-profile.png", "a colour profile of 20 MB in 20 kB", "error", png(8, 8, 8, 2, (b"iCCP", b"icc\0\0" + zeros), small)),
        ("bomb.tif", "65535x65535 in a header", "error", tiff(deep, metadata=None).replace(b"\x40\0\0\0", b"\xff\xff\0\0", 1)
         .replace(b"\x30\0\0\0", b"\xff\xff\0\0", 1)),
        ("deep.png", "16 bits", "works", png(4, 4, 16, 2, (b"IDAT", zlib.compress(b"".join(b"\0" + bytes(range(24)) for _ in range(4)))))),
        ("deep.tif", "16 bits", "works", tiff(deep)),
        ("deep-planes.tif", "16 bits, big-endian, each colour by itself", "works",
         tiff(np.moveaxis(deep, -1, 0), byteorder=">", planarconfig="separate")),
        ("float.tif", "floating point", "error", tiff(deep.astype(np.float32))),
        ("cmyk.jpg", "CMYK", "repaired", saved(image.convert("CMYK"), "JPEG")),
        ("cmyk.tif", "CMYK", "repaired", saved(image.convert("CMYK"), "TIFF")),
        ("layer.png", "a painted layer on nothing", "repaired", saved(Image.fromarray(painted), "PNG")),
        ("palette.png", "a palette with one transparent colour", "repaired", saved(image.quantize(16), "PNG", transparency=0)),
        ("palette.gif", "a palette", "works", saved(image.quantize(16), "GIF")),
        ("line-art.tif", "black and white", "works", saved(image.convert("1"), "TIFF", compression="group4")),
        ("turned.jpg", "a photograph held upright", "works", saved(image, "JPEG", exif=with_orientation(6))),
        ("animated.gif", "an animation", "repaired", saved(frames[0], "GIF", save_all=True, append_images=frames[1:])),
        ("animated.png", "an animation", "repaired", saved(frames[0], "PNG", save_all=True, append_images=frames[1:])),
        ("animated.webp", "an animation", "repaired", saved(frames[0], "WEBP", save_all=True, append_images=frames[1:])),
        ("half.png", "cut off", "error", saved(image, "PNG")[:-500]),
        ("half.jpg", "cut off", "error", jpeg()[:-200]),
        ("half.tif", "cut off", "error", tiff(deep)[:-2000]),
        ("flipped.png", "one flipped bit", "error", _flip(saved(image, "PNG", compress_level=0), 5000)),
        ("empty.png", "no byte", "error", b""),
        ("text.png", "a renamed text", "error", b"as agreed by telephone\n" * 40),
        ("photograph.png", "a renamed JPEG", "works", jpeg()),
        ("phone.jpg", "HEIC, renamed", "error", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(400)),
        ("profile.png", "a colour profile of nonsense", "repaired", saved(image, "PNG", icc_profile=b"nonsense" * 40)),
        ("dot.png", "one pixel", "works", saved(Image.new("RGB", (1, 1), "red"), "PNG")),
    ]  # fmt: skip


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
