"""A film through the real runtime: the same pixels as the plain loop, resume by segment, and outputs that verify."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dvcp.colour import unit_to_chroma
from dvcp.errors import ConfigError, MediaError, ReferenceError, StoreError
from dvcp.loop import colorize_frames
from dvcp.media.probe import probe
from dvcp.media.profiles import MASTER, PROFILES
from dvcp.media.reader import FrameReader
from dvcp.media.stills import read_still, reference_from_still, write_still
from dvcp.methods import create
from dvcp.methods.base import Reference
from dvcp.runtime import guess
from dvcp.runtime.driver import Driver
from dvcp.runtime.job import Job, JobSettings, deliver, prepare, propagate, verify_output
from dvcp.runtime.references import Missing
from dvcp.shots.timeline import read_shots
from dvcp.store import files
from dvcp.timing import Span
from tests.films import Film, automatic_weights, framemd5, make_film, small_weights, texture

pytestmark = pytest.mark.slow


Run = Callable[[JobSettings], tuple[Job, int]]


@pytest.fixture(scope="module")
def run(actors: Driver) -> Run:
    """Runs a whole job on the module's actors; the job, and how many segments it computed."""

    def run(settings: JobSettings) -> tuple[Job, int]:
        job = prepare(settings)
        records = propagate(job, lambda *_: None, actors)
        deliver(job)
        return job, len(records)

    return run


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(small_weights(tmp_path_factory.mktemp("weights") / "w.safetensors"))


def settings(film: Film, out: Path | str, method: str = "flow", **more: object) -> JobSettings:
    base = JobSettings(str(film.gray), str(film.stills), str(out), method=method, segment_frames=16)
    return replace(base, **more)  # type: ignore[arg-type]


def plain_loop(job: Job) -> list[np.ndarray]:  # type: ignore[type-arg]
    """Native chroma of the whole film by :func:`colorize_frames`, shot by shot."""
    method, out = create(job.settings.method, **job.settings.options), []
    assigned = {a.shot: a.sources for a in job.assignments}
    with FrameReader(job.info) as reader:
        for shot in job.shots.shots:
            luma = reader.luma(shot.span)
            references: dict[int, Reference] = {}
            for k, source in enumerate(assigned[shot.number], 1):
                own = None if source.frame is None else luma[source.frame - shot.span.first]
                at = -k if source.frame is None else source.frame - shot.span.first
                references[at] = reference_from_still(read_still(source.url), job.info, own)[0]
            out.append(unit_to_chroma(colorize_frames(method, luma, references, job.info.colour).planes, job.info.colour))
    return out


LAYOUTS = {"last": ((35,), ()), "both ends": ((0, 35), (10,)), "inside": ((7, 28), (0, 19))}


@pytest.mark.parametrize(
    ("method", "painted"),
    [*(pytest.param("dvcp", painted, id=f"dvcp-{name}") for name, painted in LAYOUTS.items()),
     pytest.param("exemplar", LAYOUTS["both ends"], id="exemplar-both ends"), pytest.param("flow", LAYOUTS["inside"], id="flow-inside")],
)  # fmt: skip
def test_streaming_equals_the_plain_loop_bit_for_bit(
    tmp_path: Path, run: Run, weights: str, method: str, painted: tuple[tuple[int, ...], ...]
) -> None:
    film = make_film(tmp_path, lengths=(36, 20), painted=painted)
    options = {} if method == "flow" else {"weights": weights}
    job, _ = run(settings(film, tmp_path / "out.mkv", method, options=options))
    assert len(job.segments) > 4
    with FrameReader(probe(job.output.file_url)) as reader:
        _, chroma = reader.planes(Span(0, film.frames))
    assert np.array_equal(chroma, np.concatenate(plain_loop(job)))
    assert verify_output(job.output.file_url, str(film.gray))[1] == []


