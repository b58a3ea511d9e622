"""Services as plain processes of this machine: started with a log, waited for, and ended with everything they started."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

#: environment variable that marks a service's processes, children of children included
MARK = "DVCP_SERVICE"
#: folders of programs that have not to be on the PATH: the interpreter's own, and Debian's
_PLACES = (Path(sys.executable).parent, *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))


class ServiceError(Exception):
    """A service that ended, or did not become ready in its time: what it is called, and the end of its log."""


@dataclass(frozen=True)
class Service:
    """A running service.

    Attributes:
        name: for people.
        process: what was started; it leads a session of its own.
        log: stdout and stderr.
        mark: value of :data:`MARK` in the environment of every process of it.
    """

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    mark: str

    @property
    def pid(self) -> int:
        """Process id of what was started."""
        return self.process.pid

    def wait(self, ready: Callable[[], bool], seconds: float = 60, every: float = 0.2) -> None:
        """Come back as soon as ``ready()``. Raises ServiceError when the service ends before, or after ``seconds``."""
        deadline = time.monotonic() + seconds
        while not ready():
            if self.process.poll() is not None:
                raise ServiceError(f"{self.name} ended with {self.process.returncode}: {self.tail()}")
            if time.monotonic() > deadline:
                raise ServiceError(f"{self.name} was not ready after {seconds:g} s: {self.tail()}")
            time.sleep(every)

    def finish(self, seconds: float) -> None:
        """Come back when it has done its work. Raises ServiceError when it fails or takes longer than ``seconds``."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise ServiceError(f"{self.name} was not done after {seconds:g} s: {self.tail()}") from error
        if code:
            raise ServiceError(f"{self.name} failed with {code}: {self.tail()}")

    def tail(self, characters: int = 2000) -> str:
        """The end of the log."""
        return self.log.read_text(errors="replace")[-characters:].strip() or "(it said nothing)"

    def processes(self) -> list[int]:
        """Ids of the processes of it that still run, in whatever session or group."""
        wanted, found = f"{MARK}={self.mark}".encode(), []
        for entry in Path("/proc").iterdir():
            # Gone between the listing and the look, or another user's.
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found

    def end(self, grace: float) -> None:
        """Ask the service to end, and kill after ``grace`` seconds (0: at once) whatever is left of it. Never raises."""
        if grace and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(grace)
        # Again, because a process may start another one while the list is made.
        while left := self.processes():
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        self.process.wait()


@contextmanager
def running(
    name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path | None = None, grace: float = 10
) -> Iterator[Service]:
    """A service for the block, without orphans after it.

    Args:
        environment: all of it; nothing is inherited.
        folder: where it runs.
        log: default ``<folder>/<name>.log``.
        grace: seconds between asking it to end and killing it.

    Raises:
        OSError: the program cannot be started.
    """
    log, mark = log or folder / f"{name}.log", uuid.uuid4().hex
    with log.open("wb") as out:
        process = subprocess.Popen(
            list(command), cwd=folder, env={**environment, MARK: mark}, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True,
        )  # fmt: skip
    service = Service(name, process, log, mark)
    try:
        yield service
    finally:
        service.end(grace)


def program(name: str) -> str | None:
    """Path of a program beside this interpreter, of Debian's PostgreSQL, or on the PATH; None when there is none."""
    beside = (str(place / name) for place in _PLACES if (place / name).exists())
    return next(beside, None) or shutil.which(name)


def answers(url: str, seconds: float = 2) -> bool:
    """True when a GET of ``url`` is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=seconds) as answer:
            return bool(answer.status == 200)
    except (OSError, HTTPException):  # URLError is an OSError
        return False


def free_ports(count: int) -> list[int]:
    """``count`` free ports, all different, and each with the one 10000 above it free too (SeaweedFS takes both)."""
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


def remove_sockets(port: int) -> None:
    """Remove the sockets that a killed SeaweedFS service leaves in the temporary folder."""
    for number in (port, port + 10000):
        for left in Path(tempfile.gettempdir()).glob(f"seaweedfs-*-{number}.sock"):
            left.unlink(missing_ok=True)
