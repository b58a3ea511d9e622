"""FLAC as PCM, for containers that refuse FLAC: other bytes, the same samples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream

from dvcp.media.source import open_input

#: smallest that holds a sample of so many bits
PCM = ((16, "pcm_s16le"), (24, "pcm_s24le"), (32, "pcm_s32le"))


def pcm_of(stream: Stream) -> str | None:
    """The PCM codec that holds every sample of a FLAC stream exactly; None for any other codec."""
    if not isinstance(stream, AudioStream) or stream.codec_context is None or stream.codec_context.name != "flac":
        return None
    # STREAMINFO (RFC 9639, section 8.2): after 10 bytes of sizes 20 bits of rate, 3 of channels, 5 of bits a sample less one
    info = (stream.codec_context.extradata or b"").removeprefix(b"fLaC")[-34:]
    if len(info) < 14:
        return None
    bits = ((info[12] & 1) << 4 | info[13] >> 4) + 1
    return next(name for most, name in PCM if bits <= most)


class Unpacker:
    """Makes PCM packets of one FLAC track, their times counted in samples from its first.

    Attributes:
        twin: the PCM stream of the output.
    """

    def __init__(self, output: OutputContainer, stream: AudioStream, codec: str) -> None:
        context = stream.codec_context
        self._stream, self._rate = stream, context.sample_rate or 1
        self._next: int | None = None
        made: Any = output.add_stream(codec, rate=self._rate, layout=context.layout.name)
        self.twin: AudioStream = made

    def packets(self, packet: Packet[Any] | None, shift: Fraction) -> Iterator[Packet[Any]]:
        """PCM of a packet of the source, ``shift`` seconds later; of None, what is left at the end."""
        for frame in self._stream.decode(packet):
            if self._next is None:
                self._next = round(((frame.pts or 0) * (frame.time_base or Fraction(1)) + shift) * self._rate)
            frame.pts, frame.time_base = self._next, Fraction(1, self._rate)
            self._next += frame.samples
            yield from self.twin.encode(frame)
        if packet is None:
            yield from self.twin.encode(None)


def unpacked_digest(url: str, number: int) -> str:
    """sha256 of the PCM bytes of a film's audio track, 0-based. Raises MediaError when the film cannot be read."""
    digest = hashlib.sha256()
    with open_input(url) as container:
        stream = container.streams.audio[number]
        width = {name: bits // 8 for bits, name in PCM}[pcm_of(stream) or "pcm_s32le"]
        for frame in container.decode(stream):
            samples = frame.to_ndarray()
            interleaved = samples.T.reshape(-1) if frame.format.is_planar else samples.reshape(-1)
            size = interleaved.dtype.itemsize
            # FLAC's decoder puts 24 bits into the high bytes of 32
            digest.update(interleaved.astype(f"<i{size}").view("u1").reshape(-1, size)[:, size - width :].tobytes())
    return digest.hexdigest()
