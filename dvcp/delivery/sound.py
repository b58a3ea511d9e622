"""Digests of the sound tracks of a film, whatever container they lie in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from dvcp.media.probe import VideoInfo
from dvcp.media.source import open_input
from dvcp.media.unpack import unpacked_digest

Sound = Mapping[str, str]


def sound_digests(info: VideoInfo) -> list[dict[str, str]]:
    """Codec and sha256 (hex) of the joined packets of every sound track: containers cut PCM into packets of their own.

    FLAC also has ``unpacked``, the sha256 of its samples, since some containers are given PCM in its place.

    Raises:
        MediaError: the file cannot be read.
    """
    if not info.audio:
        return []
    with open_input(info.url) as container:
        tracks = [(k, track) for k, track in enumerate(container.streams.audio) if track.codec_context is not None]
        digests = {track.index: hashlib.sha256() for _, track in tracks}
        for packet in container.demux([track for _, track in tracks]):
            if packet.size:
                digests[packet.stream_index].update(bytes(packet))
        found = [(k, t.codec_context.codec.canonical_name, digests[t.index].hexdigest()) for k, t in tracks]
    return [
        {"codec": codec, "sha256": digest} | ({"unpacked": unpacked_digest(info.url, k)} if codec == "flac" else {})
        for k, codec, digest in found
    ]


def carried(found: Sequence[Sound], whole: Sequence[Sound]) -> bool:
    """True when ``found`` is ``whole`` but for tracks left out: the same bytes in the same order, or PCM of the same samples."""
    rest = iter(whole)
    return all(any(_same(track, other) for other in rest) for track in found)


def _same(track: Sound, other: Sound) -> bool:
    if track["codec"].startswith("pcm_") and "unpacked" in other:
        return track["sha256"] == other["unpacked"]
    return dict(track) == dict(other)
