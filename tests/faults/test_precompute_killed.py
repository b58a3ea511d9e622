"""SIGKILL of a precompute, twice: the same command again finishes, and the dataset equals an undisturbed one row for row."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from tests.films import colour_film, small_weights

pytestmark = pytest.mark.slow


def test_killed_twice(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    for k, name in enumerate("ab"):
        colour_film(tmp_path / "films" / f"{name}.mkv", (60, 40), seed=k)
    weights = small_weights(tmp_path / "w.safetensors")

    def command(out: str) -> list[str]:
        folder = str(tmp_path / "films")
        return [sys.executable, "-m", "dvcp.cli", "precompute", folder, "--out", str(tmp_path / out), "--weights", str(weights),
                "--rollout", "40", "--segment-frames", "16"]  # fmt: skip

    began = time.monotonic()
    subprocess.run(command("whole"), check=True, timeout=250)
    length = time.monotonic() - began
    chance, segments = random.Random(3), tmp_path / "killed" / "segments"
    kept = []
    for _ in range(2):
        process = subprocess.Popen(command("killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            process.wait(timeout=chance.uniform(0.5, 0.8) * length)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        kept.append(len(list(segments.glob("*.parquet"))) if segments.exists() else 0)
    assert kept[0] <= kept[1], "a finished shard was lost"
    subprocess.run(command("killed"), check=True, timeout=250)
    order = [("video", "ascending"), ("frame", "ascending")]
    whole, killed = (ds.dataset(str(tmp_path / out / "segments")).to_table().sort_by(order) for out in ("whole", "killed"))
    assert whole.num_rows > 150 and killed.equals(whole)
    assert {p.name for p in segments.iterdir()} == {p.name for p in (tmp_path / "whole" / "segments").iterdir()}
