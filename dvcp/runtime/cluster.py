"""Ray: connect or start, size the pools, make the actors."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from dvcp.errors import ConfigError
from dvcp.runtime.actors import Decoder, Lane, Matcher, Propagator, Writer

log = logging.getLogger(__name__)

#: page faults of big short-lived tensors cost 1.3x: keep freed memory instead of returning it to the system
_MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "268435456",
    # Waiting threads of one actor must not spin on the cores another one needs.
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
}
#: CPU threads of a network actor: one propagator for every four cores
THREADS = 4


@dataclass(frozen=True)
class PoolSettings:
    """How many actors and what each gets.

    Attributes:
        address: of a Ray cluster; None starts one on this machine.
        propagators: 0 = one a GPU, or one for every four CPU cores (at least one).
        matchers: 0 = as many as propagators.
        propagator_gpus, matcher_gpus: GPUs each holds, fractions allowed; None = half a GPU each where the cluster has any, else 0.
        threads: CPU threads of each network actor; 0 = 4, or all cores of a machine that has fewer.
    """

    address: str | None = None
    propagators: int = 0
    matchers: int = 0
    propagator_gpus: float | None = None
    matcher_gpus: float | None = None
    threads: int = 0


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
    # Ray says on stderr, at every start, that its cluster asks for a token: a cron job would mail that line each night.
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
    quiet: dict[str, Any] = {"log_to_driver": log_to_driver, "logging_level": logging.ERROR, "configure_logging": False}
    try:
        if settings.address:
            ray.init(address=settings.address, **quiet)
        else:
            ray.init(include_dashboard=False, object_store_memory=1 << 30, **quiet)
    except (ConnectionError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"no Ray cluster at {settings.address}: {reason}", hint="start one with `ray start --head`") from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def lanes(settings: PoolSettings, writer: type = Writer) -> Iterator[list[Lane]]:
    """The actors of a job, killed at the end so that devices are free again. ``writer`` keeps what its lane makes."""
    have = ray.cluster_resources()
    gpus, cores = int(have.get("GPU", 0)), max(1, int(have.get("CPU", 1)))
    width = settings.propagators or (gpus if gpus else max(1, cores // THREADS))
    matchers = settings.matchers or width
    share = 0.5 if gpus else 0.0
    propagator_gpus = share if settings.propagator_gpus is None else settings.propagator_gpus
    matcher_gpus = share if settings.matcher_gpus is None else settings.matcher_gpus
    # Whatever the pool sizes: sums of one thread and of several round differently, and no picture may depend on how many actors there are.
    threads = settings.threads or min(THREADS, cores)
    log.info("%d propagators (%g GPU), %d matchers (%g GPU), %d threads", width, propagator_gpus, matchers, matcher_gpus, threads)
    made: list[Any] = []

    def actor(kind: type, *arguments: Any, gpu: float = 0.0, cpu: float = 0.05, repeat: int = 0) -> Any:
        env = dict(_MALLOC)
        if not gpu:
            # num_gpus=0 hides nothing: an actor without a GPU would still see, and fill, the first one.
            env["CUDA_VISIBLE_DEVICES"] = ""
        options = {"num_cpus": cpu, "num_gpus": gpu, "max_restarts": -1, "max_task_retries": repeat, "runtime_env": {"env_vars": env}}
        made.append(ray.remote(kind).options(**options).remote(*arguments))
        return made[-1]

    try:
        pool = [actor(Matcher, threads, gpu=matcher_gpus, cpu=0.2, repeat=3) for _ in range(matchers)]
        shared = tuple(pool)
        result = [
            Lane(actor(writer), actor(Propagator, threads, gpu=propagator_gpus, cpu=0.4), actor(Decoder), shared) for _ in range(width)
        ]
        yield result
    finally:
        for one in made:
            ray.kill(one)
