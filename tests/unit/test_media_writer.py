from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from dvcp.errors import StoreError
from dvcp.media.planes import delivered_luma
from dvcp.media.probe import probe
from dvcp.media.profiles import ACCESS, MASTER, MEZZANINE, PROFILES, Profile
from dvcp.media.reader import FrameReader
from dvcp.media.writer import SegmentWriter
from dvcp.timing import Span
from tests.unit.media_clips import make_film, noise, ramp


def _write(source: str, path: Path, profile: Profile) -> str:
    info = probe(source)
    with FrameReader(info) as reader, SegmentWriter(str(path), info, profile) as writer:
        for first in range(0, len(info.frames), 2):
            writer.write(*reader.planes(Span(first, min(first + 2, len(info.frames)))))
    return str(path)


@pytest.mark.parametrize("pix_fmt, depth, kept", [
    ("yuv420p", 8, "yuv420p"), ("yuv420p10le", 10, "yuv420p10le"), ("yuv422p10le", 10, "yuv422p10le"), ("yuv444p16le", 16, "yuv444p16le"),
    ("yuv411p", 8, "yuv411p"), ("gray", 8, "yuv420p"), ("gray10le", 10, "yuv420p10le"), ("gray16le", 16, "yuv420p16le"),
])  # fmt: skip
def test_master_keeps_every_sample_depth_and_grid_at_odd_sizes(tmp_path: Path, pix_fmt: str, depth: int, kept: str) -> None:
    luma = noise(5, 33, 47, depth)
    source = probe(make_film(tmp_path / "in.mkv", luma, pix_fmt=pix_fmt))
    with FrameReader(source) as reader:
        _, chroma = reader.planes(Span(0, 5))
    info = probe(_write(source.url, tmp_path / "out.mkv", MASTER))
    assert (info.pix_fmt, info.codec) == (kept, "ffv1")
    with FrameReader(info) as reader:
        found, colours = reader.planes(Span(0, 5))
    np.testing.assert_array_equal(found, luma)
    np.testing.assert_array_equal(colours, chroma)


def test_synthesised_chroma_arrives(tmp_path: Path) -> None:
    info = probe(make_film(tmp_path / "in.mkv", noise(2, 33, 47), pix_fmt="gray"))
    chroma = noise(4, 17, 24, seed=3).reshape(2, 2, 17, 24)
    with FrameReader(info) as reader, SegmentWriter(str(tmp_path / "o.mkv"), info, MASTER) as writer:
        writer.write(reader.luma(Span(0, 2)), chroma)
    with FrameReader(probe(str(tmp_path / "o.mkv"))) as reader:
        np.testing.assert_array_equal(reader.planes(Span(0, 2))[1], chroma)


@pytest.mark.parametrize("profile", list(PROFILES.values()))
def test_the_same_input_gives_the_same_bytes(tmp_path: Path, profile: Profile) -> None:
    source = make_film(tmp_path / "in.mkv", ramp(9, 48, 64))
    first, second = (Path(_write(source, tmp_path / name, profile)).read_bytes() for name in ("a.mkv", "b.mkv"))
    assert first == second


@pytest.mark.parametrize("profile", list(PROFILES.values()))
def test_colour_tags_and_field_order_are_carried(tmp_path: Path, profile: Profile) -> None:
    tags = {"colorspace": 9, "color_range": 2, "color_primaries": 9, "color_trc": 14, "field_order": 2}
    info = probe(_write(make_film(tmp_path / "in.mkv", ramp(3, 48, 64), tags=tags), tmp_path / "o.mkv", profile))
    colour = info.colour
    assert (colour.matrix, colour.full_range, colour.primaries, colour.transfer, colour.assumed) == (
        "bt2020", profile is not MEZZANINE, 9, 14, False
    )  # fmt: skip
    assert info.field_order == "tt"


def test_access_is_even_sized_8_bit_and_every_packet_in_order(tmp_path: Path) -> None:
    wide = ramp(12, 33, 47).astype(np.uint16) << 2
    source = probe(make_film(tmp_path / "in.mkv", wide, pix_fmt="yuv422p10le"))
    path = _write(source.url, tmp_path / "o.mkv", ACCESS)
    info = probe(path)
    assert (info.width, info.height, info.pix_fmt, info.codec) == (48, 34, "yuv420p", "h264")
    with av.open(path) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    assert packets[0].is_keyframe and [p.pts for p in packets] == sorted(p.pts for p in packets)
    with FrameReader(info) as reader:
        error = reader.luma(Span(0, 12)).astype(int) - delivered_luma(wide, source, ACCESS)
    assert np.abs(error).mean() < 3


def test_shapes_that_are_not_the_films_are_refused(tmp_path: Path) -> None:
    info = probe(make_film(tmp_path / "in.mkv", noise(1, 32, 32)))
    with SegmentWriter(str(tmp_path / "o.mkv"), info, MASTER) as writer:
        with pytest.raises(ValueError, match="expected luma and chroma of shape"):
            writer.write(noise(1, 32, 30), noise(2, 16, 16).reshape(1, 2, 16, 16))
        writer.write(noise(1, 32, 32), noise(2, 16, 16).reshape(1, 2, 16, 16))


def test_a_full_disk_is_a_store_error(tmp_path: Path) -> None:
    info = probe(make_film(tmp_path / "in.mkv", noise(40, 64, 64)))
    with (
        pytest.raises(StoreError, match="/dev/full: no space left"),
        FrameReader(info) as reader,
        SegmentWriter("/dev/full", info, MASTER) as writer,
    ):
        writer.write(*reader.planes(Span(0, 40)))


def test_a_missing_folder_is_a_store_error(tmp_path: Path) -> None:
    info = probe(make_film(tmp_path / "in.mkv", noise(1, 16, 16)))
    with pytest.raises(StoreError, match="cannot be written"), SegmentWriter(str(tmp_path / "no" / "o.mkv"), info, MASTER):
        pass
