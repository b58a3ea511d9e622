from __future__ import annotations

from pathlib import Path

import av
from media_clips import make_film, noise

from dvcp.media.ffv1 import slices_sound


def _packets(path: Path, options: dict[str, str]) -> list[bytes]:
    with av.open(make_film(path, noise(3, 48, 64), options=options)) as container:
        return [bytes(p) for p in container.demux(video=0) if p.size]


def test_every_flipped_bit_is_seen(tmp_path: Path) -> None:
    packet = _packets(tmp_path / "a.mkv", {"level": "3", "slicecrc": "1"})[1]
    assert slices_sound(packet) is True
    for at in range(0, len(packet) - 8, 97):
        broken = bytearray(packet)
        broken[at] ^= 0x10
        assert slices_sound(bytes(broken)) is not True


def test_streams_without_checksums_are_not_judged(tmp_path: Path) -> None:
    assert {slices_sound(p) for p in _packets(tmp_path / "b.mkv", {"level": "1"})} == {None}
