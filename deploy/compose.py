"""Reading compose.yaml: as much of the Compose file format as it uses, so that what runs as containers can be run without them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

_VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?:(?P<how>:?[-?])(?P<what>[^}]*))?\})")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class ComposeError(Exception):
    """A file that cannot be read as compose.yaml, or a variable that it wants and nobody gave."""


@dataclass(frozen=True)
class Container:
    """One service of the file.

    Attributes:
        name: of the service, and its host name.
        image: with its tag.
        command: entry point and command; empty when the image's own.
        environment: variables of the service; the image's own are not among them.
        ports: it listens on, those included that no other container asks.
        mounts: path inside -> name of a volume or path outside; "" for a volume that is the container's own.
        needs: service -> what it must have come to: service_started, service_healthy or service_completed_successfully.
        health: command that ends with 0 when it is healthy; empty when there is none.
        patience_s: seconds after which it ought to be healthy.
        replicas: how many of it.
        grace_s: seconds between asking it to end and killing it.
        restarts: it is started again when it ends by itself.
    """

    name: str
    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    ports: tuple[int, ...]
    mounts: Mapping[str, str]
    needs: Mapping[str, str]
    health: tuple[str, ...]
    patience_s: float
    replicas: int
    grace_s: float
    restarts: bool


def read(path: Path, variables: Mapping[str, str], profiles: frozenset[str] = frozenset()) -> list[Container]:
    """The services of a compose file, each after those that it depends on.

    Args:
        variables: for ``${NAME}``, ``${NAME:-default}`` and ``${NAME:?message}``.
        profiles: services of other profiles are left out.

    Raises:
        ComposeError: a variable is missing, or services wait for each other.
    """
    data = _filled(yaml.safe_load(path.read_text(encoding="utf-8")), variables)
    chosen = {name: given for name, given in data["services"].items() if not given.get("profiles") or profiles & set(given["profiles"])}
    found = {name: _container(name, given) for name, given in chosen.items()}
    try:
        return [found[name] for name in TopologicalSorter({name: list(c.needs) for name, c in found.items()}).static_order()]
    except (KeyError, ValueError) as error:
        raise ComposeError(f"{path}: depends_on cannot hold: {error}") from error


def image_environment(path: Path) -> dict[str, str]:
    """The variables that the last stage of a Dockerfile sets, as they stand there."""
    last = re.split(r"(?m)^FROM ", path.read_text(encoding="utf-8"))[-1]
    joined = re.sub(r"\\\n", " ", last)
    pairs = [pair for line in joined.splitlines() if line.startswith("ENV ") for pair in shlex.split(line)[1:]]
    return dict(pair.split("=", 1) for pair in pairs)


def seconds(duration: str) -> float:
    """Seconds of a duration such as ``1m30s``. Raises ComposeError when it is none."""
    if not re.fullmatch(r"(\d+(ms|s|m|h))+", duration):
        raise ComposeError(f"{duration}: no duration")
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)(ms|s|m|h)", duration))


def _filled(value: Any, variables: Mapping[str, str]) -> Any:
    """``value`` with variables in all its strings replaced."""
    if isinstance(value, dict):
        return {key: _filled(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, variables) for item in value]
    return _VARIABLE.sub(lambda match: _variable(match, variables), value) if isinstance(value, str) else value


def _variable(match: re.Match[str], variables: Mapping[str, str]) -> str:
    name, how, what = match["name"], match["how"] or "", match["what"]
    if name is None:
        return "$"
    value = variables.get(name)
    if value or (value is not None and not how.startswith(":")):
        return value
    if how.endswith("?"):
        raise ComposeError(f"{name} is not set: {what}")
    return what if how.endswith("-") else ""


def _container(name: str, given: Mapping[str, Any]) -> Container:
    health, interval = given.get("healthcheck") or {}, 30.0
    if health:
        interval = seconds(health.get("interval", "30s"))
    ports = [*given.get("expose", []), *(str(p).rpartition(":")[2] for p in given.get("ports", [])), *given.get("x-ports", [])]
    return Container(
        name=name,
        image=given["image"],
        command=(*given.get("entrypoint", []), *(str(word) for word in given.get("command", []))),
        environment={key: str(value) for key, value in given.get("environment", {}).items()},
        ports=tuple(int(port) for port in ports),
        mounts=dict(_mount(volume) for volume in given.get("volumes", [])),
        needs={needed: how["condition"] for needed, how in given.get("depends_on", {}).items()},
        health=tuple(health.get("test", ["NONE"])[1:]),
        patience_s=seconds(health.get("start_period", "0s")) + interval * int(health.get("retries", 3)),
        replicas=int(given.get("deploy", {}).get("replicas", 1)),
        grace_s=seconds(given.get("stop_grace_period", "10s")),
        restarts=given.get("restart") in ("always", "unless-stopped"),
    )


def _mount(volume: str) -> tuple[str, str]:
    """(path inside, what is mounted there)"""
    parts = volume.removesuffix(":ro").split(":")
    return parts[-1], parts[0] if len(parts) > 1 else ""
