"""The services of compose.yaml as plain processes of this machine: the same commands and variables, no containers.

What differs, because one machine has one network and no images: ports are moved to free ones, host names become 127.0.0.1, volumes become
folders, and a program is taken from this installation instead of the image. What is lost: users, read-only file systems, limits, networks.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from deploy.compose import Container, image_environment, read
from deploy.services import Service, ServiceError, answers, free_ports, program, remove_sockets, running

HERE = Path(__file__).parent
COMPOSE, DOCKERFILE = HERE / "compose.yaml", HERE / "Dockerfile"
_HOST = "127.0.0.1"
#: variables of this machine that its programs may need; of what else is set here the services see nothing
_KEPT = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "TZ")
#: variables of the image that mean something only in it
_OF_THE_IMAGE = ("PATH", "PYTHONPATH", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES")
_BUSY = 6.0
_STARTS = 3


@dataclass(frozen=True)
class Instance:
    """One process of one service.

    Attributes:
        container: what it stands for.
        name: of the service, with a number where there are several.
        ports: port in the container -> port here.
        folders: path in the container -> folder here.
    """

    container: Container
    name: str
    ports: Mapping[int, int]
    folders: Mapping[str, Path]


@dataclass
class Topology:
    """Services that run.

    Attributes:
        instances: every process, by its name.
        image: variables that the image sets.
        logs: folder for a log of each process.
        say: gets a line for each start.
        stack: ends the services.
        services: those that have been started.
        done: services, and what they should have come to, that were waited for.
        again: how often a service was started again.
    """

    instances: dict[str, Instance]
    image: Mapping[str, str]
    logs: Path
    say: Callable[[str], None]
    stack: ExitStack
    services: dict[str, Service] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    again: Counter[str] = field(default_factory=Counter)

    def start(self, one: Instance) -> None:
        """Start an instance. Raises ServiceError when this installation lacks the program."""
        environment = self.environment(one.name)
        if all(o.container.name != "database" for o in self._all()) and environment.pop("PREFECT_SERVER_DATABASE_CONNECTION_URL", ""):
            self.say(f"{one.name:16} keeps its data in SQLite here; in containers PostgreSQL does")
        # SeaweedFS takes more than 20 s to end, and what it holds ends with this block.
        grace = 0 if one.container.command[0] == "weed" else one.container.grace_s
        folder, name = next(iter(one.folders.values())), f"{one.name}{f'.{self.again[one.name]}' if self.again[one.name] else ''}.log"
        made = self.stack.enter_context(running(one.name, self.command(one), environment, folder, self.logs / name, grace))
        self.services[one.name] = made
        self.say(f"{one.name:16} started, process {made.pid}")

    def revive(self) -> None:
        """Start again what has ended and is to run, as a container would be. Raises ServiceError when it keeps ending."""
        for name, service in list(self.services.items()):
            one = self.instances[name]
            if service.process.poll() is None or not one.container.restarts:
                continue
            self.again[name] += 1
            if self.again[name] > _STARTS:
                raise ServiceError(f"{name} ends again and again, with {service.process.returncode}: {service.tail()}")
            self.say(f"{name:16} ended with {service.process.returncode}")
            service.end(0)
            self.start(one)

    def address(self, name: str, port: int) -> str:
        """``host:port`` here of a port of the (first) container of a service. Raises KeyError when it has no such port."""
        return f"{_HOST}:{self._first(name).ports[port]}"

    def environment(self, name: str) -> dict[str, str]:
        """All variables of an instance: what another process needs to act in its place."""
        one = self.instances[name]
        image = {key: value for key, value in self.image.items() if key not in _OF_THE_IMAGE}
        given = {key: self.translated(value, one) for key, value in {**image, **one.container.environment}.items()}
        kept = {key: os.environ[key] for key in _KEPT if key in os.environ}
        # The image has the interpreter's programs first on the PATH, and the flows beside the package.
        path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
        return {**kept, "PATH": path, "PYTHONPATH": str(HERE.parent), **given}

    def translated(self, text: str, one: Instance) -> str:
        """``text`` of an instance's command or variables, as it holds here."""
        names = {"0.0.0.0": _HOST, "/opt/app": str(HERE.parent)} | {str(port): str(here) for port, here in one.ports.items()}
        names |= {path: str(folder) for path, folder in one.folders.items()}
        for other in (o.container for o in self._all()):
            names |= {f"{other.name}:{port}": self.address(other.name, port) for port in other.ports}
        # At once, or a port moved to another one's number would be moved again.
        pattern = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
        return re.sub(rf"(?<![\w.-])(?:{pattern})(?![\w.-])", lambda match: names[match[0]], text)

    def command(self, one: Instance) -> list[str]:
        """What to start for an instance. Raises ServiceError when this installation lacks the program."""
        first, *rest = one.container.command
        found = sys.executable if first == "python" else program(first)
        if found is None:
            raise ServiceError(f"{one.name}: no program {first} here: make install brings all of them")
        # Where gRPC is not installed Ray has no client server, and refuses to be told its port.
        kept = [word for word in rest if find_spec("grpc") or not word.startswith("--ray-client-server-port")]
        return [found, *(self.translated(word, one) for word in kept)]

    def healthy(self, one: Instance) -> bool:
        """True when the container's own health check passes: asked from here when it asks a URL, else run."""
        test = [self.translated(word, one) for word in one.container.health]
        url = next((word for word in test if word.startswith("http://")), None)
        if url is not None:
            return answers(url)
        command = [program(test[0]) or test[0], *test[1:]]
        try:
            done = subprocess.run(command, env=self.environment(one.name), capture_output=True, timeout=60, check=False)
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def wait(self, name: str, condition: str) -> None:
        """Come back when every process of a service is what ``depends_on`` demands. Raises ServiceError when it does not come to it."""
        for one in (o for o in self._all() if o.container.name == name):
            service, mark = self.services[one.name], f"{one.name} {condition}"
            if mark in self.done:
                continue
            # Compose counts from an idle machine's pace; here all services start on the same few cores.
            patience = _BUSY * max(one.container.patience_s, 20)
            if condition == "service_completed_successfully":
                service.finish(patience)
            elif condition == "service_healthy":
                self._until_healthy(one, time.monotonic() + patience)
            self.done.add(mark)

    def _until_healthy(self, one: Instance, deadline: float) -> None:
        while not self.healthy(one):
            # Ray gives its node 30 s to start, and a busy machine does not always do it.
            self.revive()
            service = self.services[one.name]
            # What is started again may have ended since it was looked at: the next round does it.
            if service.process.poll() is not None and not one.container.restarts:
                raise ServiceError(f"{one.name} ended with {service.process.returncode}: {service.tail()}")
            if time.monotonic() > deadline:
                raise ServiceError(f"{one.name} does not become healthy: {service.tail()}")
            time.sleep(0.2)

    def _all(self) -> list[Instance]:
        return list(self.instances.values())

    def _first(self, name: str) -> Instance:
        return next(one for one in self._all() if one.container.name == name)


