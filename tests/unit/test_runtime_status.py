"""Files that say how a run stands: there while it goes on, gone when it ended well, telling when it did not; and what an actor counts."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dvcp.cli import app
from dvcp.runtime import board as boards
from dvcp.runtime.board import Board
from dvcp.runtime.meter import METRICS, Meter, table
from dvcp.runtime.plan import Segment
from dvcp.runtime.status import FOLDER, Pool, Status, UnderWay, Verdict, folder_of, now, read_runs
from dvcp.runtime.work import Progress
from dvcp.store import files
from dvcp.store.ledger import SegmentIdentity, SegmentRecord
from dvcp.timing import Span


def a_status(**changes: object) -> Status:
    at = now().isoformat()
    return replace(Status("run-1", "elsewhere", 1, at, at, asked=3, done=1), **changes)  # type: ignore[arg-type]


def segment(shot: int, first: int, stop: int, scout: bool = False) -> Segment:
    span = Span(first, stop)
    identity = SegmentIdentity("aa" * 32, span, span, first, stop - 1, Fraction(1, 24), (), "dd" * 32, "master", "1")
    return Segment(identity, shot, span, None, (), scout=scout)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "EVERY_S", 0.1)
    monkeypatch.setattr(boards, "FIRST_S", 0.1)


def wait_for(out: str, runs: set[str]) -> list[Status]:
    deadline = time.monotonic() + 60
    found = read_runs(out)
    while {status.run for status in found} != runs:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
        found = read_runs(out)
    return found


def put(status: Status, folder: Path, name: str = "run-1") -> None:
    (folder / FOLDER).mkdir(exist_ok=True)
    (folder / FOLDER / f"{name}.json").write_bytes(status.to_bytes())


def test_a_file_tells_what_was_written() -> None:
    told = a_status(
        pools={"decoder": Pool(100, 2.5, 0.5)}, under_way=(UnderWay("reel", "coloured", 100, 40, 7, 30),), lanes=(1, 2), failures=("a",),
        queue_bytes=5, left_s=9,
    )  # fmt: skip
    assert Status.from_bytes(told.to_bytes()) == told
    later = json.loads(told.to_bytes()) | {"of a later version": 1}
    assert Status.from_bytes(json.dumps(later).encode()) == told


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"3", b'{"run": 1}', b'{"pools": 3}'])
def test_what_is_no_status_is_told_apart(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        Status.from_bytes(data)
    put(a_status(), tmp_path)
    (tmp_path / FOLDER / "other.json").write_bytes(data)
    assert [s.run for s in read_runs(str(tmp_path))] == ["run-1"]


def test_verdicts() -> None:
    at = now()
    assert a_status().verdict(at) is Verdict.WELL
    assert a_status(failed=1).verdict(at) is Verdict.FAILED
    assert a_status(failed=1, ended=at.isoformat()).verdict(at) is Verdict.ENDED
    assert a_status().verdict(at + timedelta(seconds=50)) is Verdict.WELL
    assert a_status().verdict(at + timedelta(seconds=70)) is Verdict.SILENT
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    # On this machine nobody has to wait a minute to know.
    assert a_status(host=socket.gethostname(), pid=gone.pid).verdict(at) is Verdict.SILENT


def test_folders(tmp_path: Path) -> None:
    (tmp_path / "v1.0").mkdir()
    assert folder_of(f"{tmp_path}/v1.0") == f"{tmp_path}/v1.0/{FOLDER}"
    assert folder_of(f"{tmp_path}/film.mkv") == f"{tmp_path}/{FOLDER}"
    assert folder_of("s3://bucket/out/") == folder_of("s3://bucket/out") == f"s3://bucket/out/{FOLDER}"
    assert folder_of("s3://bucket/out/film.mkv") == f"s3://bucket/out/{FOLDER}"


def test_a_run_from_beginning_to_end(store_url: str, quick: None) -> None:
    out = store_url + "/"
    first, second = segment(1, 0, 30), segment(2, 30, 100)
    with Board(lambda: None) as board:
        board.expect(3)
        with board.film("s3://bucket/reel.mkv?X-Amz-Signature=abc", out) as film:
            assert wait_for(out, {board.run})[0].under_way[0].stage == "looked at"
            film.expects(100, [first, second, segment(2, 30, 100, scout=True)])
            film.report(first, Progress(10))
            film.report(second, Progress(20))
            film.report(second, None)
            time.sleep(0.2)  # or less than a second is left, at that pace
            status = board.status()
            assert (status.asked, status.open, status.done, status.frames_done, status.frames_to_do) == (3, 1, 0, 10, 90)
            assert status.under_way[0] == UnderWay("reel", "coloured", 100, 10, 2, 70)
            assert status.left_s is not None and status.left_s > 0
            film.report(first, Progress(20))
            film.report(first, SegmentRecord(first.identity, 30))
            film.report(second, Progress(70))
            film.report(second, SegmentRecord(second.identity, 70))
            assert board.status().under_way[0] == UnderWay("reel", "joined, verified", 100, 100)
        status = board.status()
        assert (status.open, status.done, status.frames_done, status.frames_to_do) == (0, 1, 100, 0)
        assert b"abc" not in status.to_bytes()
    assert read_runs(out) == [] and files.list_names(folder_of(out)) == []


def test_a_failure_stays_until_a_run_ends_well(tmp_path: Path, quick: None) -> None:
    out = f"{tmp_path}/"
    with Board(lambda: None) as board:
        with pytest.raises(ValueError), board.film("worse.mkv", out):
            wait_for(out, {board.run})
            raise ValueError
        with board.film("bad.mkv", out) as film:
            film.failed()
        with board.film("worse.mkv", out):
            pass
    (told,) = read_runs(out)
    assert told.verdict(now()) is Verdict.ENDED and told.failures == ("bad",) and (told.done, told.failed) == (1, 1)
    put(a_status(updated="2020-01-01T00:00:00+00:00"), tmp_path, "killed")
    put(a_status(run="beside"), tmp_path, "beside")
    with Board(lambda: None) as board, board.film("bad.mkv", out):
        wait_for(out, {board.run, "beside"})
    assert [s.run for s in read_runs(out)] == ["beside"]


def test_a_short_run_that_ends_well_clears_up_behind_one_that_was_killed(tmp_path: Path) -> None:
    put(a_status(updated="2020-01-01T00:00:00+00:00"), tmp_path)
    with Board(lambda: None) as board, pytest.raises(ValueError), board.film("reel.mkv", f"{tmp_path}/"):
        raise ValueError
    assert len(read_runs(str(tmp_path))) == 1
    with Board(lambda: None) as board, board.film("reel.mkv", f"{tmp_path}/"):
        pass
    assert not (tmp_path / FOLDER).exists()


def test_a_place_that_cannot_be_written_fails_nothing(tmp_path: Path, quick: None) -> None:
    (tmp_path / "file").write_text("in the way")
    with Board(lambda: None) as board, board.film("reel.mkv", f"{tmp_path}/file/out/"):
        time.sleep(0.5)
    assert board.status().done == 1


def test_the_command(tmp_path: Path) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["status", *arguments])
        return result.exit_code, result.output

    assert run()[0] == 2
    assert run(str(tmp_path)) == (0, f"{tmp_path}: nothing is at work there\n")
    put(a_status(under_way=(UnderWay("reel", "coloured", 100, 40, 7, 30),), left_s=7260, queue_bytes=5_000_000), tmp_path)
    code, text = run(str(tmp_path))
    assert code == 0
    for part in ("at work, about 2 h 01 min left", "1 of 3 done", "40% of 100", "7: 30 frames left", "5.0 MB waiting", "? B spilled"):
        assert part in text, text
    put(a_status(updated="2020-01-01T00:00:00+00:00"), tmp_path, "killed")
    code, text = run(str(tmp_path))
    assert code == 1 and "NO SIGN OF LIFE since 2020-01-01T00:00:00+00:00" in text
    code, text = run(str(tmp_path), "--json")
    assert code == 1 and [r["verdict"] for r in json.loads(text)["runs"]] == ["well", "no sign of life"]


def test_an_actor_counts_its_work() -> None:
    meter = Meter("decoder")
    meter.add(16, 0.5)
    with meter.work(8):
        time.sleep(0.01)
    with meter.work():
        pass
    tally = meter.tally("worker")
    assert (tally.pool, tally.worker, tally.frames) == ("decoder", "worker", 24) and 0.51 <= tally.seconds < 5


def test_names_are_prometheus_own_style() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert re.fullmatch("dvcp_[a-z_]+", metric.name) and metric.help.endswith(".")
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert bool(metric.bounds) == (metric.kind == "histogram")
        assert f"`ray_{metric.name}`" in table()


def test_none_of_it_needs_ray() -> None:
    code = "import sys; import dvcp.runtime.meter as m, dvcp.runtime.status; m.FRAMES.tell(1, pool='x'); assert 'ray' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
