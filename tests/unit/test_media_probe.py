from __future__ import annotations

import json
import pickle
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from dvcp.errors import MediaError
from dvcp.media.probe import probe
from tests.unit.media_clips import make_film, noise, packet_places, ramp

B_FRAMES = {"bf": "3", "b-adapt": "0", "g": "12"}


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_b_frames_give_every_pts_in_presentation_order(tmp_path: Path, suffix: str) -> None:
    path = make_film(tmp_path / f"b.{suffix}", ramp(20, 48, 64), codec="libx264", options=B_FRAMES)
    with av.open(path) as container:
        order = [p.pts for p in container.demux(video=0) if p.size]
    assert order != sorted(order), "the clip has no B-frames, so it tests nothing"
    info = probe(path)
    np.testing.assert_array_equal([int(p) * info.frames.timebase * 25 for p in info.frames.pts], np.arange(20))
    assert not info.vfr and not info.counted and info.average_rate == 25


def test_vfr_times_are_exact(tmp_path: Path) -> None:
    pts = [0, 3003, 6006, 6100, 20000, 20001, 90000]
    info = probe(make_film(tmp_path / "v.mp4", ramp(7, 48, 64), codec="libx264", pts=pts, timebase=Fraction(1, 90000)))
    assert [int(p) for p in info.frames.pts] == pts and info.frames.timebase == Fraction(1, 90000) and info.vfr


@pytest.mark.parametrize("height, tags, expected", [
    (64, {}, ("bt601", False, True)),
    (720, {}, ("bt709", False, True)),
    (64, {"colorspace": 1, "color_range": 2}, ("bt709", True, False)),
    (64, {"colorspace": 9, "color_range": 1}, ("bt2020", False, False)),
    (720, {"colorspace": 5}, ("bt601", False, False)),
])  # fmt: skip
def test_colour_follows_the_tags_and_says_when_it_was_assumed(tmp_path: Path, height: int, tags: dict[str, int], expected) -> None:  # type: ignore[no-untyped-def]
    colour = probe(make_film(tmp_path / "c.mkv", ramp(1, height, 64), tags=tags)).colour
    assert (colour.matrix, colour.full_range, colour.assumed) == expected


def test_yuvj_is_full_range(tmp_path: Path) -> None:
    info = probe(make_film(tmp_path / "j.avi", ramp(2, 48, 64), codec="mjpeg", pix_fmt="yuvj422p"))
    assert info.colour.full_range and info.colour.subsample == (1, 0) and not info.gray


@pytest.mark.parametrize("pix_fmt, depth, grid, gray", [
    ("gray", 8, (1, 1), True), ("gray10le", 10, (1, 1), True), ("gray16le", 16, (1, 1), True),
    ("yuv420p10le", 10, (1, 1), False), ("yuv422p10le", 10, (1, 0), False), ("yuv444p16le", 16, (0, 0), False),
    ("yuv411p", 8, (2, 0), False),
])  # fmt: skip
def test_depth_and_grid(tmp_path: Path, pix_fmt: str, depth: int, grid: tuple[int, int], gray: bool) -> None:
    info = probe(make_film(tmp_path / "d.mkv", noise(2, 33, 47, depth), pix_fmt=pix_fmt))
    assert (info.colour.depth, info.colour.subsample, info.gray, info.width, info.height) == (depth, grid, gray, 47, 33)


def test_a_pixel_format_without_a_luma_plane_is_refused_with_a_way_out(tmp_path: Path) -> None:
    path = str(tmp_path / "rgb.mkv")
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "bgr0"
        container.mux(stream.encode(av.VideoFrame(32, 32, "bgr0")))
        container.mux(stream.encode(None))
    with pytest.raises(MediaError, match=r"bgr0 has no luma plane.*ffmpeg -i IN -pix_fmt"):
        probe(path)


def test_audio_alone_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "a.mp4")
    with av.open(path, "w") as container:
        track = container.add_stream("aac", rate=44100)
        block = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        block.sample_rate = 44100
        container.mux(track.encode(block))
        container.mux(track.encode(None))
    with pytest.raises(MediaError, match="holds no video stream"):
        probe(path)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_truncated_file_still_probes_and_shows_what_was_announced(tmp_path: Path, suffix: str) -> None:
    path = make_film(tmp_path / f"t.{suffix}", noise(30, 48, 64), codec="libx264", options={"bf": "0"},
                     container_options={"movflags": "+faststart"} if suffix == "mp4" else {})  # fmt: skip
    position, size = packet_places(path)[20]
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[: position + size])
    info = probe(path)
    assert len(info.frames) in (20, 21) and info.announced_frames == 30


def test_one_frame(tmp_path: Path) -> None:
    info = probe(make_film(tmp_path / "one.mkv", noise(1, 17, 19)))
    assert len(info.frames) == 1 and not info.vfr and info.frames.last_duration >= 1


def test_a_stream_without_pts_is_counted(tmp_path: Path) -> None:
    info = probe(make_film(tmp_path / "raw.h264", ramp(9, 48, 64), codec="libx264", options=B_FRAMES))
    assert info.counted and len(info.frames) == 9 and (np.diff(info.frames.pts) > 0).all()


def test_the_rest_of_the_facts_and_their_travel(tmp_path: Path) -> None:
    path = make_film(tmp_path / "f.mp4", ramp(5, 48, 64), codec="libx264", audio="aac", timecode="01:02:03:04",
                     tags={"sample_aspect_ratio": Fraction(16, 15)}, metadata={"title": "Reel 4"})  # fmt: skip
    info = probe(path)
    assert info.timecode == "01:02:03:04" and info.sample_aspect == Fraction(16, 15) and info.metadata["title"] == "Reel 4"
    assert [(a.codec, a.rate, a.channels) for a in info.audio] == [("aac", 44100, 2)]
    again = pickle.loads(pickle.dumps(info))
    assert again.to_json() == info.to_json()
    np.testing.assert_array_equal(again.frames.pts, info.frames.pts)
    told = json.loads(json.dumps(info.to_json()))
    assert told["frames"] == 5 and told["vfr"] is False and told["timebase"] == str(info.frames.timebase)


def test_field_order(tmp_path: Path) -> None:
    assert probe(make_film(tmp_path / "i.mkv", ramp(2, 48, 64), tags={"field_order": 3})).field_order == "bb"
