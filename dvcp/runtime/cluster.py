"""Ray: connect or start, and size the pools."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from dvcp.environment import whole_number
from dvcp.errors import ClusterLost, ConfigError, one_line
from dvcp.runtime.settings import PoolSettings

#: of every actor; page faults of big short-lived tensors cost 1.3x: keep freed memory instead of returning it to the system
ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "268435456",
    # Waiting threads of one actor must not spin on the cores another one needs.
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
}
#: seconds without room for anything after which a run is given up
NO_ROOM_S = 900
#: CPU threads of a network actor: one propagator for every four cores
THREADS = 4


@contextmanager
def connected(settings: PoolSettings, *, log_to_driver: bool = False) -> Iterator[None]:
    """A Ray connection for the block: an existing one is used and left, one that is made here is shut down.

    Args:
        log_to_driver: show what actors print.

    Raises:
        ConfigError: no cluster answers at the address.
    """
    if ray.is_initialized():
        yield
        return
    # An archive's machine tells nobody what it does.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray starts its workers at niceness 15: beside any other busy program they get a thirtieth of a core, and runs seem to hang.
    os.environ.setdefault("RAY_worker_niceness", "0")
    # Workers made in advance have another environment than our actors: each would start Python and Ray, and then wait for nothing.
    os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
    # 30 s are not enough for a node to register on a machine that is busy with other work.
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "200")
    # Ray says on stderr, at every start, that its cluster asks for a token: a cron job would mail that line each night.
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
    # And that outside the main thread it takes no SIGTERM, at each start.
    logging.getLogger("ray._private.worker").setLevel(logging.ERROR)
    quiet: dict[str, Any] = {"log_to_driver": log_to_driver, "logging_level": logging.ERROR, "configure_logging": False}
    # "local": without it Ray joins whatever cluster somebody has started on this machine.
    own: dict[str, Any] = {"address": "local", "include_dashboard": False, "object_store_memory": 1 << 30}
    # A thread that outlives the connection: Linux kills Ray's servers when the thread that started them ends (PR_SET_PDEATHSIG), and one of
    # several films' threads may end long before the others.
    with ThreadPoolExecutor(1, "ray") as starter:
        try:
            starter.submit(ray.init, **({"address": settings.address} if settings.address else own), **quiet).result()
        except (ConnectionError, ValueError) as error:
            hint = "start one with `ray start --head`"
            raise ConfigError(f"no Ray cluster at {settings.address}: {one_line(error)}", hint=hint) from error
        try:
            yield
        finally:
            ray.shutdown()


@dataclass(frozen=True)
class Sizes:
    """How many actors there are to be, worked out from the nodes there are.

    Attributes:
        lanes, matchers: how many.
        propagator_gpus, matcher_gpus: GPUs each holds.
        threads: CPU threads of each network actor.
        open_mb: MiB of decoded pictures each lane may have waiting.
    """

    lanes: int
    matchers: int
    propagator_gpus: float
    matcher_gpus: float
    threads: int
    open_mb: int


def no_room(what: str) -> ClusterLost:
    """The cluster had no place for ``what`` in all the time there was."""
    hint = "add nodes, or ask for fewer GPUs or propagators; `ray status` says what is there"
    return ClusterLost(f"the cluster had no room for {what} in {NO_ROOM_S} s", hint=hint)


def computing_nodes() -> list[dict[str, float]]:
    """Resources of every node that is alive and has a processor for actors."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]


def sizes(settings: PoolSettings) -> Sizes:
    """What ``settings`` come to on the nodes that are alive; waits for the first of them.

    Raises:
        ConfigError: lanes would leave matchers no GPU, or ``DVCP_NETWORK_THREADS`` is no number.
        ClusterLost: no node with a processor came in :data:`NO_ROOM_S`.
    """
    deadline = time.monotonic() + NO_ROOM_S
    while not (nodes := computing_nodes()):
        if time.monotonic() > deadline:
            raise no_room("anything: no node with a processor came")
        time.sleep(1)
    gpus, cores = int(sum(node.get("GPU", 0) for node in nodes)), [int(node["CPU"]) for node in nodes]
    least = max(1, min(cores))
    width = settings.propagators or gpus or max(1, sum(cores) // THREADS)
    matchers = settings.matchers or width
    propagator_gpus, matcher_gpus = _shares(settings, gpus, width, matchers)
    # Whatever the pool sizes: sums of one thread and of several round differently, and no picture may depend on how many actors there are.
    threads = settings.threads or whole_number("DVCP_NETWORK_THREADS", 0) or min(THREADS, least)
    # Half of a node's store for what waits, the rest for evidence and for what is on its way.
    store = min(node.get("object_store_memory", 1 << 30) for node in nodes)
    holding = [node for node in nodes if not propagator_gpus or node.get("GPU", 0) >= propagator_gpus] or nodes
    room = max(int(node.get("GPU", 0) / propagator_gpus) for node in holding) if propagator_gpus else -(-width // len(holding))
    on_one_node = max(1, min(width, room))
    return Sizes(width, matchers, propagator_gpus, matcher_gpus, threads, max(1, int(store / on_one_node / 2) >> 20))


def _shares(settings: PoolSettings, gpus: int, lanes: int, matchers: int) -> tuple[float, float]:
    """GPUs for each propagator and each matcher: half of one each where there are enough, less where more actors are asked for."""
    ours, theirs = settings.propagator_gpus, settings.matcher_gpus
    if not gpus:
        return ours or 0.0, theirs or 0.0
    if ours is None:
        left = gpus - (theirs or 0.0) * matchers
        ours = left / (lanes if theirs is not None else lanes + matchers)
    if theirs is None:
        theirs = (gpus - ours * lanes) / matchers
    ours = min(ours, 0.5) if settings.propagator_gpus is None else ours
    theirs = min(theirs, 0.5) if settings.matcher_gpus is None else theirs
    if (settings.propagator_gpus is None and ours <= 0) or (settings.matcher_gpus is None and theirs <= 0):
        # On the CPU they would be a hundred times slower, and nobody would know why.
        hint = "--gpus-per-propagator and --gpus-per-matcher that fit, or fewer --propagators"
        raise ConfigError(f"{lanes} lanes and {matchers} matchers do not fit on {gpus} GPUs", hint=hint)
    # Ray counts in ten thousandths; rounded up, the last actor would find no room.
    return int(ours * 10000) / 10000, int(theirs * 10000) / 10000


def computes_on(settings: PoolSettings) -> str:
    """Kind of device that the actors use, "cuda" or "cpu". Raises as :func:`sizes`."""
    return "cuda" if sizes(settings).propagator_gpus else "cpu"
