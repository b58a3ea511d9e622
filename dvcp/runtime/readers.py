"""Where the files of strangers are read: in processes that may die, on this machine or, with a cluster, on its nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

import ray
from ray.exceptions import GetTimeoutError, RayError

from dvcp.errors import MediaError, one_line
from dvcp.methods.base import COMPUTES_ON
from dvcp.runtime.actors import Actor
from dvcp.runtime.cluster import ENVIRONMENT, NO_ROOM_S, computes_on, no_room
from dvcp.runtime.driver import cause
from dvcp.runtime.expendable import Expendable
from dvcp.runtime.settings import PoolSettings
from dvcp.store.secrets import Secrets

R = TypeVar("R")
#: next to nothing: a reader for which a small cluster has no room would keep its film waiting for ever
_CPU = 0.01
#: times a call may be lost to a node or process that died
_ATTEMPTS = 4


class Readers(Protocol):
    """Some places for reading."""

    def call(self, function: Callable[..., R], *args: Any, file: str, **kwargs: Any) -> R:
        """Run ``function(*args, **kwargs)``, which reads ``file``, apart; waits while all places are taken. Safe to call from many threads.

        Raises:
            MediaError: its process died, or showed no sign of life for too long.
            Exception: whatever the function raised.
        """


class _Reader(Actor):
    """One place on a node. The reading is done in a process of the actor's own: one stuck in a decoder could not even be told to stop."""

    def __init__(self, silence_s: float) -> None:
        self._child = Expendable(silence_s)

    def call(self, secrets: Secrets, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], file: str) -> Any:
        secrets.apply()
        return self._child.call(function, *args, file=file, **kwargs)


class _Here:
    """Processes of this machine."""

    def __init__(self, places: int, silence_s: float, stack: ExitStack) -> None:
        self._idle: SimpleQueue[Expendable] = SimpleQueue()
        for _ in range(places):
            self._idle.put(stack.enter_context(Expendable(silence_s)))

    def call(self, function: Callable[..., R], *args: Any, file: str, **kwargs: Any) -> R:
        child = self._idle.get()
        try:
            return child.call(function, *args, file=file, **kwargs)
        finally:
            self._idle.put(child)


class _OnNodes:
    """Actors spread over a cluster: the first look at a film and the last decode all of it, which one machine cannot do for many."""

    def __init__(self, places: int, silence_s: float, stack: ExitStack, device: str) -> None:
        self._idle: SimpleQueue[Any] = SimpleQueue()
        made = ray.remote(_Reader).options(
            num_cpus=_CPU, max_restarts=-1, max_task_retries=0, scheduling_strategy="SPREAD",
            runtime_env={"env_vars": ENVIRONMENT | {"CUDA_VISIBLE_DEVICES": "", COMPUTES_ON: device}},
        )  # fmt: skip
        for _ in range(places):
            actor = made.remote(silence_s)
            stack.callback(_end, actor)
            self._idle.put(actor)

    def call(self, function: Callable[..., R], *args: Any, file: str, **kwargs: Any) -> R:
        reader = self._idle.get()
        try:
            for _ in range(_ATTEMPTS - 1):
                with suppress(_Lost):
                    return self._ask(reader, function, args, kwargs, file)
                self._wait(reader)
            return self._ask(reader, function, args, kwargs, file)
        except _Lost as error:
            hint = "look for a damaged file or nodes that come and go, then run the same command again"
            raise MediaError(f"the process that read it was lost {_ATTEMPTS} times: {error}", file=file, hint=hint) from error
        finally:
            self._idle.put(reader)

    def _wait(self, reader: Any) -> None:
        try:
            ray.get(reader.alive.remote(), timeout=NO_ROOM_S)
        except GetTimeoutError as error:
            raise no_room("a reader") from error

    def _ask(self, reader: Any, function: Callable[..., R], args: tuple[Any, ...], kwargs: dict[str, Any], file: str) -> R:
        try:
            done: R = ray.get(reader.call.remote(Secrets.of_environment(), function, args, kwargs, file))
        except RayError as error:
            known = cause(error)
            if known is not None:
                raise known from error
            raise _Lost(one_line(error)) from error
        return done


class _Lost(Exception):
    """A process or node died during a call."""


@contextmanager
def readers(places: int, silence_s: float, on_nodes: PoolSettings | None = None) -> Iterator[Readers]:
    """``places`` processes that read.

    Args:
        silence_s: seconds a call may show no sign of life.
        on_nodes: they are to be on the nodes of the Ray cluster this process is connected to, for these pools; else on this machine.
    """
    with ExitStack() as stack:
        yield _Here(places, silence_s, stack) if on_nodes is None else _OnNodes(places, silence_s, stack, computes_on(on_nodes))


def _end(actor: Any) -> None:
    with suppress(RayError):
        ray.kill(actor)
