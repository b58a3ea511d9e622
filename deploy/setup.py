"""What an installation needs once: the bucket, and Prefect's work pool, deployments and automations. It may be run again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import fsspec

PREFECT_FILE = Path(__file__).with_name("prefect.yaml")
POOL = "dvcp"


def make_bucket(name: str) -> None:
    """Make the S3 bucket unless it is there. Raises OSError when the store refuses."""
    store = fsspec.filesystem("s3", use_listings_cache=False)
    if not store.exists(name):
        store.mkdir(name)


def run(module: str, *arguments: str) -> None:
    """Run a command in the folder above this one. Raises CalledProcessError when it fails."""
    subprocess.run([sys.executable, "-m", module, *arguments], cwd=PREFECT_FILE.parents[1], check=True)


def main() -> None:
    """Set up the store at ``AWS_ENDPOINT_URL`` and the Prefect server at ``PREFECT_API_URL``."""
    make_bucket(os.environ["DVCP_BUCKET"])
    run("prefect", "--no-prompt", "work-pool", "create", POOL, "--type", "process", "--overwrite")
    run("pipelines.automations")
    run("prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(PREFECT_FILE))


if __name__ == "__main__":
    main()
