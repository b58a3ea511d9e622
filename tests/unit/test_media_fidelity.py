from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest

from dvcp.media.fidelity import Verdict, observed, outlook
from dvcp.media.probe import probe
from dvcp.media.profiles import LAYER, MASTER, MEZZANINE
from tests.unit.media_clips import deliver, make_film, noise


def _by_name(verdicts: tuple[Verdict, ...]) -> dict[str, tuple[str, str]]:
    return {v.property: (v.verdict, v.what) for v in verdicts}


def test_the_outlook_says_why(tmp_path: Path) -> None:
    tags = {"colorspace": 1, "color_range": 2, "color_primaries": 1, "color_trc": 1, "field_order": 2}
    info = probe(make_film(tmp_path / "in.mkv", noise(3, 48, 64, 12), pix_fmt="yuv420p12le", tags=tags))
    master, mezzanine = _by_name(outlook(info, MASTER)), _by_name(outlook(info, MEZZANINE))
    assert {verdict for verdict, _ in master.values()} == {"kept"}
    assert mezzanine["bit depth"] == ("changed", "12 to 10, rounded")
    assert mezzanine["range"] == ("changed", "full to limited")
    assert mezzanine["chroma grid"] == ("changed", "4:2:0 to 4:2:2")
    assert mezzanine["field order"] == ("kept", "tt")
    assert _by_name(outlook(info, LAYER))["luma samples"] == ("refused", "not in the layer; it stays with the source")
    assert json.loads(json.dumps([v.to_json() for v in outlook(info, LAYER)]))[0]["verdict"] == "refused"


def test_times_that_matroska_rounds_and_films_that_start_early_are_foretold(tmp_path: Path) -> None:
    info = probe(make_film(tmp_path / "in.mkv", noise(3, 48, 64)))
    assert _by_name(outlook(info, MASTER))["frame times"] == ("kept", "exact")
    early = replace(info, frames=replace(info.frames, pts=info.frames.pts - 120))
    assert _by_name(outlook(early, MEZZANINE))["frame times"] == ("changed", "the film starts before zero; everything is 3/25 s later")


def _remux(path: str, out: str, lose: int = -1, **facts: object) -> str:
    with av.open(path) as container, av.open(out, "w") as made:
        stream = made.add_stream_from_template(container.streams.video[0], opaque=True)
        for key, value in facts.items():
            setattr(stream.codec_context, key, value)
        for number, packet in enumerate(p for p in container.demux(video=0) if p.size):
            if number != lose:
                packet.stream = stream
                made.mux(packet)
    return out


@pytest.mark.parametrize("changed, facts", [
    ("sample aspect", {}), ("range", {"color_range": 2}), ("matrix, primaries, transfer", {"color_primaries": 9}),
    ("field order", {"field_order": 3}),
])  # fmt: skip
def test_a_silent_loss_is_observed(tmp_path: Path, changed: str, facts: dict[str, int]) -> None:
    tags = {"colorspace": 1, "color_range": 1, "color_primaries": 1, "color_trc": 1, "sample_aspect_ratio": 2, "field_order": 2}
    source = probe(make_film(tmp_path / "in.mp4", noise(3, 48, 64), codec="libx264", tags=tags, options={"bf": "0"}))
    out, _ = deliver(source.url, tmp_path, MASTER)
    expected = {v.property for v in outlook(source, MASTER) if v.verdict != "kept"}
    assert {v.property for v in observed(probe(out), source) if v.verdict != "kept"} == expected
    # written by PyAV alone, FFV1 in Matroska loses its sample aspect
    lost = {v.property for v in observed(probe(_remux(out, str(tmp_path / "lost.mkv"), **facts)), source) if v.verdict != "kept"}
    assert lost - expected == {changed, "sample aspect"}


def test_changed_luma_and_missing_frames_are_observed(tmp_path: Path) -> None:
    luma = noise(3, 48, 64)
    source = probe(make_film(tmp_path / "in.mkv", luma))
    other = luma.copy()
    other[2, 5, 7] ^= 1
    found = _by_name(observed(probe(make_film(tmp_path / "other.mkv", other)), source))
    assert found["luma samples"] == ("changed", "1 differ")
    short = _by_name(observed(probe(_remux(source.url, str(tmp_path / "short.mkv"), lose=2)), source))
    assert short["luma samples"][0] == short["frame times"][0] == "changed"


@pytest.mark.parametrize("ends, fate", [((40, 120), "kept"), ((30, 120), "changed")])
def test_chapters_with_gaps_are_closed_by_mov_and_that_is_foretold(tmp_path: Path, ends: tuple[int, int], fate: str) -> None:
    plain, path = make_film(tmp_path / "plain.mkv", noise(3, 48, 64)), str(tmp_path / "in.mkv")
    times = {"time_base": Fraction(1, 1000), "metadata": {"title": "Titles"}}
    marks = [times | {"id": k, "start": 40 * k, "end": end} for k, end in enumerate(ends)]
    with av.open(plain) as film, av.open(path, "w") as out:
        stream = out.add_stream_from_template(film.streams.video[0], opaque=True)
        out.set_chapters(marks)  # type: ignore[arg-type]
        for packet in film.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    source = probe(path)
    assert [(c.start * 1000, c.end * 1000) for c in source.chapters] == [(0, ends[0]), (40, ends[1])]
    for profile, expected in ((MASTER, "kept"), (MEZZANINE, fate)):
        made = probe(deliver(path, tmp_path, profile)[0])
        assert _by_name(outlook(source, profile))["chapters"][0] == _by_name(observed(made, source))["chapters"][0] == expected


def test_a_second_video_stream_is_told_to_be_left_out(tmp_path: Path) -> None:
    plain, path = make_film(tmp_path / "plain.mkv", noise(3, 48, 64)), str(tmp_path / "in.mkv")
    with av.open(plain) as film, av.open(path, "w") as out:
        streams = [out.add_stream_from_template(film.streams.video[0], opaque=True) for _ in range(2)]
        for packet in film.demux(video=0):
            if packet.size:
                copy = av.Packet(bytes(packet))
                copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
                for stream, block in zip(streams, (packet, copy), strict=True):
                    block.stream = stream
                    out.mux(block)
    source = probe(path)
    made, warnings = deliver(path, tmp_path, MASTER)
    assert _by_name(outlook(source, MASTER))["other streams"] == ("refused", "video stream (ffv1) (not carried)")
    assert _by_name(observed(probe(made), source))["other streams"][0] == "refused"
    assert len(warnings) == 1 and "stream 1, video (ffv1), is not copied: only one video stream" in warnings[0]
