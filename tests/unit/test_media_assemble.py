from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from dvcp.errors import MediaError
from dvcp.media.assemble import assemble
from dvcp.media.compare import compare
from dvcp.media.probe import probe
from dvcp.media.profiles import ACCESS, LAYER, MASTER, MEZZANINE, PROFILES, Profile
from dvcp.media.reader import FrameReader
from dvcp.media.writer import SegmentWriter
from dvcp.timing import Span
from tests.unit.media_clips import deliver, make_film, noise, ramp

B_FRAMES = {"bf": "3", "b-adapt": "0", "g": "12"}


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("profile", list(PROFILES.values()))
def test_sound_time_and_luma_survive(tmp_path: Path, suffix: str, profile: Profile) -> None:
    source = make_film(tmp_path / f"in.{suffix}", ramp(30, 48, 64), codec="libx264", options=B_FRAMES, audio="aac")
    out, warnings = deliver(source, tmp_path, profile, cuts=(0, 11, 12))
    result = compare(out, source, profile)
    assert warnings == [] and result.problems == () and result.frames == 30 and result.pts_differing == 0 and result.audio_equal
    assert result.lossy or result.differing_luma_samples == 0


@pytest.mark.parametrize("pix_fmt, depth", [("gray", 8), ("yuv420p", 8), ("yuv422p10le", 10), ("gray16le", 16)])
def test_odd_sizes_and_all_depths_round_trip(tmp_path: Path, pix_fmt: str, depth: int) -> None:
    source = make_film(tmp_path / "in.mkv", noise(7, 33, 47, depth), pix_fmt=pix_fmt)
    out, _ = deliver(source, tmp_path, MASTER, cuts=(0, 3))
    assert compare(out, source, MASTER).problems == ()


@pytest.mark.parametrize("profile", list(PROFILES.values()))
@pytest.mark.parametrize("start", [0, 7])
def test_vfr_and_odd_timebases_keep_their_times(tmp_path: Path, profile: Profile, start: int) -> None:
    pts = [start + p for p in itertools.accumulate([0, 1, 1, 5, 1, 2, 40, 1])]
    source = make_film(tmp_path / "in.nut", ramp(8, 48, 64), pts=pts, timebase=Fraction(1001, 30000))
    info = probe(source)
    assert info.vfr and int(info.frames.pts[0]) * info.frames.timebase == Fraction(1001 * start, 30000)
    out, warnings = deliver(source, tmp_path, profile, cuts=(0, 4))
    result = compare(out, source, profile)
    assert warnings == [] and result.problems == () and result.pts_differing == 0
    if profile is ACCESS:
        made = probe(out).frames
        shown = [int(p) * made.timebase for p in made.pts]
        assert shown == [Fraction(1001 * p, 30000) for p in pts], "MP4 counts finely enough to be exact"


@pytest.mark.parametrize("profile", list(PROFILES.values()))
def test_a_film_that_starts_before_zero_is_shifted_with_its_sound(tmp_path: Path, profile: Profile) -> None:
    source = make_film(tmp_path / "in.mkv", ramp(9, 48, 64), audio="pcm_s16le")
    info = probe(source)
    # no muxer here writes negative video times, but cut and captured files have them
    early = replace(info, frames=replace(info.frames, pts=info.frames.pts - 120))
    path = str(tmp_path / "s.mkv")
    with FrameReader(info) as reader, SegmentWriter(path, info, profile) as writer:
        writer.write(*reader.planes(Span(0, 9)))
    out = str(tmp_path / f"out{profile.suffix}")
    warnings = assemble([(path, Span(0, 9))], early, out, profile)
    assert len(warnings) == 1 and "shifted by 3/25 s" in warnings[0]
    made = probe(out).frames
    assert [int(p) * made.timebase for p in made.pts] == [Fraction(k, 25) for k in range(9)]
    if profile is LAYER:
        return
    with av.open(out) as container:
        sound = next(p for p in container.demux(audio=0) if p.size)
        assert sound.pts is not None and abs(sound.pts * sound.time_base - Fraction(120, 1000)) <= Fraction(1, 1000)


@pytest.mark.parametrize("profile", list(PROFILES.values()))
@pytest.mark.parametrize("aspect", [Fraction(16, 15), Fraction(10, 11), Fraction(1)])
def test_sample_aspect_timecode_tags_and_rate(tmp_path: Path, profile: Profile, aspect: Fraction) -> None:
    source = make_film(
        tmp_path / "in.mp4", ramp(10, 48, 66), codec="libx264", timecode="10:00:00:00", audio="aac", metadata={"title": "Reel 4"},
        tags={"sample_aspect_ratio": aspect, "colorspace": 5, "color_range": 1, "color_primaries": 5, "color_trc": 5},
    )  # fmt: skip
    out, warnings = deliver(source, tmp_path, profile)
    info = probe(out)
    assert warnings == []
    assert (info.sample_aspect, info.timecode, info.average_rate, info.vfr) == (aspect, "10:00:00:00", 25, False)
    assert {k.lower(): v for k, v in info.metadata.items()}["title"] == "Reel 4"
    assert (info.colour.matrix, info.colour.primaries, info.colour.transfer, info.colour.assumed) == ("bt601", 5, 5, False)
    with av.open(out) as container:
        assert container.streams.video[0].codec_context.colorspace == 5


def test_the_master_is_deterministic(tmp_path: Path) -> None:
    source = make_film(tmp_path / "in.mp4", ramp(10, 48, 64), codec="libx264", audio="aac")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first, second = (Path(deliver(source, tmp_path / name, MASTER, cuts=(0, 5))[0]).read_bytes() for name in ("a", "b"))
    assert first == second


