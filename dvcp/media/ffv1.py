"""FFV1 slice checksums, checked here because FFmpeg's decoder does not report a failed one: it paints the slice over from the frame
before, marks nothing, and ``err_detect=explode`` changes nothing (FFmpeg 8.1).

Layout: RFC 9043, section 4.8 (slice footer: 24-bit size, 8-bit status, 32-bit CRC chosen so that the CRC of the whole slice is zero).
"""

from __future__ import annotations

import zlib

FOOTER = 8
#: FFV1's CRC takes the high bit first, zlib's the low bit first: on bit-reversed bytes they agree, and zero stays zero
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
#: zlib inverts the register before and after; with this start value it begins at zero, and ends here when the CRC is zero
INVERTED_ZERO = 0xFFFFFFFF


def slices_sound(packet: bytes) -> bool | None:
    """True when every slice of an FFV1 frame passes its checksum, False when one fails, None when it carries no legible checksums."""
    ends = [len(packet)]
    while ends[-1] > 0:
        end = ends[-1]
        start = end - FOOTER - int.from_bytes(packet[end - 8 : end - 5], "big") if end >= FOOTER else -1
        if start < 0:
            return None
        ends.append(start)
    pairs = zip(ends[1:], ends, strict=False)
    return all(zlib.crc32(packet[start:end].translate(REVERSED), INVERTED_ZERO) == INVERTED_ZERO for start, end in pairs)
