"""DPX (SMPTE ST 268-1): what a header says, and pictures written whole.

FFmpeg decodes the samples, but tells nothing of the film header (key code), and its encoder ends the header before the place of rate and
timecode: so headers are read here and pictures are written here.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvcp.errors import ConfigError
from dvcp.media.rates import exact_rate

MAGICS = {b"SDPX": ">", b"XPDS": "<"}
HEADER = 2048
DEPTHS = (8, 10, 12, 16)
#: meanings of the transfer and colorimetric codes, ST 268-1 table 5
MEANINGS = {
    0: "user defined", 1: "printing density", 2: "linear", 3: "logarithmic", 4: "unspecified video", 5: "SMPTE 274M", 6: "BT.709",
    7: "BT.601 625 lines", 8: "BT.601 525 lines", 9: "NTSC composite", 10: "PAL composite", 11: "Z linear", 12: "Z homogeneous",
}  # fmt: skip
UNSPECIFIED_VIDEO = 4
_RGB = 50
#: samples a pixel, by descriptor: one channel, luma, RGB, RGBA, ABGR
_CHANNELS = {1: 1, 2: 1, 3: 1, 4: 1, 6: 1, _RGB: 3, 51: 4, 52: 4}
_UNDEFINED = 0xFFFFFFFF
#: (name, offset, length) of the text fields worth keeping
_TEXTS = (
    ("file_name", 36, 100), ("created", 136, 24), ("creator", 160, 100), ("project", 260, 200), ("copyright", 460, 200),
    ("input_device", 1556, 32), ("input_serial", 1588, 32), ("film_format", 1680, 32), ("frame_id", 1732, 32), ("slate", 1764, 100),
)  # fmt: skip
#: text and reserved fields, which are zero where nothing is written; numbers are all ones
_ZEROED = ((36, 660), (664, 768), (820, 852), (1356, 1408), (1432, 1620), (1664, 1712), (1732, 1920), (1972, 2048))


@dataclass(frozen=True)
class DpxFacts:
    """What the header of a written picture says besides size and depth.

    Attributes:
        name: file name.
        position: place in the sequence, 0-based.
        rate: frames per second.
        timecode: of this picture, or None.
        transfer, colorimetric: codes of :data:`MEANINGS`.
        sample_aspect: width of a sample over its height.
    """

    name: str
    position: int
    rate: Fraction
    timecode: str | None
    transfer: int = UNSPECIFIED_VIDEO
    colorimetric: int = UNSPECIFIED_VIDEO
    sample_aspect: Fraction = Fraction(1)


def read_header(data: bytes) -> dict[str, Any]:
    """What the header says, as JSON types, without what it leaves undefined; empty when ``data`` is no DPX or too short for one.

    Keys that others rely on: ``rate`` ("24000/1001"), ``timecode``, ``pixel_aspect`` ("59/54"), ``transfer`` and ``colorimetric`` (codes),
    ``bits``, ``orientation``.
    """
    order = MAGICS.get(data[:4])
    if order is None or len(data) < 1664:
        return {}
    offset = _number(data, order, "I", 4) or 0
    facts: dict[str, Any] = {
        "version": _text(data, 8, 8),
        "file_size": _number(data, order, "I", 16),
        "orientation": _number(data, order, "H", 768),
        "elements": _number(data, order, "H", 770),
        "descriptor": data[800],
        "transfer": data[801] if data[801] != 255 else None,
        "transfer_name": MEANINGS.get(data[801]),
        "colorimetric": data[802] if data[802] != 255 else None,
        "colorimetric_name": MEANINGS.get(data[802]),
        "bits": data[803],
        "packing": _number(data, order, "H", 804),
        "reference_low_code": _number(data, order, "I", 784),
        "reference_high_code": _number(data, order, "I", 792),
    }
    across, down = _number(data, order, "I", 1628), _number(data, order, "I", 1632)
    if across and down:
        facts["pixel_aspect"] = str(Fraction(across, down))
    # a header that ends early has picture data where these would be
    facts |= {name: _text(data, at, length) for name, at, length in _TEXTS if at + length <= offset}
    if offset >= HEADER and len(data) >= HEADER:
        facts |= _industry(data, order)
    return {name: value for name, value in facts.items() if value not in (None, "")}


def _industry(data: bytes, order: str) -> dict[str, Any]:
    """The film and the television header."""
    key_code = [_text(data, at, length) for at, length in ((1664, 2), (1666, 2), (1670, 6), (1676, 4), (1668, 2))]
    rates = [value for at in (1724, 1940) if (value := _real(data, order, at)) and 1 <= value <= 1000]
    rate = exact_rate(rates[0]) if rates else None
    return {
        "key_code": " ".join(part for part in key_code if part),
        "frame_position": _number(data, order, "I", 1712),
        "sequence_length": _number(data, order, "I", 1716),
        "rate": str(rate) if rate else None,
        "timecode": _timecode(_number(data, order, "I", 1920), rate),
        "user_bits": _number(data, order, "I", 1924) or None,
        "black_level": _real(data, order, 1952),
        "white_level": _real(data, order, 1964),
    }


def fault(data: bytes) -> str | None:
    """Why FFmpeg must not be given this picture, in a few words: it would read it wrong without a word. None when it may.

    It takes a file that lacks its end for one of the old writers that did not align rows, and shears the picture; it reads only the
    first of several elements, only where the file header says they begin, and knows no padding after rows.
    """
    order = MAGICS.get(data[:4])
    if order is None or len(data) < 1664:
        return "is truncated or damaged"
    elements, begin = _number(data, order, "H", 770), _number(data, order, "I", 4) or 0
    if elements != 1:
        return f"holds {elements} image elements"
    if _number(data, order, "I", 808) not in (None, 0, begin):
        return "says in two ways where its samples begin"
    if _number(data, order, "I", 812):
        return "has padding after its rows"
    needed = begin + _rows_size(data, order)
    if len(data) < needed and len(data) != _number(data, order, "I", 16):
        return f"is truncated: {len(data)} of {needed} bytes"
    return None


def _rows_size(data: bytes, order: str) -> int:
    """Bytes of all rows, each from 32 bits on; 0 for elements that are not decoded anyway."""
    width, height = struct.unpack_from(order + "II", data, 772)
    count, bits, packed = width * _CHANNELS.get(data[800], 0), data[803], _number(data, order, "H", 804) == 0
    words = {8: -(-count // 4), 10: -(-count // 3), 12: -(-count * 3 // 8) if packed else -(-count // 2), 16: -(-count // 2)}
    return int(words.get(bits, 0) * 4 * height)


def dpx_of(rgb: NDArray[Any], depth: int, facts: DpxFacts) -> bytes:
    """The DPX file of a picture: version 2.0, big-endian, one RGB element, full range; rows begin on 32 bits.

    Args:
        rgb: ``[H, W, 3]``, uint8 for 8 bits, else uint16 with values below ``1 << depth``.
        depth: 8, 10 (three samples in 32 bits, method A), 12 (one in 16, method A) or 16.
        facts: the rest of the header.

    Raises:
        ConfigError: a depth that DPX has not.
    """
    if depth not in DEPTHS:
        raise ConfigError(f"DPX has no {depth} bit", hint=f"--depth {', '.join(map(str, DEPTHS))}")
    height, width = rgb.shape[:2]
    body = _packed(rgb, depth)
    header = bytearray(b"\xff" * HEADER)
    for start, stop in _ZEROED:
        header[start:stop] = bytes(stop - start)
    peak = (1 << depth) - 1
    struct.pack_into(">4sI8sIIIII", header, 0, b"SDPX", HEADER, b"V2.0", HEADER + len(body), 1, 1664, 384, 0)
    struct.pack_into(">100s24s100s", header, 36, facts.name.encode("ascii", "replace")[:99], b"", b"dvcp")
    struct.pack_into(">HHII", header, 768, 0, 1, width, height)
    struct.pack_into(">I", header, 780, 0)
    struct.pack_into(">I", header, 784, 0)
    struct.pack_into(">I", header, 792, peak)
    packing = 1 if depth in (10, 12) else 0
    struct.pack_into(">BBBBHHIII", header, 800, _RGB, facts.transfer, facts.colorimetric, depth, packing, 0, HEADER, 0, 0)
    struct.pack_into(">II", header, 1628, facts.sample_aspect.numerator, facts.sample_aspect.denominator)
    struct.pack_into(">I", header, 1712, facts.position)
    rate = float(facts.rate)
    struct.pack_into(">f", header, 1724, rate)
    if facts.timecode:
        struct.pack_into(">II", header, 1920, _bcd(facts.timecode, facts.rate), 0)
    struct.pack_into(">f", header, 1940, rate)
    struct.pack_into(">f", header, 1952, 0.0)
    struct.pack_into(">f", header, 1964, float(peak))
    return bytes(header) + body


def _packed(rgb: NDArray[Any], depth: int) -> bytes:
    if depth == 10:
        r, g, b = (rgb[..., k].astype(">u4") for k in range(3))
        return (r << 22 | g << 12 | b << 2).astype(">u4").tobytes()
    samples = rgb if depth == 8 else (rgb << (16 - depth)).astype(">u2")
    rows = np.ascontiguousarray(samples).reshape(len(rgb), -1).view(np.uint8)
    return np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4))).tobytes()


def _bcd(timecode: str, rate: Fraction) -> int:
    word = int(timecode[0:2] + timecode[3:5] + timecode[6:8] + timecode[9:11], 16)
    # SMPTE ST 12: bit 6 of the frames says drop-frame; above 30 frames a second the tens of the frames need it
    return word | 0x40 if timecode[8] == ";" and rate <= 30 else word


def _timecode(word: int | None, rate: Fraction | None) -> str | None:
    if word is None:
        return None
    dropped = bool(word & 0x40) and (rate is None or rate <= 30)
    digits = f"{word & (0xFFFFFFBF if dropped else _UNDEFINED):08x}"
    if not digits.isdigit():
        return None
    return f"{digits[:2]}:{digits[2:4]}:{digits[4:6]}{';' if dropped else ':'}{digits[6:]}"


def _text(data: bytes, at: int, length: int) -> str:
    return data[at : at + length].split(b"\0")[0].strip(b"\xff").decode("ascii", "replace").strip()


def _number(data: bytes, order: str, kind: str, at: int) -> int | None:
    (value,) = struct.unpack_from(order + kind, data, at)
    return None if value == (_UNDEFINED if kind == "I" else 0xFFFF) else int(value)


def _real(data: bytes, order: str, at: int) -> float | None:
    (value,) = struct.unpack_from(order + "f", data, at)
    return float(value) if math.isfinite(value) else None
