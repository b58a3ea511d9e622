"""``dvcp plan`` against what then happens, and the simulation against a real crew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dvcp.planning.headers import read_headers
from dvcp.planning.stretches import draw, look_at_all
from dvcp.runtime.expendable import Expendable
from tests.films import Film, make_film

pytest.importorskip("simpy")
SIZE = (192, 256)
#: how far a plan may be from what happens
FACTOR = 2


def dvcp(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "dvcp.cli", *map(str, arguments)]
    # Never a Ray that something else on this machine has left running.
    return subprocess.run(call, capture_output=True, text=True, timeout=280, env={**os.environ, "RAY_ADDRESS": "local"})


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Film]:
    folder = tmp_path_factory.mktemp("plan")
    lengths = ((60, 40, 50), (90, 30), (45, 45, 30, 30))
    return [
        make_film(folder, name=f"film{k}", lengths=shots, painted=((0,),) * len(shots), size=SIZE)
        for k, shots in enumerate(lengths)
    ]


def test_headers_say_what_films_hold_and_unreadable_ones_do_not_stop_the_rest(films: list[Film], tmp_path: Path) -> None:
    broken, empty = tmp_path / "broken.mkv", tmp_path / "empty.mkv"
    broken.write_bytes(b"no film " * 1000)
    empty.touch()
    urls = [str(broken), *(str(film.gray) for film in films), str(empty), str(tmp_path / "none.mkv")]
    found, failed = read_headers(urls)
    assert [header.url for header in found] == urls[1:4]
    assert [(header.width, header.height, header.depth) for header in found] == [(256, 192, 8)] * 3
    assert all(abs(header.frames - film.frames) <= 1 for header, film in zip(found, films, strict=True))
    assert set(failed) == {urls[0], *urls[4:]} and all(url in line for url, line in failed.items())


def test_stretches_find_the_cuts(films: list[Film]) -> None:
    found, _ = read_headers([str(film.gray) for film in films])
    with Expendable() as child:
        stretches, failed = look_at_all([(header, 0) for header in found], child)
        assert not failed and [s.cuts for s in stretches] == [len(film.cuts) for film in films]
        assert [s.frames for s in stretches] == [film.frames for film in films]
        later, _ = look_at_all(draw(found, 5, 1, frames=40), child)
        assert len(later) == 5 and all(s.frames >= 39 and s.decode_s > 0 for s in later)


@pytest.mark.night  # it compares seconds: nothing else may run beside it
def test_the_plan_is_within_a_factor_of_what_happens(films: list[Film], tmp_path: Path) -> None:
    sources = [film.gray for film in films]
    kept = tmp_path / "calibration.json"
    how = ("--method", "copy", "--sample", "6", "--save-calibration", kept, "--json")
    asked = dvcp("plan", *sources, "--references", films[0].stills, *how)
    assert asked.returncode == 0, asked.stderr
    plan = json.loads(asked.stdout)
    stills = tmp_path / "stills"
    stills.mkdir()
    for film in films:
        for still in film.stills.iterdir():
            (stills / still.name).symlink_to(still)
    began = time.monotonic()
    done = dvcp("colorize", *sources, "--references", stills, "--method", "copy", "--out", f"{tmp_path}/out/", "--json")
    took = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    written = sum(Path(outcome["out"]).stat().st_size for outcome in outcomes)
    shots = sum(outcome["shots"] for outcome in outcomes)
    frames = sum(film.frames for film in films)
    print(f"predicted {plan['hours']['middle'] * 3600:.1f} s, measured {took:.1f} s for {frames} frames")
    print(f"predicted {plan['bytes_out']['middle'] / 1e6:.2f} MB, measured {written / 1e6:.2f} MB out")
    print(f"predicted {plan['shots']['low']:.1f} to {plan['shots']['high']:.1f} shots, found {shots}")
    assert abs(plan["frames"] - frames) <= 3 and plan["stills"] == len(films[0].cuts) + 1
    assert took / FACTOR < plan["hours"]["middle"] * 3600 < took * FACTOR
    assert written / FACTOR < plan["bytes_out"]["middle"] < written * FACTOR
    assert plan["shots"]["low"] / FACTOR < shots < plan["shots"]["high"] * FACTOR
    # A plan for other machines from the figures kept: no measuring, and another crew.
    other = dvcp("plan", *sources, "--method", "copy", "--calibration", kept, "--sample", "3", "--gpus", "4", "--cores", "64", "--json")
    assert other.returncode == 0 and json.loads(other.stdout)["crew"]["gpus"] == 4, other.stderr
    refused = dvcp("plan", *sources, "--method", "gray", "--calibration", kept)
    assert refused.returncode == 2 and "copy" in refused.stderr
