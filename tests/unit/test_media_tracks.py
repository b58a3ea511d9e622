from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dvcp.media.probe import probe
from dvcp.media.profiles import ACCESS, LAYER, MASTER, MEZZANINE, Profile
from dvcp.media.tracks import rehearse
from tests.integration.reels import REELS, make_reel, prepare
from tests.unit.media_clips import deliver


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
    assert [(r.language, r.track.language) for r in found.values() if r] == [("ger", "ger")], "QuickTime has no deu"
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
