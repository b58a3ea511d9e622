"""FFV1 slice checksums, checked here because FFmpeg's decoder does not report a failed one: it paints the slice over from the frame
before, marks nothing, and ``err_detect=explode`` changes nothing (FFmpeg 8.1).

Layout: RFC 9043, section 4.8 (slice footer: 24-bit size, 8-bit status, 32-bit CRC chosen so that the CRC of the whole slice is zero) and
section 4.2 (the parameters in the configuration record, range coded as in section 3.8.1).
"""

from __future__ import annotations

import zlib

FOOTER = 8
#: adaptive states of one coded integer
STATES = 32
#: FFV1's CRC takes the high bit first, zlib's the low bit first: on bit-reversed bytes they agree, and zero stays zero
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
#: zlib inverts the register before and after; with this start value it begins at zero, and ends here when the CRC is zero
INVERTED_ZERO = 0xFFFFFFFF


def has_checksums(record: bytes | None) -> bool:
    """Whether a stream's configuration record (FFmpeg's extradata; None in version 0 and 1) announces a checksum in every slice.

    A record that is itself damaged announces nothing: FFmpeg refuses to decode such a stream.
    """
    if not record or not _crc_is_zero(record):
        return False
    try:
        return _error_correction(_RangeDecoder(record[:-4])) == 1
    except ValueError:
        return False


def slices_sound(packet: bytes) -> bool:
    """True when every slice of an FFV1 frame with checksums passes its own; False too when damage hides where slices end."""
    ends = [len(packet)]
    while ends[-1] > 0:
        end = ends[-1]
        start = end - FOOTER - int.from_bytes(packet[end - 8 : end - 5], "big") if end >= FOOTER else -1
        if start < 0:
            return False
        ends.append(start)
    return all(_crc_is_zero(packet[start:end]) for start, end in zip(ends[1:], ends, strict=False))


def _crc_is_zero(data: bytes) -> bool:
    return zlib.crc32(data.translate(REVERSED), INVERTED_ZERO) == INVERTED_ZERO


def _error_correction(coder: _RangeDecoder) -> int:
    """The parameter ``ec``: everything before it has to be read, because the coder adapts as it goes. 0 for versions without it."""
    state = _fresh()
    if coder.symbol(state) < 3:  # version
        return 0
    coder.symbol(state)  # micro version
    if coder.symbol(state) > 1:  # coder type with a state transition table of its own
        for _ in range(255):
            coder.symbol(state, signed=True)
    coder.symbol(state), coder.symbol(state)  # colour space, bits per sample
    coder.bit(state, 0)  # chroma planes
    coder.symbol(state), coder.symbol(state)  # chroma subsampling
    coder.bit(state, 0)  # alpha plane
    coder.symbol(state), coder.symbol(state)  # slices across and down
    contexts = [_context_count(coder) for _ in range(coder.symbol(state))]
    for count in contexts:
        if coder.bit(state, 0):
            initial = [_fresh() for _ in range(STATES)]
            for _ in range(count):
                for own in initial:
                    coder.symbol(own, signed=True)
    return coder.symbol(state)


def _context_count(coder: _RangeDecoder) -> int:
    """Read one set of five quantisation tables; the number of contexts it makes."""
    count = 1
    for _ in range(5):
        state, filled, values = _fresh(), 0, 0
        while filled < 128:
            filled += coder.symbol(state) + 1
            values += 1
        count *= 2 * values - 1
    return (count + 1) // 2


def _fresh() -> bytearray:
    return bytearray([128] * STATES)


def _transitions() -> tuple[list[int], list[int]]:
    """Next state after a zero and after a one: the default table of RFC 9043 section 3.8.1.3, by the rule FFmpeg makes it from."""
    one, factor, top = 1 << 32, (1 << 32) // 20, 248
    ones = [0] * 256
    last, p = 0, one // 2
    for _ in range(128):
        state = max((256 * p + one // 2) >> 32, last + 1)
        if 0 < last < 256 and state <= top:
            ones[last] = state
        p += ((one - p) * factor + one // 2) >> 32
        last = state
    for k in range(256 - top, top + 1):
        if not ones[k]:
            p = (k * one + 128) >> 8
            p += ((one - p) * factor + one // 2) >> 32
            ones[k] = min(max((256 * p + one // 2) >> 32, k + 1), top)
    return [0, *(256 - ones[256 - k] for k in range(1, 256))], ones


class _RangeDecoder:
    """The adaptive binary range decoder of RFC 9043 section 3.8.1, with which the configuration record is written."""

    zeros, ones = _transitions()  # by state, 0..255

    def __init__(self, data: bytes) -> None:
        self._low, self._range = int.from_bytes(data[:2], "big"), 0xFF00
        self._rest = iter(data[2:])

    def bit(self, state: bytearray, at: int) -> int:
        upper = (self._range * state[at]) >> 8
        lower = self._range - upper
        bit = int(self._low >= lower)
        if bit:
            self._low -= lower
        self._range = upper if bit else lower
        state[at] = (self.ones if bit else self.zeros)[state[at]]
        if self._range < 0x100:
            self._range <<= 8
            self._low = (self._low << 8) + next(self._rest, 0)
        return bit

    def symbol(self, state: bytearray, signed: bool = False) -> int:
        """One integer (RFC 9043 section 3.8.1.2). Raises ValueError when it is longer than any parameter can be."""
        if self.bit(state, 0):
            return 0
        length = 0
        while self.bit(state, 1 + min(length, 9)):
            length += 1
            if length > 31:
                raise ValueError("no FFV1 configuration record")
        value = 1
        for k in reversed(range(length)):
            value = 2 * value + self.bit(state, 22 + min(k, 9))
        return -value if signed and self.bit(state, 11 + min(length, 10)) else value
