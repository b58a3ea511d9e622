from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from dvcp.errors import StoreError
from dvcp.media.planes import delivered_luma
from dvcp.media.probe import probe
from dvcp.media.profiles import ACCESS, LAYER, MASTER, MEZZANINE, PROFILES, Profile
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


def test_the_layer_holds_the_synthesised_chroma_and_nothing_else(tmp_path: Path) -> None:
    info = probe(make_film(tmp_path / "in.mkv", noise(2, 33, 47, 10), pix_fmt="gray10le", tags={"sample_aspect_ratio": Fraction(4, 3)}))
    chroma = noise(4, 17, 24, 10, seed=3).reshape(2, 2, 17, 24)
    with FrameReader(info) as reader, SegmentWriter(str(tmp_path / "o.mkv"), info, LAYER) as writer:
        writer.write(reader.luma(Span(0, 2)), chroma)
    layer = probe(str(tmp_path / "o.mkv"))
    assert (layer.pix_fmt, layer.width, layer.height) == ("yuv444p10le", 24, 17)
    with FrameReader(layer) as reader:
        luma, found = reader.planes(Span(0, 2))
    np.testing.assert_array_equal(found, chroma)
    assert (luma == 512).all()


@pytest.mark.parametrize("pix_fmt, depth", [("yuv420p", 8), ("yuv444p12le", 12), ("gray16le", 16)])
def test_the_mezzanine_is_near_the_film_in_ten_bits(tmp_path: Path, pix_fmt: str, depth: int) -> None:
    luma = (ramp(3, 48, 64).astype(np.uint16) << (depth - 8)).astype(np.uint8 if depth == 8 else np.uint16)
    source = probe(make_film(tmp_path / "in.mkv", luma, pix_fmt=pix_fmt, tags={"color_range": 1}))
    with FrameReader(source) as reader:
        _, chroma = reader.planes(Span(0, 3))
    made = probe(_write(source.url, tmp_path / "o.mkv", MEZZANINE))
    assert (made.codec, made.pix_fmt) == ("prores", "yuv422p10le")
    with FrameReader(made) as reader:
        found, colours = reader.planes(Span(0, 3))
    assert np.abs(found.astype(int) - delivered_luma(luma, source, MEZZANINE)).mean() < 4
    # made with one colour a picture
    wanted = chroma[:, :, :1, :1].astype(float) / (1 << (depth - 10)) if depth >= 10 else chroma[:, :, :1, :1] * 4.0
    assert np.abs(colours - np.clip(wanted, 4, 1019)).max() < 4


@pytest.mark.parametrize("order, flag", [(1, 0), (2, 1), (3, 2), (4, 1), (5, 2)])
def test_prores_says_its_field_order_in_every_picture(tmp_path: Path, order: int, flag: int) -> None:
    path = _write(make_film(tmp_path / "in.mkv", ramp(3, 48, 64), tags={"field_order": order}), tmp_path / "o.mkv", MEZZANINE)
    with av.open(path) as container:
        # SMPTE RDD 36: after size, "icpf" and 12 bytes of frame header come chroma format and, two bits on, interlace mode
        assert [bytes(p)[20] >> 2 & 3 for p in container.demux(video=0) if p.size] == [flag] * 3


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