def test_automatic_colour_streams_like_the_plain_loop(tmp_path: Path, run: Run) -> None:
    """Nothing painted, one frame in the middle, and two with so much between them that the backward leg comes in two parts."""
    weights = automatic_weights(tmp_path / "w.safetensors")
    film = make_film(tmp_path, lengths=(17, 6, 20), painted=((), (4,), (1, 19)))
    job, _ = run(settings(film, tmp_path / "out.mkv", "tcvc", options={"weights": str(weights), "anchor_gap": 4}))
    assert [a.guessed for a in job.assignments] == [True, False, False] and any(s.scout for s in job.plan)
    with FrameReader(probe(job.output.file_url)) as reader:
        _, chroma = reader.planes(Span(0, film.frames))
    assert np.array_equal(chroma, np.concatenate(plain_loop(job)))
    assert np.ptp(chroma) > 0 and verify_output(job.output.file_url, str(film.gray))[1] == []
    assert prepare(job.settings).todo() == []


def test_a_second_run_computes_nothing_and_a_new_still_only_its_shot(tmp_path: Path, run: Run) -> None:
    film = make_film(tmp_path)
    job, first = run(settings(film, tmp_path / "out.mkv"))
    assert first == len(job.segments)
    before = framemd5(tmp_path / "out.mkv")
    _, second = run(settings(film, tmp_path / "out.mkv"))
    assert second == 0
    assert framemd5(tmp_path / "out.mkv") == before
    still = next(film.stills.glob("*_s0002_*.png"))
    write_still(str(still), np.full((96, 128, 3), (200, 40, 40), np.uint8))
    job, third = run(settings(film, tmp_path / "out.mkv"))
    assert third == sum(1 for s in job.segments if s.shot == 2)
    after = framemd5(tmp_path / "out.mkv")
    assert after[: film.cuts[0]] == before[: film.cuts[0]]
    assert all(a != b for a, b in zip(after[film.cuts[0] :], before[film.cuts[0] :], strict=True))


def test_ten_bits_and_all_profiles_verify(tmp_path: Path, run: Run) -> None:
    film = make_film(tmp_path, depth=10)
    for profile in PROFILES.values():
        job, _ = run(settings(film, tmp_path / f"{profile.name}{profile.suffix}", profile=profile.name))
        comparison, problems = verify_output(job.output.file_url, str(film.gray))
        assert problems == []
        assert comparison.lossy == profile.lossy
        if profile is MASTER:
            assert probe(job.output.file_url).pix_fmt == "yuv420p10le"
            assert comparison.differing_luma_samples == 0


def test_verify_sees_a_changed_output_and_a_changed_segment(tmp_path: Path, run: Run) -> None:
    film = make_film(tmp_path)
    job, _ = run(settings(film, tmp_path / "out.mkv"))
    data = bytearray((tmp_path / "out.mkv").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "out.mkv").write_bytes(data)
    assert verify_output(job.output.file_url, str(film.gray))[1] != []
    run(settings(film, tmp_path / "out.mkv"))
    assert verify_output(job.output.file_url, str(film.gray))[1] == []
    segment = next((tmp_path / "out.dvcp" / "segments").iterdir())
    segment.write_bytes(segment.read_bytes()[:-1] + b"?")
    assert any("damaged" in p for p in verify_output(job.output.file_url, str(film.gray))[1])


@pytest.mark.parametrize(
    ("size", "lengths", "painted"), [((95, 127), (10,), ((3,),)), ((96, 128), (1,), ((0,),)), ((33, 47), (3,), ((1,),))]
)
def test_odd_sizes_and_single_frames(
    tmp_path: Path, run: Run, weights: str, size: tuple[int, int], lengths: tuple[int, ...], painted: tuple[tuple[int, ...], ...]
) -> None:
    film = make_film(tmp_path, lengths=lengths, painted=painted, size=size)
    job, _ = run(settings(film, tmp_path / "out.mkv", "dvcp", options={"weights": weights}))
    info = probe(job.output.file_url)
    assert (info.height, info.width, len(info.frames)) == (*size, sum(lengths))
    assert verify_output(job.output.file_url, str(film.gray))[1] == []


def test_a_shot_without_a_still(tmp_path: Path, run: Run) -> None:
    film = make_film(tmp_path, painted=((0,), ()))
    job, _ = run(settings(film, tmp_path / "near.mkv", "copy"))
    assert len(job.assignments[1].borrowed) == 1
    assert any("borrows" in w for w in job.warnings)
    assert verify_output(job.output.file_url, str(film.gray))[1] == []
    job, _ = run(settings(film, tmp_path / "gray.mkv", "copy", missing=Missing.GRAY))
    with FrameReader(probe(job.output.file_url)) as reader:
        _, chroma = reader.planes(Span(film.cuts[0], film.frames))
    assert (chroma == 128).all()
    with pytest.raises(ReferenceError, match="shot 2"):
        prepare(settings(film, tmp_path / "no.mkv", missing=Missing.ERROR))


