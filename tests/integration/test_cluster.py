"""Ray as dvcp starts it."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

SCRIPT = """
import os, ray
from dvcp.runtime.cluster import PoolSettings, connected
with connected(PoolSettings()):
    print("NICE", ray.get(ray.remote(lambda: os.nice(0)).remote()), os.nice(0))
print("ENDED", not ray.is_initialized())
"""


def test_workers_are_as_eager_as_the_command_and_go_with_it() -> None:
    """A process of its own: what Ray reads from the environment it reads once."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120)
    lines = dict(line.split(" ", 1) for line in done.stdout.splitlines() if line.startswith(("NICE", "ENDED")))
    worker, command = lines["NICE"].split()
    assert worker == command, done.stderr
    assert lines["ENDED"] == "True"
