"""What the header of a TIFF picture says (TIFF 6.0), beside the samples, which FFmpeg decodes."""

from __future__ import annotations

import struct
import zlib
from typing import Any

MAGICS = {b"II*\0": "<", b"MM\0*": ">"}
BIG_MAGICS = (b"II+\0", b"MM\0+")
PHOTOMETRIC = {0: "WhiteIsZero", 1: "BlackIsZero", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr", 8: "CIELab"}
_NAMES = {
    258: "bits", 259: "compression", 262: "photometric", 270: "description", 271: "make", 272: "model", 274: "orientation", 277: "samples",
    282: "x_resolution", 283: "y_resolution", 296: "resolution_unit", 305: "software", 306: "created", 315: "artist", 33432: "copyright",
}  # fmt: skip
_SUBFILE, _ICC, _COMPRESSION = 254, 34675, 259
_STRIPS, _STRIP_SIZES, _TILES, _SAMPLE_FORMAT = 273, 279, 324, 339
_PHOTOMETRIC, _READABLE = 262, (0, 1, 2)
_DEFLATE = (8, 32946)
_READ = {*_NAMES, _SUBFILE, _ICC, _STRIPS, _STRIP_SIZES, _TILES, _SAMPLE_FORMAT}
#: bytes of one value and struct's letter, by TIFF field type
_TYPES = {1: (1, "B"), 2: (1, "s"), 3: (2, "H"), 4: (4, "I"), 5: (8, "II")}


def read_header(data: bytes) -> dict[str, Any]:
    """What the first directory says, as JSON types; empty when ``data`` is no TIFF or its directory is damaged.

    ``photometric`` is a name, resolutions are ``"300/1"``, ``icc_profile`` counts its bytes. ``pages`` counts the pictures
    in the file, without previews.
    """
    order = MAGICS.get(data[:4])
    if order is None:
        return {}
    try:
        return _facts(data, order)
    except struct.error:
        return {}


def fault(data: bytes) -> str | None:
    """Why the picture must not be trusted to a decoder, in a few words; None when every strip is there and, where it is Deflate, unpacks.

    FFmpeg's decoder cannot be asked: in silence it leaves the rows of a missing strip black, reads tiles as if they were strips, 16-bit
    floats and signed integers as unsigned ones. Told to stop at errors (``err_detect=explode``) it stops at the resolution unit
    (tag 296), which nearly every TIFF has. LZW and PackBits carry no checksum: there only missing bytes are found.
    """
    order = MAGICS.get(data[:4], "<")
    try:
        entries, _ = _directory(data, order, struct.unpack_from(order + "I", data, 4)[0])
        if _TILES in entries:
            return "is tiled"
        kind = entries.get(_PHOTOMETRIC, [1])[0]
        if kind not in _READABLE:
            return f"has {PHOTOMETRIC.get(kind, f'photometric {kind}')} samples"
        if set(entries.get(_SAMPLE_FORMAT, [1])) != {1}:
            return "has samples that are no unsigned integers"
        places, sizes = entries.get(_STRIPS, []), entries.get(_STRIP_SIZES, [])
        if not places or len(places) != len(sizes):
            return "is truncated or damaged"
        for at, size in zip(places, sizes, strict=True):
            if at + size > len(data):
                return f"is truncated: a strip ends at byte {at + size} of {len(data)}"
            if entries.get(_COMPRESSION, [1])[0] in _DEFLATE:
                zlib.decompress(data[at : at + size])
    except (struct.error, zlib.error):
        return "is truncated or damaged"
    return None


def _facts(data: bytes, order: str) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    pages, seen = 0, set[int]()
    (at,) = struct.unpack_from(order + "I", data, 4)
    while at and at not in seen:
        seen.add(at)
        entries, at = _directory(data, order, at)
        preview = bool(entries.get(_SUBFILE, [0])[0] & 1)
        pages += not preview
        if len(seen) == 1:
            facts = {name: _plain(tag, entries[tag]) for tag, name in _NAMES.items() if tag in entries}
            if _ICC in entries:
                facts["icc_profile"] = len(entries[_ICC])
    return facts | {"pages": pages}


def _directory(data: bytes, order: str, at: int) -> tuple[dict[int, Any], int]:
    """Values by tag (a list, or bytes for text), and where the next directory is."""
    (count,) = struct.unpack_from(order + "H", data, at)
    entries: dict[int, Any] = {}
    for k in range(count):
        place = at + 2 + 12 * k
        tag, kind, length = struct.unpack_from(order + "HHI", data, place)
        if tag not in _READ:
            continue
        size, letter = _TYPES.get(kind, (1, "s"))
        if not length or size * length > len(data):
            continue
        (start,) = struct.unpack_from(order + "I", data, place + 8) if size * length > 4 else (place + 8,)
        if letter == "s":
            entries |= {tag: text} if (text := data[start : start + length]) else {}
        else:
            entries[tag] = list(struct.unpack_from(order + letter * length, data, start))
    (following,) = struct.unpack_from(order + "I", data, at + 2 + 12 * count)
    return entries, int(following)


def _plain(tag: int, value: Any) -> Any:
    if isinstance(value, bytes):
        return value.split(b"\0")[0].decode("utf-8", "replace").strip()
    if tag == 262:
        return PHOTOMETRIC.get(value[0], str(value[0]))
    if tag in (282, 283):
        return "/".join(map(str, value[:2]))
    return value[0] if len(set(value)) == 1 else value
