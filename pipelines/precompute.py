"""Training intermediates from an archive's colour films: every film a task, its failures its own.

Run the same flow again after anything: what the dataset's ledger holds is not computed again, and films that are new are added.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from dvcp.media.source import find_sources
from dvcp.runtime.actors import Lane
from dvcp.runtime.cluster import PoolSettings, connected, lanes
from dvcp.runtime.precompute import Outcome, PrecomputeSettings, broken, compute_film, finish, open_dataset, shared_out
from dvcp.runtime.record import Recorder
from pipelines.steps import step


@step("precompute film")
def film_step(settings: PrecomputeSettings, made: dict[str, Any], source: str, idle: SimpleQueue[Sequence[Lane]]) -> Outcome:
    """Compute what the dataset lacks of one film, or say in one line why that cannot be."""
    return compute_film(settings, made, source, idle, lambda film, done, found: None)


@flow(name="precompute archive", persist_result=False, task_runner=ThreadPoolTaskRunner(max_workers=64))  # type: ignore[arg-type] # its base is generic
def precompute_archive(
    sources: str | list[str],
    out: str,
    method: str = "dvcp",
    options: dict[str, Any] | None = None,
    rollout: int = 100,
    seed: int = 1,
    address: str | None = None,
    propagators: int = 0,
    matchers: int = 0,
) -> State[Any]:
    """Precompute the films of a folder, glob or list into the dataset ``out``.

    Args:
        options: of the method, e.g. ``{"feedback": "local", "weights": "descriptor.safetensors"}``.
        rollout: longest way from a reference, in frames.
    """
    settings = PrecomputeSettings(out, method, options or {}, rollout, seed, PoolSettings(address, propagators, matchers))
    films, made = find_sources(sources), open_dataset(settings)
    with connected(settings.pools), lanes(settings.pools, Recorder) as free:
        idle = shared_out(free, len(films))
        running = [film_step.submit(settings, made, film, idle) for film in films]
        ended = [future.result(raise_on_failure=False) for future in running]
    # What is no outcome is what the last retry raised.
    outcomes = [e if isinstance(e, Outcome) else broken(film, e) for film, e in zip(films, ended, strict=True)]
    shards = finish(settings, made, outcomes)
    held = Counter[str]()
    for shard in shards:
        held[shard.source] += shard.rows
    rows = [{"film": o.source, "computed": o.frames, "rows": held[o.film.digest] if o.film else 0, "error": o.error} for o in outcomes]
    create_table_artifact(table=rows, key="precompute-archive", description=f"{sum(s.rows for s in shards)} rows in {out}")
    failed = [row["error"] for row in rows if row["error"]]
    if failed:
        return Failed(message=f"{len(failed)} of {len(films)} films failed: {failed[0]}", data=rows)
    return Completed(message=f"{len(films)} films", data=rows)
