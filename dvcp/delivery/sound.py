"""Digests of the sound tracks of a film, whatever container they lie in."""

from __future__ import annotations

import hashlib

from dvcp.media.probe import VideoInfo
from dvcp.media.source import open_input


def sound_digests(info: VideoInfo) -> list[dict[str, str]]:
    """Codec and sha256 (hex) of the joined packets of every sound track: containers cut PCM into packets of their own.

    Raises:
        MediaError: the file cannot be read.
    """
    if not info.audio:
        return []
    with open_input(info.url) as container:
        tracks = [track for track in container.streams.audio if track.codec_context is not None]
        digests = {track.index: hashlib.sha256() for track in tracks}
        for packet in container.demux(tracks):
            if packet.size:
                digests[packet.stream_index].update(bytes(packet))
        return [{"codec": t.codec_context.codec.canonical_name, "sha256": digests[t.index].hexdigest()} for t in tracks]
