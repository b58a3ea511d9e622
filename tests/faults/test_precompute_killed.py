"""SIGKILL of a precompute: the same command again finishes, and the dataset equals an undisturbed one row for row."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pyarrow.dataset as ds
import pytest
import ray

from dvcp.runtime.precompute import PrecomputeSettings, precompute
from dvcp.store import files
from tests.faults.interrupted import finished, kill_in_the_middle
from tests.films import colour_film, small_weights

pytestmark = pytest.mark.slow


def test_killed_and_run_again(tmp_path: Path, cluster: None) -> None:
    (tmp_path / "films").mkdir()
    for k, name in enumerate("ab"):
        colour_film(tmp_path / "films" / f"{name}.mkv", (20, 14), seed=k)
    weights = str(small_weights(tmp_path / "w.safetensors"))
    films, whole_set = [str(tmp_path / "films" / f"{name}.mkv") for name in "ab"], str(tmp_path / "whole")
    precompute(PrecomputeSettings(whole_set, options={"weights": weights}, rollout=14, segment_frames=8), films, lambda *_: None)

    folder, killed_set = str(tmp_path / "films"), tmp_path / "killed"
    command = [
        sys.executable, "-m", "dvcp.cli", "precompute", folder, "--out", str(killed_set), "--weights", weights, "--rollout", "14",
        "--segment-frames", "8", "--address", ray.get_runtime_context().gcs_address,
    ]  # fmt: skip
    segments = killed_set / "segments"
    # Counted by record: a shard whose record was not written yet is rightly made again.
    records = killed_set / "ledger"
    kept = kill_in_the_middle(command, records, random.Random(3))
    assert kept.keys() < finished(tmp_path / "whole" / "ledger").keys(), "it was killed before its end"
    subprocess.run(command, check=True, timeout=250)
    order = [("video", "ascending"), ("frame", "ascending")]
    whole, killed = (ds.dataset(str(tmp_path / out / "segments")).to_table().sort_by(order) for out in ("whole", "killed"))
    assert whole.num_rows > 55 and killed.equals(whole)
    assert kept.items() <= finished(records).items()
    # Without what was half written when the kill came: it stays for an hour, for whoever may still write it.
    assert files.list_names(str(segments)) == files.list_names(f"{whole_set}/segments")
