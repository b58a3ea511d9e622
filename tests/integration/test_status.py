"""A real run on a Ray of its own: what Prometheus would get from the node, and what the run says of itself meanwhile."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.films import make_film

pytestmark = pytest.mark.slow

#: In a process of its own: numbers of other tests' actors stay at a node as long as it lives.
SCRIPT = """
import json, sys, threading, time, urllib.request
import ray
from typer.testing import CliRunner
from dvcp.cli import app
from dvcp.runtime import board, pools
from dvcp.runtime.batch import crew
from dvcp.runtime.settings import PoolSettings
from dvcp.runtime.job import JobSettings
from dvcp.runtime.status import read_runs

POOLS = ("decoder", "matcher", "propagator", "writer")
film, stills, out = sys.argv[1:]
board.EVERY_S = board.FIRST_S = pools._EVERY_S = 0.5
ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=150 << 20,
         _system_config={"metrics_report_interval_ms": 1000})

class Silent:
    def planned(self, job, todo): pass
    def report(self, segment, item): pass
    def warned(self, line): pass

def scrape():
    node = ray.nodes()[0]
    with urllib.request.urlopen(f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics", timeout=20) as answer:
        return "\\n".join(line for line in answer.read().decode().splitlines() if "dvcp_" in line)

with crew(PoolSettings(threads=1), 300) as at_work:
    outcome = at_work.colour(JobSettings(film, stills, out, "copy", shots=f"{stills}/reel_shots.json", segment_frames=16), Silent())
    # Numbers are on their way for some seconds: until those of all pools are there, and nothing more comes.
    text, still, end = "", 0, time.monotonic() + 120
    while time.monotonic() < end and (still < 8 or not all(f'pool="{pool}"' in text for pool in POOLS)):
        time.sleep(1)
        before, text = text, "\\n".join(line for line in scrape().splitlines() if "_total{" in line)
        still = still + 1 if text == before else 0
    asked = CliRunner().invoke(app, ["status", out, "--address", "auto", "--json"])
    metrics = scrape()
print("TOLD " + json.dumps({"segments": outcome.segments, "metrics": metrics, "status": asked.stdout, "left": len(read_runs(out))}))
"""


def test_a_run_tells_prometheus_and_the_night_shift(tmp_path: Path) -> None:
    try:
        import ray.dashboard.optional_deps  # noqa: F401
    except ImportError as error:
        pytest.skip(f"Ray's exporter needs ray[default]: {error}")
    film = make_film(tmp_path, lengths=(24, 16), painted=((0,), (0,)), size=(48, 64))
    command = [sys.executable, "-c", SCRIPT, str(film.gray), str(film.stills), f"{tmp_path}/out/"]
    # A node that has not registered within thirty seconds is given up by default: on a busy machine that is too soon.
    env = os.environ | {"RAY_raylet_start_wait_time_s": "200"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, env=env)
    line = next((line for line in done.stdout.splitlines() if line.startswith("TOLD ")), None)
    assert line, done.stdout + done.stderr
    told = json.loads(line.removeprefix("TOLD "))

    def total(name: str, label: str = "") -> float:
        return sum(float(v) for v in re.findall(rf"^ray_{name}{{[^}}]*{label}[^}}]*}} (\S+)$", told["metrics"], re.MULTILINE))

    # Painted frames are carried as they are: nobody decodes, matches or propagates them.
    assert {pool: total("dvcp_frames_total", f'pool="{pool}"') for pool in ("decoder", "matcher", "propagator", "writer")} == {
        "decoder": 38, "matcher": 38, "propagator": 38, "writer": 40
    }  # fmt: skip
    assert total("dvcp_frames_committed_total") == 40
    assert total("dvcp_segments_committed_total") == total("dvcp_segment_seconds_count") == told["segments"] >= 3
    assert total("dvcp_segments_lost_total") == 0
    assert total("dvcp_busy_seconds_total", 'pool="decoder"') > 0
    assert total("dvcp_lanes", 'state="up"') == total("dvcp_lanes", 'state="wanted"') == 1
    assert total("dvcp_films", 'state="done"') == 1
    asked = json.loads(told["status"])
    (run,) = asked["runs"]
    assert run["verdict"] == "well" and run["frames_done"] == 40 and run["segments"] == told["segments"]
    assert {name: pool["frames"] for name, pool in run["pools"].items()} == {"decoder": 38, "matcher": 38, "propagator": 38, "writer": 40}
    assert run["queue_bytes"] >= 0 and run["spilled_bytes"] == 0
    assert asked["cluster"]["nodes"][0]["alive"] and asked["cluster"]["nodes"][0]["metrics"]
    assert told["left"] == 0
