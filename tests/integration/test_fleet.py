"""Lanes on real nodes: whole on one node, matchers spread; nodes leave and join in the middle of the work, and no pixel tells of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dvcp.runtime import fleet
from dvcp.runtime.settings import PoolSettings
from tests.films import framemd5, make_film

pytestmark = pytest.mark.slow

#: In a process of its own: a cluster of several nodes cannot live beside the Ray that all other tests share.
SCRIPT = """
import json, sys, threading, time
import ray
from ray.cluster_utils import Cluster
from dvcp.runtime import fleet
from dvcp.runtime.settings import PoolSettings
from dvcp.runtime.driver import driving
from dvcp.runtime.job import JobSettings, deliver, prepare, propagate
from dvcp.store.ledger import SegmentRecord

fleet.REVIVE_S = 4
film, stills, folder = sys.argv[1:]
quiet = {"num_cpus": 1, "object_store_memory": 100 << 20}
# Half a minute until Ray notices that a node is gone, as on a busy machine: until then its matcher passes for alive.
slow = {"health_check_period_ms": 8000}
cluster = Cluster(initialize_head=True, head_node_args=quiet | {"include_dashboard": False, "_system_config": slow})
more = [cluster.add_node(**quiet, num_gpus=1) for _ in range(2)]
ray.init(address=cluster.address, log_to_driver=False)
told = {}
pools = PoolSettings(address=cluster.address, propagator_gpus=0.5, matcher_gpus=0.25, threads=1)

def job(name):
    cuts = f"{stills}/reel_shots.json"
    return prepare(JobSettings(film, stills, f"{folder}/{name}.mkv", "copy", pools=pools, segment_frames=8, shots=cuts))

with driving(pools) as driver:
    fleet_ = driver._fleet
    began = time.monotonic()
    while fleet_.lanes != (2, 2) or fleet_.matchers != (2, 2):
        assert time.monotonic() < began + 200, (fleet_.lanes, fleet_.matchers)
        time.sleep(0.2)
    told["whole lanes"] = [len(lane.nodes) for lane in fleet_._lanes]
    told["spread matchers"] = len(set().union(*(m.nodes for m in fleet_._matchers)))
    calm = job("calm")
    told["calm"] = len(propagate(calm, lambda *_: None, driver))
    deliver(calm)
    rough = job("rough")
    left = threading.Event()

    def report(segment, item):
        if isinstance(item, SegmentRecord) and not left.is_set():
            left.set()
            cluster.remove_node(more.pop(), allow_graceful=False)

    told["rough"] = len(propagate(rough, report, driver))
    deliver(rough)
    while driver.snapshot()["lanes"] != (1, 1):
        assert time.monotonic() < began + 360, driver.snapshot()
        time.sleep(0.2)
    told["lost"] = driver.snapshot()["lost"]
    # Lanes and matchers take parts of a processor as well: with one for two GPUs the second lane would find no place.
    cluster.add_node(**quiet | {"num_cpus": 2}, num_gpus=2)
    while driver.snapshot()["lanes"] != (3, 3):
        assert time.monotonic() < began + 520, driver.snapshot()
        time.sleep(0.2)
    told["joined"] = driver.snapshot()["lanes"]
print("TOLD " + json.dumps(told))
"""


def test_nodes_leave_and_join(tmp_path: Path) -> None:
    film = make_film(tmp_path, lengths=(60, 40, 20), painted=((0, 59), (20,), (0,)), size=(48, 64))
    command = [sys.executable, "-c", SCRIPT, str(film.gray), str(film.stills), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=560)
    line = next((line for line in done.stdout.splitlines() if line.startswith("TOLD ")), None)
    assert line, done.stdout + done.stderr
    told = json.loads(line.removeprefix("TOLD "))
    assert told["whole lanes"] == [1, 1] and told["spread matchers"] == 2
    assert told["rough"] == told["calm"] > 10
    assert told["joined"] == [3, 3]
    assert framemd5(tmp_path / "rough.mkv") == framemd5(tmp_path / "calm.mkv")


@pytest.mark.parametrize("settings, told", [
    (PoolSettings(propagators=2, propagator_gpus=1.0), "2 of 2 propagators find no room: each needs 0.5 CPUs and 1 GPUs on one node"),
    (PoolSettings(propagators=1), ""),
], ids=["no room", "slow to start"])  # fmt: skip
def test_who_asks_for_more_than_there_is_room_for(
    cluster: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, settings: PoolSettings, told: str
) -> None:
    # Two looks, at once and when all lanes have waited long enough: they are made one after the other.
    monkeypatch.setattr(fleet, "ROOM_S", 1 if told else 0.5)
    monkeypatch.setattr(fleet, "_LOOK_S", 3)
    with fleet.Fleet(settings) as made:
        until = time.monotonic() + 4
        while time.monotonic() < until:
            made.tend()
            time.sleep(0.1)
    said = [record.getMessage() for record in caplog.records if (record.name, record.levelname) == (fleet.__name__, "WARNING")]
    assert said == ([f"{told}; ask for fewer, or add nodes"] if told else [])
