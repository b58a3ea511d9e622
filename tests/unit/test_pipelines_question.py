"""What is asked of a film changes with what may serve that film, and with nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dvcp.runtime.job import JobSettings
from dvcp.runtime.references import Missing
from pipelines.question import questions

FILMS = ("/reels/one.mkv", "/reels/two.mkv", "/reels/reel_f2.mkv")


@pytest.fixture
def stills(tmp_path: Path) -> Path:
    folder = tmp_path / "stills"
    folder.mkdir()
    for name in ("one_s0001_f000000.png", "two_s0001_f000003.png", "reel_f2_s0001_f000000.png", "two_shots.json", "museum.jpg"):
        (folder / name).write_text(name)
    return folder


def asked(settings: JobSettings) -> dict[str, str]:
    digest = questions(settings)
    return {film: digest(film) for film in FILMS}


def touched(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {film for film in FILMS if before[film] != after[film]}


@pytest.mark.parametrize(
    ("name", "films"),
    [
        ("one_s0001_f000000.png", {FILMS[0]}),
        ("two_s0002_f000009.png", {FILMS[1]}),
        ("two_shots.json", {FILMS[1]}),
        ("TWO_f000004.png", {FILMS[1]}),
        ("reel_f2_s0001_f000000.png", {FILMS[2]}),
        ("museum.jpg", set(FILMS)),
        ("f000001.png", set(FILMS)),
        ("another_s0001_f000000.png", set()),
    ],
)
def test_a_picture_concerns_the_films_it_may_serve(stills: Path, name: str, films: set[str]) -> None:
    settings = JobSettings("", str(stills), "/out/")
    before = asked(settings)
    assert asked(settings) == before
    (stills / name).write_text("painted anew")
    assert touched(before, asked(settings)) == films


CHANGES: dict[str, Callable[[JobSettings], JobSettings]] = {
    "method": lambda s: replace(s, method="copy"),
    "options": lambda s: replace(s, options={"working_height": 240}),
    "profile": lambda s: replace(s, profile="access"),
    "missing": lambda s: replace(s, missing=Missing.GRAY),
    "take": lambda s: replace(s, take=2),
    "no pictures": lambda s: replace(s, references=None),
}


@pytest.mark.parametrize("what", CHANGES)
def test_another_question_concerns_all(stills: Path, what: str) -> None:
    settings = JobSettings("", str(stills), "/out/")
    assert touched(asked(settings), asked(CHANGES[what](settings))) == set(FILMS)


def test_what_changes_no_picture_asks_nothing_new(stills: Path) -> None:
    settings = JobSettings("", str(stills), "/out/")
    assert asked(replace(settings, silence_s=1, segment_frames=8, out="/elsewhere/")) == asked(settings)


def test_weights_and_a_manifests_pictures_count(stills: Path) -> None:
    weights, manifest = stills / "w.safetensors", stills / "which.csv"
    weights.write_bytes(b"one")
    manifest.write_text("image,frame\none_s0001_f000000.png,0\n")
    settings = JobSettings("", str(manifest), "/out/", options={"weights": str(weights)})
    before = asked(settings)
    weights.write_bytes(b"three")
    after = asked(settings)
    assert touched(before, after) == set(FILMS)
    manifest.write_text("image,frame\none_s0001_f000000.png,1 \n")
    again = asked(settings)
    assert touched(after, again) == set(FILMS)
    (stills / "one_s0001_f000000.png").write_text("painted anew")
    assert FILMS[0] in touched(again, asked(settings))


@pytest.mark.parametrize("option", ["weights", "generator_weights", "flow_weights"])
def test_every_file_of_weights_counts(stills: Path, option: str) -> None:
    weights = stills / "w.pth"
    weights.write_bytes(b"one")
    settings = JobSettings("", None, "/out/", options={option: str(weights)})
    before = asked(settings)
    weights.write_bytes(b"three")
    assert touched(before, asked(settings)) == set(FILMS)
