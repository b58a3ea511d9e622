from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from dvcp.media.compare import compare
from dvcp.media.profiles import ACCESS, MASTER, PROFILES
from tests.unit.media_clips import WIDTH, announced, damage, deliver, make_film, noise, ramp


def _remux(path: str, out: str, keep=lambda packet: True, change=lambda packet: None) -> str:  # type: ignore[no-untyped-def]
    with av.open(path) as source, av.open(out, "w", container_options={"avoid_negative_ts": "disabled"}) as target:
        twins = {s.index: target.add_stream_from_template(s, opaque=True) for s in source.streams}
        for packet in source.demux():
            if packet.size and keep(packet):
                change(packet)
                packet.stream = twins[packet.stream_index]
                target.mux(packet)
    return out


def test_a_source_that_decodes_two_ways_is_named(tmp_path: Path) -> None:
    """What the data do not fill is painted over with the frame before, and where a segment begins there is none before."""
    options = {"level": "3", "coder": "range_def", "g": "1", "slicecrc": "0"}
    source = announced(Path(make_film(tmp_path / "in.mkv", noise(40, 256, 320), options=options)), WIDTH, 330)
    out, _ = deliver(source, tmp_path, MASTER, cuts=(0, 36))
    (problem,) = compare(out, source, MASTER).problems
    assert problem.endswith("luma samples differ, first in frame 36, where the source decodes to other samples each time")


@pytest.mark.parametrize("depth", [8, 10])
def test_one_altered_sample_is_found(tmp_path: Path, depth: int) -> None:
    luma = noise(12, 33, 47, depth)
    pix_fmt = "gray" if depth == 8 else "gray10le"
    source = make_film(tmp_path / "in.mkv", luma, pix_fmt=pix_fmt)
    luma[9, 32, 46] ^= 1
    changed = make_film(tmp_path / "other.mkv", luma, pix_fmt=pix_fmt)
    out, _ = deliver(changed, tmp_path, MASTER)
    result = compare(out, source, MASTER)
    assert (result.differing_luma_samples, result.frames_with_differing_luma) == (1, (9,))
    assert result.problems == ("1 luma samples differ, first in frame 9",)
    peak = (1 << depth) - 1
    assert result.min_luma_psnr == pytest.approx(10 * math.log10(peak * peak * 33 * 47))


def test_altered_times_are_found(tmp_path: Path) -> None:
    source = make_film(tmp_path / "in.mkv", ramp(8, 48, 64))
    out, _ = deliver(source, tmp_path, MASTER)
    assert compare(out, source, MASTER).problems == ()

    def late(packet: av.Packet) -> None:  # type: ignore[type-arg]
        if packet.pts == 120:
            packet.pts = packet.dts = 121

    shifted = _remux(out, str(tmp_path / "late.mkv"), change=late)
    result = compare(shifted, source, MASTER)
    assert result.pts_differing == 1 and result.problems == ("1 frames are not shown at the source's time",)


def test_a_missing_frame_is_found(tmp_path: Path) -> None:
    source = make_film(tmp_path / "in.mkv", ramp(8, 48, 64))
    out, _ = deliver(source, tmp_path, MASTER)
    short = _remux(out, str(tmp_path / "short.mkv"), keep=lambda packet: packet.pts != 280)
    assert "7 frames instead of 8" in compare(short, source, MASTER).problems


def test_sound_that_lacks_a_packet_or_comes_late_is_found(tmp_path: Path) -> None:
    source = make_film(tmp_path / "in.mp4", ramp(20, 48, 64), codec="libx264", audio="aac")
    out, _ = deliver(source, tmp_path, MASTER)
    fewer = _remux(out, str(tmp_path / "f.mkv"), keep=lambda p: p.stream.type != "audio" or not 100 < p.pts < 130)
    result = compare(fewer, source, MASTER)
    assert not result.audio_equal and result.problems == ("audio track 1 (aac) differs",)

    def late(packet: av.Packet) -> None:  # type: ignore[type-arg]
        if packet.stream.type == "audio":
            packet.pts, packet.dts = packet.pts + 21, packet.dts + 21

    result = compare(_remux(out, str(tmp_path / "l.mkv"), change=late), source, MASTER)
    assert not result.audio_equal and "not at the source's time" in result.problems[0]
    mute = _remux(out, str(tmp_path / "m.mkv"), keep=lambda p: p.stream.type != "audio")
    assert not compare(mute, source, MASTER).audio_equal


def test_pcm_may_be_cut_anew_by_mp4(tmp_path: Path) -> None:
    source = make_film(tmp_path / "in.mkv", ramp(20, 48, 64), audio="pcm_s16le")
    for profile in PROFILES.values():
        out, warnings = deliver(source, tmp_path, profile)
        result = compare(out, source, profile)
        assert warnings == [] and result.problems == () and result.audio_equal


def test_a_damaged_output_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    source = make_film(tmp_path / "in.mkv", noise(20, 48, 64))
    out, _ = deliver(source, tmp_path, MASTER)
    damage(out, 10)
    problems = compare(out, source, MASTER).problems
    assert len(problems) == 1 and "not compared" in problems[0] and "frame 10" in problems[0]


def test_access_is_judged_by_its_worst_frame(tmp_path: Path) -> None:
    soft = ramp(6, 48, 64)
    source = make_film(tmp_path / "in.mkv", soft)
    out, _ = deliver(source, tmp_path, ACCESS)
    good = compare(out, source, ACCESS)
    assert good.lossy and good.problems == () and good.min_luma_psnr > 30
    soft[4] = 255 - soft[4]
    bad = compare(out, make_film(tmp_path / "other.mkv", soft), ACCESS)
    assert bad.min_luma_psnr < 15 and "worst frame" in bad.problems[0]


def test_another_size_or_depth_is_a_problem(tmp_path: Path) -> None:
    source = make_film(tmp_path / "in.mkv", noise(2, 48, 64))
    for name, other in (("a", noise(2, 48, 66)), ("b", noise(2, 48, 64, 10))):
        (tmp_path / name).mkdir()
        film = make_film(tmp_path / name / "in.mkv", other, pix_fmt="gray" if other.dtype == np.uint8 else "gray10le")
        out, _ = deliver(film, tmp_path / name, MASTER)
        assert "instead of 64x48 with 8 bits" in compare(out, source, MASTER).problems[0]


def test_times_of_a_fast_clock_are_compared_as_matroska_rounds_them(tmp_path: Path) -> None:
    source = make_film(tmp_path / "in.nut", ramp(6, 48, 64), pts=[0, 45, 135, 225, 315, 405], timebase=Fraction(1, 90000))
    out, _ = deliver(source, tmp_path, MASTER)  # 0.5 ms and so on: halves round away from zero
    assert compare(out, source, MASTER).problems == ()
