"""What a command, a film and a segment cost whatever their size: a real run over films of a few tiny pictures."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np

from dvcp.errors import DvcpError
from dvcp.media.pixels import plane_view
from dvcp.media.stills import write_still
from dvcp.shots.names import still_name
from dvcp.shots.timeline import from_cuts, write_shots

#: size of the pictures, frames of a shot, shots of the longer film
SIZE, SHOT, SHOTS = (48, 64), 8, 25
#: films of one shot that go before it
FILMS = 5


def fixed_costs() -> tuple[float, float, float]:
    """Seconds of a command's start, of a film and of a segment on this machine, by the method "copy", which computes next to nothing.

    Raises:
        DvcpError: such a run fails.
    """
    with tempfile.TemporaryDirectory(prefix="dvcp-plan-") as folder:
        ended = _run(folder, [1] * FILMS + [SHOTS])
    film = float(np.median(np.diff(ended[:FILMS])))
    return max(0.0, ended[0] - film), film, max(0.0, ended[-1] - ended[-2] - film) / (SHOTS - 1)


def _run(folder: str, films: Sequence[int]) -> list[float]:
    """Run ``dvcp colorize`` over films of so many shots; the seconds after its start at which each was done."""
    stills = os.path.join(folder, "stills")
    os.mkdir(stills)
    made = [_film(folder, stills, f"film{number}", shots) for number, shots in enumerate(films)]
    call = [sys.executable, "-m", "dvcp.cli", "colorize", *made, "--references", stills, "--out", os.path.join(folder, "out") + "/"]
    # A Ray of its own: one that somebody left running on this machine would be joined, and its start not be counted.
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(os.path.abspath(entry) for entry in sys.path), "RAY_ADDRESS": "local"}
    began, ended = time.monotonic(), list[float]()
    # A pipe that nobody empties would stop the run: what it says goes to a file.
    with open(os.path.join(folder, "said"), "w+") as said:
        command = [*call, "--method", "copy", "--films", "1"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True, env=env) as run:
            assert run.stdout is not None
            # One line a film, as soon as it is done.
            ended += [time.monotonic() - began for line in run.stdout if ": " in line]
        said.seek(0)
        lines = said.read().strip().splitlines()
    if run.returncode or len(ended) != len(films):
        why = lines[-1] if lines else f"exit code {run.returncode}"
        raise DvcpError(f"a run over tiny films fails: {why}", hint="try dvcp colorize on a small film first")
    return ended


def _film(folder: str, stills: str, stem: str, shots: int) -> str:
    path, (height, width) = os.path.join(folder, f"{stem}.mkv"), SIZE
    rng = np.random.default_rng(shots)
    with av.open(path, "w") as out:
        stream = out.add_stream("ffv1", rate=24, options={"level": "3", "g": "1"})
        stream.height, stream.width, stream.pix_fmt = height, width, "gray"
        for number in range(shots * SHOT):
            if number % SHOT == 0:
                picture = rng.integers(0, 255, (height // 8, width // 8)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
            frame = av.VideoFrame(width, height, "gray")
            plane_view(frame, 0, 8)[:] = picture
            frame.pts, frame.time_base = number, Fraction(1, 24)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    cuts = [SHOT * k for k in range(1, shots)]
    write_shots(from_cuts(path, Fraction(24), shots * SHOT, cuts), os.path.join(stills, f"{stem}_shots.json"))
    painted = np.full((height, width, 3), (90, 60, 160), np.uint8)
    for number, first in enumerate([0, *cuts], 1):
        write_still(os.path.join(stills, still_name(stem, number, first)), painted)
    return path
