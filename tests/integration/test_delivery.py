"""A film through the real runtime, delivered to a disk and to an object store, checked by other people's tools and by ours."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import bagit
import fsspec
import pytest

from dvcp.delivery.deliver import deliver_bag
from dvcp.delivery.mark import read_mark, recipe
from dvcp.delivery.verify import verify_bag
from dvcp.media.probe import probe
from dvcp.media.source import content_digest
from dvcp.methods import create
from dvcp.runtime.driver import Driver
from dvcp.runtime.job import Job, JobSettings, deliver, prepare, propagate, verify_output
from dvcp.runtime.plan import ENGINE
from dvcp.store import files
from tests.films import Film, make_film, small_weights

pytestmark = pytest.mark.slow


def dvcp(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "dvcp.cli", *map(str, arguments)], capture_output=True, text=True, timeout=280)


def run(actors: Driver, film: Film, out: Path, method: str, **more: object) -> Job:
    job = prepare(JobSettings(str(film.gray), str(film.stills), str(out), method=method, segment_frames=16, **more))  # type: ignore[arg-type]
    propagate(job, lambda *_: None, actors)
    deliver(job)
    return job


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Film:
    return make_film(tmp_path_factory.mktemp("delivery"), lengths=(7, 6), painted=((0,), (4,)))


@pytest.fixture(scope="module")
def master(actors: Driver, film: Film) -> str:
    return run(actors, film, film.gray.with_name("out.mkv"), "copy").output.file_url


def test_a_job_marks_its_master_and_tells_all_of_each_shot(actors: Driver, film: Film, tmp_path: Path) -> None:
    weights = {"weights": str(small_weights(tmp_path / "w.safetensors"))}
    job = run(actors, film, tmp_path / "out.mkv", "dvcp", options=weights)
    assert verify_output(job.output.file_url, str(film.gray))[1] == []
    told = json.loads(files.get_bytes(job.output.report_url("provenance.json")) or b"")
    method = create("dvcp", **weights)
    for number, shot in enumerate(told["shots"], 1):
        assert (shot["number"], shot["method"], shot["method_digest"], shot["engine"]) == (number, "dvcp", method.digest(), ENGINE)
        assert shot["weights"] == method.weights_digest and 0 < shot["confidence"] <= 1 and shot["kind"] == "gray"
        assert [content_digest(r["file"]) for r in shot["references"]] == [r["sha256"] for r in shot["references"]] != []
    mark = read_mark(probe(job.output.file_url).metadata)
    assert mark is not None and mark.source == content_digest(str(film.gray))
    assert mark.recipe == recipe(segment["key"] for segment in told["segments"])
    deliver_bag(job.output.file_url, str(film.gray), str(tmp_path / "bag"), ["layer"])
    assert bagit.Bag(str(tmp_path / "bag")).validate() and verify_bag(str(tmp_path / "bag"), str(film.gray)).problems == ()


def test_a_bag_in_an_object_store_is_a_bag_when_it_is_fetched(master: str, film: Film, tmp_path: Path, s3_url: str) -> None:
    url = f"{s3_url}/reel"
    done = deliver_bag(master, str(film.gray), url)
    verdict = verify_bag(url, str(film.gray))
    assert verdict.problems == () and verdict.seal == done.seal and len(verdict.films) == 4
    fsspec.filesystem("s3").get(url, str(tmp_path / "reel"), recursive=True)
    assert bagit.Bag(str(tmp_path / "reel")).validate()
    assert verify_bag(str(tmp_path / "reel")).problems == ()
    files.put_bytes(b"0" * 40, f"{url}/data/shots.csv")
    assert any("shots.csv: sha256 is not" in problem for problem in verify_bag(url).problems)


def test_a_film_without_colour_is_delivered_too(actors: Driver, film: Film, tmp_path: Path) -> None:
    job = run(actors, film, tmp_path / "gray.mkv", "gray")
    deliver_bag(job.output.file_url, str(film.gray), str(tmp_path / "bag"), ["access"])
    assert bagit.Bag(str(tmp_path / "bag")).validate() and verify_bag(str(tmp_path / "bag"), str(film.gray)).problems == ()


def test_the_command_line_delivers_verifies_and_applies(master: str, film: Film, tmp_path: Path) -> None:
    bag = tmp_path / "bag"
    done = dvcp("deliver", master, "--source", film.gray, "--bag", bag, "--profiles", "layer", "--json")
    assert done.returncode == 0, done.stderr
    seal = json.loads(done.stdout)["seal"]
    told = dvcp("verify", bag, "--source", film.gray, "--json")
    assert told.returncode == 0 and json.loads(told.stdout)["seal"] == seal, told.stderr
    applied = dvcp("apply", bag / "data" / "out.colour.mkv", film.gray, "--out", tmp_path / "again.mkv")
    assert applied.returncode == 0 and content_digest(str(tmp_path / "again.mkv")) == content_digest(master), applied.stderr
    assert dvcp("apply", bag / "data" / "out.colour.mkv", master, "--out", tmp_path / "b.mkv").returncode == 10
    (bag / "data" / "shots.csv").unlink()
    (bag / "data" / "more.txt").write_text("more")
    broken = dvcp("verify", bag)
    assert broken.returncode == 10 and "OK" not in broken.stdout
    assert {"data/shots.csv", "data/more.txt"} <= {line.removeprefix("dvcp: ").partition(":")[0] for line in broken.stderr.splitlines()}
    assert dvcp("verify", master).returncode == 2 and dvcp("verify", master, "--source", film.gray).returncode == 0


def test_a_killed_delivery_is_completed_by_the_same_command(master: str, film: Film, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dvcp.cli", "deliver", master, "--source", str(film.gray), "--bag", str(tmp_path / "bag")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    sidecar = tmp_path / "bag" / "data" / "out.mkv.synthetic.json"
    for _ in range(2400):
        if sidecar.exists() or process.poll() is not None:
            break
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert sidecar.exists() and not (tmp_path / "bag" / "bagit.txt").exists()
    assert verify_bag(str(tmp_path / "bag")).problems != ()
    written = sidecar.stat().st_mtime_ns
    assert subprocess.run(command, capture_output=True, timeout=280).returncode == 0
    assert sidecar.stat().st_mtime_ns == written, "what was whole is not made again"
    assert bagit.Bag(str(tmp_path / "bag")).validate() and verify_bag(str(tmp_path / "bag"), str(film.gray)).problems == ()
