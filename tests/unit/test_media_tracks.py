from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from dvcp.media.compare import compare
from dvcp.media.fidelity import outlook
from dvcp.media.probe import probe
from dvcp.media.profiles import ACCESS, LAYER, MASTER, MEZZANINE, Profile
from dvcp.media.tracks import rehearse
from tests.integration.reels import REELS, make_reel, prepare
from tests.unit.media_clips import deliver, make_film, noise


def _reel(name: str, folder: Path) -> str:
    prepare(folder)
    return make_reel(next(reel for reel in REELS if reel.name == name), "420", 8, folder)


def test_tracks_chapters_tags_and_attachments_are_told(tmp_path: Path) -> None:
    info = probe(_reel("ntsc", tmp_path))
    assert [(t.codec, t.language, t.disposition) for t in info.audio] == [("pcm_s24le", "eng", ("default",)), ("flac", "fre", ("comment",))]
    assert [t.codec for t in info.subtitles] == ["ssa", "srt"]
    assert [(float(c.start), float(c.end), c.title) for c in info.chapters] == [(0, 0.08, "Titles"), (0.08, 0.16, "Harbour")]
    assert info.tags == (("SCANNER", "Arri"),) and info.others == ("attachment note.txt (text/plain)", "cover art (mjpeg)")
    assert (info.rotation, info.turn.mirrored) == (90, False)
    told = info.to_json()
    assert told["rotation"] == 90 and told["chapters"][1] == {"start": "2/25", "end": "4/25", "title": "Harbour"}
    assert told["audio"][0]["codec"] == "pcm_s24le" and told["tags"] == {"SCANNER": "Arri"}


def test_a_container_is_asked_and_not_a_table(tmp_path: Path) -> None:
    found = rehearse(_reel("scan", tmp_path), "mov")
    assert [(r.plan.language, r.track.language) for r in found.values() if r] == [("ger", "ger")], "QuickTime has no deu"
    assert [r.track.language for r in rehearse(str(tmp_path / "scan-420-8.mkv"), "mp4").values() if r] == ["deu"]


@pytest.mark.parametrize("profile", [MASTER, MEZZANINE, ACCESS, LAYER])
def test_extra_tags_are_read_back_and_take_the_place_of_the_sources(tmp_path: Path, profile: Profile) -> None:
    source = _reel("pal", tmp_path)
    extra = {"DVCP_SYNTHETIC_COLOUR": "the colour of this film is synthetic: käse", "comment": "coloured"}
    out, _ = deliver(source, tmp_path, profile, extra_tags=extra)
    found = {key.upper(): value for key, value in probe(out).metadata.items()}
    assert {key: found.get(key.upper()) for key in extra} == extra
    assert (found["TITLE"], found["ARCHIVE_ID"]) == ("Reel 4", "1931/12")


def test_chapters_move_with_a_film_that_starts_before_zero(tmp_path: Path) -> None:
    info = probe(_reel("tape", tmp_path))
    early = replace(info, frames=replace(info.frames, pts=info.frames.pts - 120))
    made = probe(deliver(info.url, tmp_path, MASTER, info=early)[0])
    assert [float(mark.start) for mark in made.chapters] == [0.12, 0.2]


@pytest.mark.parametrize("bits, form, codec", [(16, "s16", "pcm_s16le"), (24, "s32", "pcm_s24le")])
def test_flac_that_mov_refuses_becomes_pcm_of_the_same_samples(tmp_path: Path, bits: int, form: str, codec: str) -> None:
    sound = np.random.default_rng(0).integers(-(1 << (bits - 1)), 1 << (bits - 1), (1, 2 * 9000)) << (0 if bits == 16 else 8)
    source, plain = str(tmp_path / "in.mkv"), make_film(tmp_path / "plain.mkv", noise(5, 48, 64))
    with av.open(plain) as film, av.open(source, "w") as out:
        video = out.add_stream_from_template(film.streams.video[0], opaque=True)
        track = out.add_stream("flac", rate=48000, layout="stereo", format=form)
        for packet in film.demux(video=0):
            if packet.size:
                packet.stream = video
                out.mux(packet)
        block = av.AudioFrame.from_ndarray(sound.astype(np.int16 if bits == 16 else np.int32), format=form, layout="stereo")
        block.sample_rate, block.pts, block.time_base = 48000, 0, Fraction(1, 48000)
        out.mux(track.encode(block))
        out.mux(track.encode(None))
    made, warnings = deliver(source, tmp_path, MEZZANINE)
    assert warnings == [] and compare(made, source, MEZZANINE).problems == ()
    with av.open(made) as container:
        stream = container.streams.audio[0]
        assert stream.codec_context.name == codec
        np.testing.assert_array_equal(np.concatenate([f.to_ndarray() for f in container.decode(stream)], axis=1), sound)
    foretold = next(v for v in outlook(probe(source), MEZZANINE) if v.property == "audio 1")
    assert foretold.verdict == "changed" and foretold.what.startswith(f"codec flac becomes {codec}")


def test_timed_text_becomes_plain_in_matroska(tmp_path: Path) -> None:
    made, warnings = deliver(_reel("phone", tmp_path), tmp_path, MASTER)
    assert warnings == [] and [(t.codec, t.language) for t in probe(made).subtitles] == [("srt", "ger")]
    with av.open(made) as container:
        lines = [(p.pts, p.duration, bytes(p)) for p in container.demux(subtitles=0) if p.size]
    assert lines == [(40, 80, b"Good evening.")]