@contextmanager
def topology(
    variables: Mapping[str, str],
    logs: Path,
    say: Callable[[str], None] = print,
    compose: Path = COMPOSE,
    without: frozenset[str] = frozenset(),
) -> Iterator[Topology]:
    """Start what ``compose`` describes, in the order of ``depends_on``; for the block everything runs and is healthy. Ended in reverse.

    Args:
        variables: what .env would hold.
        logs: folder for a log of each process.
        say: gets one line for every service.
        without: services to leave out.

    Raises:
        ServiceError: a service ended or did not become healthy.
        ComposeError: the file cannot be read, or wants a variable.
    """
    containers = [c for c in read(compose, variables) if c.image.startswith(("dvcp:", "chrislusf/seaweedfs:")) and c.name not in without]
    left_out = {c.name for c in read(compose, variables)} - {c.name for c in containers}
    with ExitStack() as stack:
        # A short path: sockets below it may have names of at most 107 characters, and Ray's own part has about 70.
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dv", ignore_cleanup_errors=True)))
        made = Topology(_instances(containers, root), image_environment(DOCKERFILE), logs, say, stack)
        for container in containers:
            for needed, condition in container.needs.items():
                if needed not in left_out:
                    made.wait(needed, condition)
            for one in (o for o in made.instances.values() if o.container is container):
                for port in one.ports.values():
                    stack.callback(remove_sockets, port)
                made.start(one)
        for container in containers:
            if container.health:
                made.wait(container.name, "service_healthy")
        yield made


def _instances(containers: list[Container], root: Path) -> dict[str, Instance]:
    found: dict[str, Instance] = {}
    free = iter(free_ports(sum(c.replicas * len(c.ports) for c in containers)))
    for container in containers:
        for number in range(1, container.replicas + 1):
            name = container.name if container.replicas == 1 else f"{container.name}-{number}"
            ports = {port: next(free) for port in container.ports}
            own = root / str(len(found))
            folders = {path: _folder(own, root, outside) for path, outside in container.mounts.items()}
            for folder in (f for f in folders.values() if root in f.parents):
                folder.mkdir(parents=True, exist_ok=True)
            found[name] = Instance(container, name, ports, folders)
    return found


def _folder(own: Path, root: Path, outside: str) -> Path:
    """The folder here for what is mounted in a container: its own, a volume's, or one of this machine."""
    if not outside:
        return own
    return root / "volumes" / outside if re.fullmatch(r"[\w-]+", outside) else (HERE / outside).resolve()
