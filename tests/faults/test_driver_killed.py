"""SIGKILL of the whole command at random moments: the same command again finishes, and the film is the one an undisturbed run makes."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from tests.faults.interrupted import finished, kill_in_the_middle
from tests.films import framemd5, make_film, small_weights

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("method", "times", "shared"), [("dvcp", 2, False), ("exemplar", 1, True), ("tcvc", 1, True)])
def test_killed_at_random(tmp_path: Path, cluster: None, method: str, times: int, shared: bool) -> None:
    """With a Ray of its own, which the kill leaves behind, and on a cluster, whose actors of the dead command must make room.

    dvcp between painted frames, exemplar from pictures of elsewhere, tcvc from nothing.
    """
    film = make_film(tmp_path, lengths=(40, 30), painted=((0, 39), (20,)))
    if method == "exemplar":
        for number, still in enumerate(film.stills.glob("*.png")):
            still.rename(still.with_name(f"museum{number}.png"))
    weights = small_weights(tmp_path / "w.safetensors")

    def command(out: Path) -> list[str]:
        return [
            sys.executable, "-m", "dvcp.cli", "colorize", str(film.gray), "--out", str(out),
            *(["--set", "anchor_gap=6"] if method == "tcvc" else ["--references", str(film.stills)]),
            "--method", method, "--weights", str(weights), "--segment-frames", "8", "--shots", str(film.stills / "reel_shots.json"),
            *(["--address", ray.get_runtime_context().gcs_address] if shared else []),
        ]  # fmt: skip

    subprocess.run(command(tmp_path / "whole.mkv"), check=True, timeout=250)
    out, ledger, chance = tmp_path / "killed.mkv", tmp_path / "killed.dvcp" / "ledger", random.Random(11)
    kept: dict[str, int] = {}
    for _ in range(times):
        before, kept = kept, kill_in_the_middle(command(out), ledger, chance)
        assert before.items() <= kept.items(), "a finished segment was lost or made again"
    assert kept.keys() < finished(tmp_path / "whole.dvcp" / "ledger").keys(), "it was killed before its end"
    subprocess.run(command(out), check=True, timeout=250)
    assert kept.items() <= finished(ledger).items()
    assert framemd5(out) == framemd5(tmp_path / "whole.mkv")
