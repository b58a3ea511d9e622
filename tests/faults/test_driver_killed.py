"""SIGKILL of the whole command at random moments: the same command again finishes, and the film is the one an undisturbed run makes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.films import framemd5, make_film, small_weights

pytestmark = pytest.mark.slow


def command(film: Path, stills: Path, out: Path, weights: Path, method: str) -> list[str]:
    return [
        sys.executable, "-m", "dvcp.cli", "colorize", str(film), "--references", str(stills), "--out", str(out),
        "--method", method, "--weights", str(weights), "--segment-frames", "16", "--shots", str(stills / "reel_shots.json"),
    ]  # fmt: skip


@pytest.mark.parametrize(("method", "times"), [("dvcp", 3), ("exemplar", 1)])
def test_killed_at_random(tmp_path: Path, method: str, times: int) -> None:
    film = make_film(tmp_path, lengths=(60, 50), painted=((0, 59), (20,)))
    if method == "exemplar":
        for number, still in enumerate(film.stills.glob("*.png")):
            still.rename(still.with_name(f"museum{number}.png"))
    weights = small_weights(tmp_path / "w.safetensors")
    began = time.monotonic()
    subprocess.run(command(film.gray, film.stills, tmp_path / "whole.mkv", weights, method), check=True, timeout=250)
    length = time.monotonic() - began
    out, ledger = tmp_path / "killed.mkv", tmp_path / "killed.dvcp" / "ledger"
    chance, kept = random.Random(11), [0]
    for _ in range(times):
        process = subprocess.Popen(
            command(film.gray, film.stills, out, weights, method), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        try:
            process.wait(timeout=chance.uniform(0.45, 0.8) * length)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        done = len(list(ledger.glob("*.json"))) if ledger.exists() else 0
        assert done >= kept[-1], "a finished segment was lost"
        kept.append(done)
    subprocess.run(command(film.gray, film.stills, out, weights, method), check=True, timeout=250)
    assert framemd5(out) == framemd5(tmp_path / "whole.mkv")
