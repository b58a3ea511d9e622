"""A command killed in the middle of its work."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path


def finished(folder: Path) -> dict[str, int]:
    """The files of a folder and when each was written."""
    return {p.name: p.stat().st_mtime_ns for p in folder.glob("*.*") if not p.name.startswith(".")}


def kill_in_the_middle(command: Sequence[str], folder: Path, chance: random.Random) -> dict[str, int]:
    """Run a command and SIGKILL it at a random moment after it has put another file into ``folder``; what is there then.

    The process itself alone: those it started must find out.
    """
    before = len(finished(folder))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while len(finished(folder)) <= before:
        assert process.poll() is None, "it ended and did nothing"
        time.sleep(0.02)
    time.sleep(chance.uniform(0, 0.2))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return finished(folder)