def test_colours_nobody_chose_are_guessed_once_and_told(tmp_path: Path, run: Run, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Key frames coloured at plan time, kept in the object store beside the output, and propagated from there."""
    weights = str(automatic_weights(tmp_path / "w.safetensors"))
    monkeypatch.setattr(guess, "create", lambda name: create(name, weights=weights))
    film = make_film(tmp_path, lengths=(10, 9), painted=((8,), ()))
    asked = settings(film, f"{s3_url}/out.mkv", missing=Missing.AUTO)
    job, computed = run(asked)
    assert computed == len(job.segments) and verify_output(job.output.file_url, str(film.gray))[1] == []
    (source,) = job.assignments[1].sources
    with FrameReader(probe(job.output.file_url)) as reader:
        _, chroma = reader.planes(Span(0, film.frames))
    assert np.array_equal(chroma, np.concatenate(plain_loop(job)))
    told = json.loads(files.get_bytes(job.output.report_url("provenance.json")) or b"")
    assert [(r["shot"], r["frame"], r["guessed"]) for r in told["references"]] == [(1, 8, False), (2, source.frame, True)]
    assert [shot["guessed"] for shot in told["shots"]] == [False, True] and told["references"][1]["sha256"] == source.digest
    assert source.url.startswith(f"{s3_url}/out.dvcp/guessed/") and any(source.url in line for line in told["warnings"])
    assert prepare(asked).todo() == []
    painted = film.stills / source.url.rpartition("/")[2]
    write_still(str(painted), np.full((96, 128, 3), (200, 40, 40), np.uint8))
    again = prepare(asked)
    assert {s.shot for s in again.todo()} == {2} and not again.assignments[1].guessed


@pytest.mark.parametrize("method", ["dvcp", "exemplar"])
def test_a_folder_of_pictures_that_belong_to_no_shot(tmp_path: Path, run: Run, weights: str, method: str) -> None:
    """Names that say nothing, in an order that misleads: each shot takes the picture of its scene, and provenance says so."""
    film = make_film(tmp_path, lengths=(10, 9), painted=((8,), (7,)), scenes=texture)
    first, second = sorted(film.stills.glob("*.png"))
    (tmp_path / "museum").mkdir()
    first.rename(tmp_path / "museum" / "bridge.png")
    second.rename(tmp_path / "museum" / "anglers.png")
    noise = np.random.default_rng(0).integers(0, 255, (96, 128, 3)).astype(np.uint8)
    write_still(str(tmp_path / "museum" / "zebra.png"), noise)
    # exemplar makes colours from elsewhere stronger unless told not to
    options = {"weights": weights} | ({"saturation": 1.0} if method == "exemplar" else {})
    asked = settings(film, tmp_path / "out.mkv", method, options=options, references=str(tmp_path / "museum"), take=2)
    job, computed = run(replace(asked, shots=str(film.stills / "reel_shots.json")))
    assert computed == len(job.segments)
    assert verify_output(job.output.file_url, str(film.gray))[1] == []
    told = json.loads((tmp_path / "out.dvcp" / "provenance.json").read_text())
    chosen = [(r["shot"], Path(r["file"]).name, r["frame"]) for r in told["references"]]
    assert chosen == [(1, "bridge.png", None), (2, "anglers.png", None)]
    for reference, line in zip(told["references"], told["warnings"][-2:], strict=True):
        assert 0.7 < reference["borrowed"] <= 1
        assert line.endswith(f"borrows {reference['file']} (similarity {reference['borrowed']:.2f})")
        assert reference["sha256"] == hashlib.sha256(Path(reference["file"]).read_bytes()).hexdigest()
    with FrameReader(probe(job.output.file_url)) as reader:
        _, chroma = reader.planes(Span(0, film.frames))
    # Each scene has one colour throughout, so even untrained networks must find it in the right picture.
    for shot in job.shots.shots:
        _, painted = texture(shot.number + 9, 1)
        found = np.median(chroma[shot.span.first : shot.span.stop], axis=(0, 2, 3))
        assert np.abs(found - np.asarray(painted[0, :, 0, 0], np.float64)).max() <= 3


@pytest.mark.parametrize("method", ["exemplar"])
def test_several_pictures_from_elsewhere_stream_like_the_plain_loop_and_resume(tmp_path: Path, run: Run, weights: str, method: str) -> None:
    film = make_film(tmp_path, lengths=(36,), painted=((3, 30),))
    rows = []
    for number, still in enumerate(sorted(film.stills.glob("*.png"))):
        # A name with a frame's number would be taken for a painting of that frame.
        rows.append(f"{still.rename(still.with_name(f'museum{number}.png'))},,1")
    given = tmp_path / "given.csv"
    given.write_text("\n".join(["image,frame,shot", *rows]))
    asked = settings(film, tmp_path / "out.mkv", method, options={"weights": weights}, references=str(given))
    job, computed = run(replace(asked, shots=str(film.stills / "reel_shots.json")))
    assert computed == len(job.segments) == 3 and len(job.assignments[0].sources) == 2
    with FrameReader(probe(job.output.file_url)) as reader:
        _, chroma = reader.planes(Span(0, film.frames))
    assert np.array_equal(chroma, np.concatenate(plain_loop(job)))
    before = framemd5(tmp_path / "out.mkv")
    last = job.ledger.records()[-1]
    (tmp_path / "out.dvcp" / "ledger" / f"{last.key}.json").unlink()
    assert run(replace(asked, shots=str(film.stills / "reel_shots.json")))[1] == 1, "the state it begins with is still there"
    assert framemd5(tmp_path / "out.mkv") == before


def test_stills_that_raise_doubts_are_named(tmp_path: Path) -> None:
    film = make_film(tmp_path, painted=((0, 5), (0,)))
    first, second, third = sorted(film.stills.glob("*.png"))
    write_still(str(first), np.random.default_rng(0).integers(0, 255, (96, 128, 3)).astype(np.uint8))
    second.write_bytes(b"not a picture")
    picture = read_still(str(third)).rgb
    write_still(str(third), (picture[::2, ::2] * 255).astype(np.uint8))
    warnings = "\n".join(prepare(settings(film, tmp_path / "out.mkv")).warnings)
    assert "does not look like frame 0" in warnings
    assert second.name in warnings
    assert third.name in warnings and "128x96" in warnings


def test_an_output_made_from_something_else_is_refused(tmp_path: Path, run: Run) -> None:
    film, other = make_film(tmp_path, "one"), make_film(tmp_path, "two", lengths=(9, 9), painted=((0,), (0,)))
    run(settings(film, tmp_path / "out.mkv"))
    kept = (tmp_path / "out.mkv").read_bytes()
    with pytest.raises(StoreError, match="something else"):
        prepare(settings(other, tmp_path / "out.mkv"))
    assert (tmp_path / "out.mkv").read_bytes() == kept


def test_bad_films_give_one_line(tmp_path: Path) -> None:
    film = make_film(tmp_path)
    empty, text = tmp_path / "empty.mkv", tmp_path / "text.mkv"
    empty.touch()
    text.write_text("hello " * 100)
    for bad in (tmp_path / "missing.mkv", empty, text):
        with pytest.raises(MediaError) as caught:
            prepare(replace(settings(film, tmp_path / "out.mkv"), source=str(bad)))
        assert bad.name in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(ConfigError):
        prepare(replace(settings(film, tmp_path / "out.mp4")))


def test_output_in_an_object_store(tmp_path: Path, run: Run, s3_url: str) -> None:
    film = make_film(tmp_path)
    out = f"{s3_url}/night/out.mkv"
    job, computed = run(settings(film, out))
    assert computed == len(job.segments)
    assert verify_output(out, str(film.gray))[1] == []
    assert run(settings(film, out))[1] == 0


def test_edited_shot_list_is_used(tmp_path: Path) -> None:
    film = make_film(tmp_path)
    edited = tmp_path / "edited.csv"
    edited.write_text(f"shot,first,last\n1,0,{film.frames - 1}\n")
    job = prepare(settings(film, tmp_path / "out.mkv", shots=str(edited)))
    assert len(job.shots.shots) == 1
    assert read_shots(str(edited), film.frames, job.shots.rate, "x").digest() == job.shots.digest()
    shutil.rmtree(tmp_path / "out.dvcp")
