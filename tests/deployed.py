"""The deployments of deploy/prefect.yaml on a real server, with a real worker; what tests ask the server about their runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

ROOT = Path(__file__).parents[1]
FINAL = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")


@dataclass(frozen=True)
class Deployed:
    """A server that holds the deployments.

    Attributes:
        server: URL of its API.
        home: PREFECT_HOME of worker and commands.
    """

    server: str
    home: Path

    def ask(self, path: str, body: dict[str, Any] | None = None, method: str = "POST") -> Any:
        """One answer of the API."""

        def answered() -> httpx.Response | None:
            found = httpx.request(method, f"{self.server}/{path}", json=body, timeout=60)
            # Its SQLite is locked for a moment: to be asked again, as Prefect's own client does.
            return None if found.status_code == httpx.codes.SERVICE_UNAVAILABLE else found

        answer = self.wait(f"an answer to {path}", answered)
        answer.raise_for_status()
        return answer.json()

    def deployment(self, name: str) -> dict[str, Any]:
        """The deployment of that name."""
        (found,) = self.ask("deployments/filter", {"deployments": {"name": {"any_": [name]}}})
        return dict(found)

    def start(self, name: str, **parameters: Any) -> str:
        """Schedule a run of a deployment for now; its id."""
        body = {"state": {"type": "SCHEDULED"}, "parameters": {"parameters": parameters}}
        return str(self.ask(f"deployments/{self.deployment(name)['id']}/create_flow_run", body)["id"])

    def run(self, run: str) -> dict[str, Any]:
        """A run."""
        return dict(self.ask(f"flow_runs/{run}", method="GET"))

    def states(self, run: str) -> list[str]:
        """Names of the states a run has had."""
        return [state["name"] for state in self.ask(f"flow_run_states/?flow_run_id={run}", method="GET")]

    def artifacts(self, run: str) -> list[dict[str, Any]]:
        """Artifacts of a run."""
        return list(self.ask("artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}}}))

    def logs(self, run: str) -> str:
        """What a run has told."""
        return "\n".join(line["message"] for line in self.ask("logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}}))

    def wait(self, what: str, until: Callable[[], Any], seconds: float = 400) -> Any:
        """Wait for something to be true."""
        end = time.monotonic() + seconds
        while not (found := until()):
            assert time.monotonic() < end, f"{what} did not come true in {seconds} s"
            time.sleep(0.2)
        return found

    def ended(self, run: str) -> str:
        """Wait for the end of a run; its state."""
        return str(self.wait(f"the end of {run}", lambda: (t := self.run(run)["state_type"]) in FINAL and t))


def command(*arguments: str, server: str, home: Path, **env: str) -> None:
    """Run a command of Prefect, or a module of ours, that must succeed."""
    variables = os.environ | {"PREFECT_API_URL": server, "PREFECT_HOME": str(home), "PYTHONPATH": str(ROOT)} | env
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def worker(deployed: Deployed, **env: str | None) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of the pool that looks for runs every second. It finds the flows through DVCP_HOME alone, as in a container; its flows start
    a Ray of their own, whatever else runs on this machine.

    Args:
        env: variables on top of this process's; None takes one away.
    """
    wanted: dict[str, str | None] = {
        "PREFECT_API_URL": deployed.server, "PREFECT_HOME": str(deployed.home), "PREFECT_WORKER_QUERY_SECONDS": "1",
        "DVCP_HOME": str(ROOT), "PYTHONPATH": None, "RAY_ADDRESS": "local", **env,
    }  # fmt: skip
    variables = {name: value for name, value in {**os.environ, **wanted}.items() if value is not None}
    arguments = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "dvcp"]
    with (deployed.home / "worker.log").open("ab") as log:
        process = subprocess.Popen(arguments, cwd=deployed.home, env=variables, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        kill_all(process)


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL a worker and every process below it, all at once, as when their machine is lost."""
    if process.poll() is None:
        below = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for child in below:
            try:
                os.kill(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
    process.wait()


def deploy(server: str, home: Path, silence_s: int = 95) -> Deployed:
    """Do as deploy/prefect.yaml says. Folders are placeholders: every run names its own.

    Args:
        silence_s: a run without a heartbeat for so long has crashed. They come every 30 s, on a busy machine later: with 40, a run that
            lives may pass for dead.
    """
    home.mkdir(parents=True, exist_ok=True)
    nowhere = {name: "/nowhere/" for name in ("DVCP_SOURCES", "DVCP_OUT", "DVCP_CLIPS", "DVCP_DATASET", "DVCP_REPORT")}
    command("prefect", "work-pool", "create", "dvcp", "--type", "process", "--overwrite", server=server, home=home)
    command("pipelines.automations", "--silence", str(silence_s), server=server, home=home)
    file = str(ROOT / "deploy" / "prefect.yaml")
    command("prefect", "--no-prompt", "deploy", "--all", "--prefect-file", file, server=server, home=home, **nowhere)
    return Deployed(server, home)
