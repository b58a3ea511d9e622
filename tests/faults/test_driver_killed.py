"""SIGKILL of the whole command at random moments: the same command again finishes, and the film is the one an undisturbed run makes."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from dvcp.runtime.job import JobSettings, deliver, prepare, propagate
from tests.faults.interrupted import finished, kill_in_the_middle
from tests.films import framemd5, make_film, small_weights

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("method", "shared"),
    [
        ("dvcp", False),
        ("copy", True),
        pytest.param("exemplar", True, marks=pytest.mark.night),
        pytest.param("tcvc", True, marks=pytest.mark.night),
    ],
)
def test_killed_at_random(tmp_path: Path, cluster: None, method: str, shared: bool) -> None:
    """With a Ray of its own, which the kill leaves behind, and on a cluster, whose actors of the dead command must make room.

    dvcp and copy between painted frames, exemplar from pictures of elsewhere, tcvc from nothing.
    """
    # Copying takes no time: a short film would be done before the kill.
    lengths = (240, 120) if method == "copy" else (40, 30)
    film = make_film(tmp_path, lengths=lengths, painted=((0, lengths[0] - 1), (20,)))
    if method == "exemplar":
        for number, still in enumerate(film.stills.glob("*.png")):
            still.rename(still.with_name(f"museum{number}.png"))
    options: dict[str, object] = {"weights": str(small_weights(tmp_path / "w.safetensors"))}
    if method == "tcvc":
        options["anchor_gap"] = 6
    stills, cuts = None if method == "tcvc" else str(film.stills), str(film.stills / "reel_shots.json")
    whole = prepare(JobSettings(str(film.gray), stills, str(tmp_path / "whole.mkv"), method, options=options, segment_frames=8, shots=cuts))
    propagate(whole, lambda *_: None)
    deliver(whole)
    out, ledger, chance = tmp_path / "killed.mkv", tmp_path / "killed.dvcp" / "ledger", random.Random(11)
    command = [
        sys.executable, "-m", "dvcp.cli", "colorize", str(film.gray), "--out", str(out), "--method", method, "--shots", cuts,
        *(["--references", stills] if stills else []), "--segment-frames", "8",
        *(f"--set={name}={value}" for name, value in options.items()),
        *(["--address", ray.get_runtime_context().gcs_address] if shared else []),
    ]  # fmt: skip
    kept = kill_in_the_middle(command, ledger, chance)
    assert kept.keys() < finished(tmp_path / "whole.dvcp" / "ledger").keys(), "it was killed before its end"
    subprocess.run(command, check=True, timeout=250)
    assert kept.items() <= finished(ledger).items()
    assert framemd5(out) == framemd5(tmp_path / "whole.mkv")
