"""What all flows' tasks have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Crashed

from dvcp.errors import ClusterLost, DvcpError
from dvcp.store.secrets import redact

P = ParamSpec("P")
R = TypeVar("R")


# What a person can mend (a missing still, a full disk) does not mend itself in a minute; a store that hiccups does.
def _worth_retrying(_task: Any, _run: Any, state: State[Any]) -> bool:
    try:
        state.result()
    except DvcpError:
        return False
    except Exception:
        return True
    return False


def step(name: str, run_name: str | None = None) -> Callable[[Callable[P, R]], Task[P, R]]:
    """A task that is never cached (the ledger is the truth) and tried again after faults that may pass.

    Args:
        run_name: how a run is called; ``{...}`` names its parameters.
    """
    return task(
        name=name, task_run_name=run_name, cache_policy=NO_CACHE, persist_result=False,
        retries=2, retry_delay_seconds=5, retry_condition_fn=_worth_retrying,
    )  # fmt: skip


def lost(error: ClusterLost) -> State[Any]:
    """Of a run that lost its cluster: crashed runs are started again (:mod:`pipelines.automations`), failed ones wait for a person."""
    return Crashed(message=redact(str(error)))
