"""How runs stand, as they tell it themselves in small files in the folders of their outputs."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum

from dvcp.store import files

#: folder of the files, in that of the outputs
FOLDER = ".dvcp-status"
#: seconds without a new file after which a run shows no sign of life
SILENT_S = 60


class Verdict(StrEnum):
    """What to think of a run."""

    WELL = "well"
    FAILED = "films failed"
    ENDED = "ended, films failed"
    SILENT = "no sign of life"


@dataclass(frozen=True)
class UnderWay:
    """A film that is open.

    Attributes:
        film: its name.
        stage: looked at, coloured, or joined and verified.
        frames: of the film; 0 until it was looked at. ``done`` of them are computed.
        shot: the shot with most frames left, ``left`` of them; 0 when none is left.
    """

    film: str
    stage: str
    frames: int = 0
    done: int = 0
    shot: int = 0
    left: int = 0


@dataclass(frozen=True)
class Pool:
    """One kind of actors.

    Attributes:
        frames: worked on since the run began.
        fps: frames a second of all its actors, over the last ten minutes.
        busy: share of their time in which they worked, over the same.
    """

    frames: int = 0
    fps: float = 0.0
    busy: float = 0.0


@dataclass(frozen=True)
class Status:
    """How one run stands. Names of films, never their URLs, for those may carry what opens a store.

    Attributes:
        run: its name.
        host, pid: where the process that drives it is.
        began, updated: UTC, ISO 8601.
        ended: the same, "" while it goes on.
        asked, open, done, failed: films.
        failures: names of films that failed, the first of them.
        frames_done, frames_to_do: of the films looked at so far; those of earlier runs count as done.
        fps_minute, fps: frames computed a second, over the last minute and since the run began.
        pools: by name.
        segments, lost, given_up: segments committed, begun again because a process died, failed for good.
        lanes, matchers: (up, wanted).
        queue_bytes: in the object stores of the cluster: pictures and evidence waiting. None where nobody knows.
        spilled_bytes: that they had to put on disk since they were started.
        under_way: films that are open.
        left_s: seconds that what is left may take; None while nobody can tell.
    """

    run: str
    host: str
    pid: int
    began: str
    updated: str
    ended: str = ""
    asked: int = 0
    open: int = 0
    done: int = 0
    failed: int = 0
    failures: tuple[str, ...] = ()
    frames_done: int = 0
    frames_to_do: int = 0
    fps_minute: float = 0.0
    fps: float = 0.0
    pools: Mapping[str, Pool] = field(default_factory=dict)
    segments: int = 0
    lost: int = 0
    given_up: int = 0
    lanes: tuple[int, int] = (0, 0)
    matchers: tuple[int, int] = (0, 0)
    queue_bytes: int | None = None
    spilled_bytes: int | None = None
    under_way: tuple[UnderWay, ...] = ()
    left_s: int | None = None

    def to_bytes(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self), indent=1).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Status:
        """From JSON; what a later version says besides is passed over.

        Raises:
            ValueError: it is none.
        """
        told = json.loads(data)
        try:
            known = {f.name: told[f.name] for f in fields(cls) if f.name in told}
            known |= {name: tuple(known[name]) for name in ("failures", "lanes", "matchers") if name in known}
            known["pools"] = {name: Pool(**pool) for name, pool in known.get("pools", {}).items()}
            known["under_way"] = tuple(UnderWay(**film) for film in known.get("under_way", ()))
            return cls(**known)
        except (TypeError, AttributeError) as error:
            raise ValueError(f"not the status of a run: {error}") from error

    def silent_s(self, now: datetime) -> int:
        """Seconds since it was written."""
        return max(0, int((now - datetime.fromisoformat(self.updated)).total_seconds()))

    def verdict(self, now: datetime) -> Verdict:
        """What to think of it at the time ``now``."""
        if self.ended:
            return Verdict.ENDED if self.failed else Verdict.WELL
        if self.silent_s(now) > SILENT_S or self._gone():
            return Verdict.SILENT
        return Verdict.FAILED if self.failed else Verdict.WELL

    def _gone(self) -> bool:
        """Whether its process was on this machine and is not there any more."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return False


def folder_of(out: str) -> str:
    """Folder of the status files of an output: of the folder ``out``, or of the file."""
    local = files.local_path(out)
    url = files.absolute(out)
    is_file = not out.endswith("/") and not (local and os.path.isdir(local)) and "." in files.split(url)[1]
    return files.join(files.split(url)[0] if is_file else url, FOLDER)


def read_runs(out: str) -> list[Status]:
    """Runs that write into ``out``, and those that ended badly and were not run again since; in the order they began.

    Raises:
        StoreError: the store cannot be read.
    """
    folder, found = folder_of(out), []
    for name in files.list_names(folder):
        # None: its run ended between the listing and now.
        if name.endswith(".json") and (data := files.get_bytes(files.join(folder, name))) is not None:
            try:
                found.append(Status.from_bytes(data))
            except ValueError:
                continue
    return sorted(found, key=lambda status: status.began)


def tidy(folder: str, now: datetime, own: str = "") -> None:
    """Remove files of runs that ended or show no sign of life: another has taken their place. One that was only slow writes its own again.

    Args:
        own: name of the file to leave.
    """
    for name in files.list_names(folder):
        if name != own and name.endswith(".json"):
            url = files.join(folder, name)
            try:
                status = Status.from_bytes(files.get_bytes(url) or b"{}")
                dead = bool(status.ended) or status.verdict(now) is Verdict.SILENT
            except ValueError:
                dead = True
            if dead:
                files.remove(url)


def now() -> datetime:
    """The time, UTC."""
    return datetime.now(UTC)
