from __future__ import annotations

from pathlib import Path

import av
import pytest

from dvcp.media.ffv1 import has_checksums, slices_sound
from tests.unit.media_clips import make_film, noise

CHECKED = {"level": "3", "slicecrc": "1"}


def _stream(path: Path, options: dict[str, str], pix_fmt: str = "yuv420p", depth: int = 8) -> tuple[bytes | None, list[bytes]]:
    """Configuration record and packets of a small film."""
    with av.open(make_film(path, noise(3, 48, 64, depth), pix_fmt=pix_fmt, options=options)) as container:
        record = container.streams.video[0].codec_context.extradata
        return record, [bytes(p) for p in container.demux(video=0) if p.size]


@pytest.mark.parametrize("suffix", ["mkv", "avi", "nut"])
@pytest.mark.parametrize("coder", ["rice", "range_def", "range_tab"])
@pytest.mark.parametrize("context", ["0", "1"])
@pytest.mark.parametrize("slicecrc", ["0", "1"])
def test_the_record_says_whether_slices_carry_checksums(tmp_path: Path, suffix: str, coder: str, context: str, slicecrc: str) -> None:
    options = {"level": "3", "coder": coder, "context": context, "slicecrc": slicecrc}
    record, packets = _stream(tmp_path / f"a.{suffix}", options)
    assert has_checksums(record) is (slicecrc == "1")
    assert all(slices_sound(p) for p in packets) is (slicecrc == "1")


@pytest.mark.parametrize("pix_fmt, depth", [
    ("gray", 8), ("gray16le", 16), ("yuv444p", 8), ("yuv422p10le", 10), ("yuv420p12le", 12), ("yuv410p", 8),
])  # fmt: skip
def test_the_record_is_read_for_every_pixel_format(tmp_path: Path, pix_fmt: str, depth: int) -> None:
    for slicecrc in ("0", "1"):
        record, _ = _stream(tmp_path / f"{slicecrc}.mkv", {"level": "3", "slicecrc": slicecrc}, pix_fmt, depth)
        assert has_checksums(record) is (slicecrc == "1")


def test_every_flipped_bit_is_seen(tmp_path: Path) -> None:
    packet = _stream(tmp_path / "a.mkv", CHECKED)[1][1]
    assert slices_sound(packet)
    for at in range(0, len(packet), 97):
        broken = bytearray(packet)
        broken[at] ^= 0x10
        assert not slices_sound(bytes(broken))


@pytest.mark.parametrize("level", ["0", "1"])
def test_old_versions_announce_no_checksums(tmp_path: Path, level: str) -> None:
    record, _ = _stream(tmp_path / "b.mkv", {"level": level})
    assert not has_checksums(record)


def test_a_damaged_record_announces_nothing(tmp_path: Path) -> None:
    record, _ = _stream(tmp_path / "c.mkv", CHECKED)
    assert record and has_checksums(record)
    for at in range(len(record)):
        broken = bytearray(record)
        broken[at] ^= 0x10
        assert not has_checksums(bytes(broken))
    assert not has_checksums(record[:3]) and not has_checksums(b"")
