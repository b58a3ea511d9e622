"""Run a command on a node of the Ray cluster: ``python -m deploy.join [--agent-port N] -- COMMAND...``.

A driver has to run where it sees a Ray node's processes and memory, so the container of the Prefect worker is made a node with no
processors of its own: it computes nothing for others. Node and command end together, whichever ends first, and the container is started
again.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType


def join(command: Sequence[str], node: Sequence[str], grace: float = 45) -> int:
    """Run ``node`` and ``command`` until one of them ends, then end the other. SIGTERM and SIGINT are passed on to the command first.

    Args:
        command: ends with its own work.
        node: serves the command, so it ends last.
        grace: seconds the command has after it was asked to end.

    Returns:
        The exit code of the command; 1 when the node ended first.
    """
    told: list[int] = []

    def tell(number: int, _frame: FrameType | None) -> None:
        told.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, tell)
    served = subprocess.Popen(node)
    work = subprocess.Popen(command)
    while work.poll() is None and served.poll() is None and not told:
        time.sleep(0.2)
    lost = served.poll() is not None and not told
    _end(work, grace)
    _end(served, 10)
    return 1 if lost else work.returncode


def _end(process: subprocess.Popen[bytes], grace: float) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main() -> int:
    """Join the cluster at ``RAY_ADDRESS`` and run the command."""
    parser = argparse.ArgumentParser(prog="deploy.join", description="Run a command on a node of the Ray cluster at RAY_ADDRESS.")
    parser.add_argument("--agent-port", type=int, default=52365, help="of this node's dashboard agent")
    parser.add_argument("command", nargs="+")
    given = parser.parse_args()
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        parser.error("RAY_ADDRESS is not set: HOST:PORT of the head")
    node = ["ray", "start", f"--address={address}", "--block", "--num-cpus=0", "--num-gpus=0"]
    node += [f"--dashboard-agent-listen-port={given.agent_port}", "--min-worker-port=0", "--max-worker-port=0"]
    node += ["--object-store-memory=200000000"]
    return join(given.command, node)


if __name__ == "__main__":
    sys.exit(main())
