"""MOV's timed text as SubRip, for Matroska, which holds no other: the same words at the same times, styles aside."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream

from dvcp.media.source import open_input

CODEC = "mov_text"


def words(sample: bytes) -> bytes:
    """UTF-8 text of one sample of timed text (3GPP TS 26.245, section 5.17): a length, the text, boxes of styles; empty in a pause."""
    text = sample[2 : 2 + int.from_bytes(sample[:2], "big")]
    return text.decode("utf-16", errors="replace").encode() if text[:2] == b"\xfe\xff" else text


class Plain:
    """Makes SubRip packets of one track of timed text.

    Attributes:
        twin: the SubRip stream of the output.
    """

    def __init__(self, output: OutputContainer) -> None:
        self.twin: Stream = output.add_mux_stream("subrip")

    def packets(self, packet: Packet[Any] | None, shift: Fraction) -> Iterator[Packet[Any]]:
        """SubRip of a packet of the source, ``shift`` seconds later; nothing for a pause, and nothing (None) at the end."""
        if packet is None or packet.pts is None or not (text := words(bytes(packet))):
            return
        made: Packet[Any] = Packet(text)
        made.stream, made.time_base, made.duration = self.twin, packet.time_base, packet.duration
        made.pts = made.dts = packet.pts + round(shift / packet.time_base)
        yield made


def words_digest(url: str, number: int) -> str:
    """sha256 of all words of a film's subtitle track, 0-based. Raises MediaError when the film cannot be read."""
    digest = hashlib.sha256()
    with open_input(url) as container:
        for packet in container.demux(container.streams.subtitles[number]):
            if packet.size:
                digest.update(words(bytes(packet)))
    return digest.hexdigest()