def test_segment_cuts_leave_no_trace(tmp_path: Path) -> None:
    source = make_film(tmp_path / "in.mkv", noise(9, 48, 64))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    whole, _ = deliver(source, tmp_path / "a", MASTER)
    cut, _ = deliver(source, tmp_path / "b", MASTER, cuts=(0, 1, 6))
    assert Path(whole).read_bytes() == Path(cut).read_bytes()


def test_a_stream_the_container_cannot_take_is_told(tmp_path: Path) -> None:
    source = str(tmp_path / "in.mkv")
    plain = make_film(tmp_path / "plain.mkv", ramp(5, 48, 64))
    with av.open(plain) as container, av.open(source, "w") as out:
        video = out.add_stream_from_template(container.streams.video[0], opaque=True)
        text = out.add_mux_stream("subrip")
        for packet in container.demux(video=0):
            if packet.size:
                packet.stream = video
                out.mux(packet)
        line = av.Packet(b"Good evening.")
        line.stream, line.pts, line.dts, line.duration, line.time_base = text, 40, 40, 80, Fraction(1, 1000)
        out.mux(line)
    assert [track.codec for track in probe(source).subtitles] == ["srt"]
    (tmp_path / "m").mkdir()
    master, warnings = deliver(source, tmp_path / "m", MASTER)
    assert warnings == []
    with av.open(master) as container:
        lines = [(p.pts, bytes(p)) for p in container.demux(subtitles=0) if p.size]
    assert lines == [(40, b"Good evening.")]
    access, warnings = deliver(source, tmp_path, ACCESS)
    assert len(warnings) == 1 and "subtitle (srt), is not copied: mp4 cannot hold it" in warnings[0]
    assert probe(access).subtitles == ()


def test_segments_must_cover_the_film_and_hold_what_they_say(tmp_path: Path) -> None:
    info = probe(make_film(tmp_path / "in.mkv", noise(6, 32, 32)))
    path = str(tmp_path / "s.mkv")
    with SegmentWriter(path, info, MASTER) as writer:
        writer.write(noise(3, 32, 32), np.full((3, 2, 16, 16), 128, np.uint8))
    out = str(tmp_path / "out.mkv")
    with pytest.raises(MediaError, match="segments hold 3 of 6 frames"):
        assemble([(path, Span(0, 3))], info, out, MASTER)
    with pytest.raises(MediaError, match="expected frame 3, found 4"):
        assemble([(path, Span(0, 3)), (path, Span(4, 6))], info, out, MASTER)
    with pytest.raises(MediaError, match="holds 3 frames instead of 2"):
        assemble([(path, Span(0, 2)), (path, Span(2, 6))], info, out, MASTER)
    with pytest.raises(MediaError, match="holds 3 frames instead of 4"):
        assemble([(path, Span(0, 4)), (path, Span(4, 6))], info, out, MASTER)
    other = probe(make_film(tmp_path / "other.mkv", noise(3, 48, 48)))
    with SegmentWriter(str(tmp_path / "t.mkv"), other, ACCESS) as writer:
        writer.write(noise(3, 48, 48), np.full((3, 2, 24, 24), 128, np.uint8))
    with pytest.raises(MediaError, match="other parameters than the first segment"):
        assemble([(path, Span(0, 3)), (str(tmp_path / "t.mkv"), Span(3, 6))], info, out, MASTER)


def test_every_track_keeps_its_language_and_chapters_stay(tmp_path: Path) -> None:
    source, plain = str(tmp_path / "in.mkv"), make_film(tmp_path / "plain.mkv", ramp(6, 48, 64), audio="flac")
    with av.open(plain) as container, av.open(source, "w") as out:
        video = out.add_stream_from_template(container.streams.video[0], opaque=True)
        twins = [out.add_stream_from_template(container.streams.audio[0], opaque=True) for _ in range(2)]
        for twin, language in zip(twins, ("ger", "fre"), strict=True):
            twin.metadata["language"] = language
        marks = {"id": 1, "start": 0, "end": 120, "time_base": Fraction(1, 1000), "metadata": {"title": "Titles"}}
        out.set_chapters([marks])  # type: ignore[list-item]
        for packet in container.demux():
            if not packet.size:
                continue
            if packet.stream.type == "video":
                packet.stream = video
                out.mux(packet)
                continue
            copy = av.Packet(bytes(packet))
            copy.pts, copy.dts, copy.duration, copy.time_base = packet.pts, packet.dts, packet.duration, packet.time_base
            for twin, block in zip(twins, (packet, copy), strict=True):
                block.stream = twin
                out.mux(block)
    for profile in (MASTER, ACCESS, MEZZANINE):
        made, warnings = deliver(source, tmp_path, profile)
        assert warnings == [] and compare(made, source, profile).problems == ()
        # MOV refuses FLAC
        codec = "pcm_s16le" if profile is MEZZANINE else "flac"
        # QuickTime knows French as fra
        french = "fra" if profile is MEZZANINE else "fre"
        assert [(track.codec, track.language) for track in probe(made).audio] == [(codec, "ger"), (codec, french)]
        with av.open(made) as container:
            assert [c["metadata"]["title"] for c in container.chapters()] == ["Titles"]


def test_names_with_colons_and_percent_signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_film(tmp_path / "plain.mkv", noise(3, 32, 32))
    (tmp_path / "plain.mkv").rename(tmp_path / "reel:4 100%d.mkv")
    monkeypatch.chdir(tmp_path)
    Path("out:1").mkdir()
    out, _ = deliver("reel:4 100%d.mkv", Path("out:1"), MASTER)
    assert compare(out, "reel:4 100%d.mkv", MASTER).problems == ()
