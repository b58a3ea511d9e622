"""A reel as archives have them: leader, gray, colour, a tinted print, fields of two moments, and a frame nobody can decode."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dvcp.colour import unit_to_chroma
from dvcp.delivery.deliver import deliver_bag
from dvcp.delivery.derive import apply_layer
from dvcp.delivery.verify import verify_bag
from dvcp.loop import colorize_frames
from dvcp.media.probe import probe
from dvcp.media.reader import FrameReader, damaged_luma
from dvcp.media.stills import frame_to_rgb, read_still, reference_from_still, write_still
from dvcp.methods import create
from dvcp.methods.fields import by_fields
from dvcp.runtime.driver import Driver
from dvcp.runtime.job import Job, JobSettings, deliver, prepare, propagate, verify_output
from dvcp.runtime.references import Missing
from dvcp.shots.names import still_name
from dvcp.shots.survey import Kind
from dvcp.shots.timeline import from_cuts, write_shots
from dvcp.timing import Span
from tests.films import framemd5, scene, write_planes
from tests.unit.media_clips import damage

pytestmark = pytest.mark.slow
LEADER, GRAY, COLOUR, TINTED, WOVEN = Span(0, 10), Span(10, 30), Span(30, 42), Span(42, 54), Span(54, 74)
LOST = 17


@pytest.fixture(scope="module")
def reel(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The film and the folder with its shot list and two painted stills: of the gray shot and of the woven one."""
    folder = tmp_path_factory.mktemp("mixed")
    none, moving = np.full((74, 2, 48, 64), 128, np.uint8), scene(14, 40)[0]
    luma = np.concatenate([np.full((10, 96, 128), 16, np.uint8), scene(10, 20)[0], scene(11, 12)[0], scene(12, 12)[0], moving[::2]])
    luma[54:, 1::2] = moving[1::2, 1::2]
    chroma = none.copy()
    chroma[COLOUR.first : COLOUR.stop] = scene(11, 12)[1]
    chroma[TINTED.first : TINTED.stop, 0], chroma[TINTED.first : TINTED.stop, 1] = 119, 138
    film = write_planes(folder / "reel.mkv", luma, chroma)
    damage(str(film), LOST)
    stills = folder / "painted"
    stills.mkdir()
    info = probe(str(film))
    cuts = [shot.first for shot in (GRAY, COLOUR, TINTED, WOVEN)]
    write_shots(from_cuts(str(film), info.average_rate, 74, cuts), str(stills / "reel_shots.json"))
    for shot, frame in ((2, 12), (5, 60)):
        rgb = frame_to_rgb(luma[frame], scene(20 + shot, 1)[1][0], info.colour)
        write_still(str(stills / still_name("reel", shot, frame)), rgb)
    return film, stills


@pytest.fixture(scope="module")
def job(reel: tuple[Path, Path], actors: Driver) -> Job:
    film, stills = reel
    done = prepare(JobSettings(str(film), str(stills), str(film.with_name("out.mkv")), "flow", missing=Missing.GRAY, segment_frames=16))
    propagate(done, lambda *_: None, actors)
    deliver(done)
    return done


def planes(url: str, span: Span) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    with FrameReader(probe(url)) as reader:
        return reader.planes(span)


def test_each_shot_gets_what_it_needs(job: Job) -> None:
    kinds = {number: character.kind for number, character in job.characters.items()}
    assert kinds == {1: Kind.BLANK, 2: Kind.GRAY, 3: Kind.COLOUR, 4: Kind.TINTED, 5: Kind.GRAY}
    assert job.info.damaged == (LOST,) and job.characters[5].fields
    said = " | ".join(job.warnings)
    assert "shot 3: in colour already" in said and "shot 4: tinted" in said and "shot 5: interlaced" in said
    assert "shot 1" not in said and "one frame cannot be decoded and delivered as plain gray (17)" in said
    out, source = job.output.file_url, job.info.url
    for span in (LEADER, COLOUR):
        assert np.array_equal(planes(out, span)[1], planes(source, span)[1])
    assert (planes(out, TINTED)[1] == 128).all(), "a tinted print without a picture stays gray"
    assert np.ptp(planes(out, GRAY)[1]) > 20 and np.ptp(planes(out, WOVEN)[1]) > 20


def test_a_lost_frame_is_plain_gray_and_colour_goes_on_behind_it(job: Job) -> None:
    luma, chroma = planes(job.output.file_url, Span(LOST, LOST + 2))
    assert (luma[0] == damaged_luma(job.info.colour)).all() and (chroma[0] == 128).all()
    assert np.ptp(chroma[1]) > 20


def test_fields_stream_like_the_plain_loop(job: Job) -> None:
    with FrameReader(job.info) as reader:
        luma = reader.luma(WOVEN)
    source = next(a for a in job.assignments if a.shot == 5).sources[0]
    assert source.frame is not None
    at = source.frame - WOVEN.first
    reference = reference_from_still(read_still(source.url), job.info, luma[at], fields=True)[0]
    found = colorize_frames(by_fields(create("flow")), luma, {at: reference}, job.info.colour)
    assert np.array_equal(planes(job.output.file_url, WOVEN)[1], unit_to_chroma(found.planes, job.info.colour))


def test_it_verifies_and_nothing_is_computed_twice(job: Job) -> None:
    comparison, problems = verify_output(job.output.file_url, job.info.url)
    assert problems == [] and comparison.damaged_frames == 1 and comparison.differing_luma_samples == 0
    assert prepare(job.settings).todo() == []


def test_a_good_frame_cannot_be_called_damaged(job: Job) -> None:
    url = job.output.report_url("provenance.json")
    honest = Path(url).read_text()
    Path(url).write_text(json.dumps(json.loads(honest) | {"damaged": [[LOST, LOST], [20, 20]]}))
    try:
        problems = verify_output(job.output.file_url, job.info.url)[1]
    finally:
        Path(url).write_text(honest)
    assert any("frame 20 was delivered as damaged, but the source can be read there" in p for p in problems)


def test_who_paints_a_frame_of_a_colour_shot_has_it_coloured_anew(reel: tuple[Path, Path], job: Job, tmp_path: Path) -> None:
    still = tmp_path / still_name("reel", 3, 33)
    write_still(str(still), frame_to_rgb(planes(job.info.url, Span(33, 34))[0][0], scene(30, 1)[1][0], job.info.colour))
    settings = replace(job.settings, references=str(still), shots=str(reel[1] / "reel_shots.json"), out=str(tmp_path / "out.mkv"))
    again = prepare(settings)
    assert [s.through for s in again.segments if s.shot == 3] == [False] * sum(1 for s in again.segments if s.shot == 3)
    assert any(s.legs for s in again.segments if s.shot == 3)


def test_it_is_delivered_with_its_damage_and_put_together_again(job: Job, tmp_path: Path) -> None:
    done = deliver_bag(job.output.file_url, job.info.url, str(tmp_path / "bag"), ("master", "layer"))
    verdict = verify_bag(done.url, job.info.url)
    assert verdict.problems == () and len(verdict.films) == 2
    told = json.loads((tmp_path / "bag" / "data" / "provenance.json").read_text())
    assert told["damaged"] == [[LOST, LOST]] and [s["kind"] for s in told["shots"]] == ["blank", "gray", "colour", "tinted", "gray"]
    layer = next(str(path) for path in (tmp_path / "bag" / "data").rglob("*.colour.mkv"))
    again, _ = apply_layer(layer, job.info.url, str(tmp_path / "again.mkv"))
    assert framemd5(again) == framemd5(job.output.file_url)
