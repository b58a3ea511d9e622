"""Training intermediates from an archive's colour films: every film a task, its failures its own.

Run the same flow again after anything: what the dataset's ledger holds is not computed again, and films that are new are added.
"""

from __future__ import annotations

from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from dvcp.errors import DvcpError
from dvcp.media.source import find_sources, stem
from dvcp.runtime.actors import Lane
from dvcp.runtime.cluster import PoolSettings, connected, lanes
from dvcp.runtime.precompute import Film, PrecomputeSettings, compute, finish, open_dataset, prepare, shared_out
from dvcp.runtime.record import Recorder
from pipelines.steps import step


@step("precompute film")
def film_step(settings: PrecomputeSettings, made: dict[str, Any], source: str, idle: SimpleQueue[Sequence[Lane]]) -> Film | str:
    """Compute what the dataset lacks of one film, or say in one line why that cannot be."""
    group = idle.get()
    try:
        film = prepare(settings, source, made)
        records = compute(settings, film, group, lambda segment, item: None)
        get_run_logger().info("%s: %d frames computed", stem(source), sum(r.frames for r in records))
        return film
    except DvcpError as error:
        return str(error)
    finally:
        idle.put(group)


@flow(name="precompute archive", persist_result=False, task_runner=ThreadPoolTaskRunner(max_workers=64))  # type: ignore[arg-type]
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
    done = [end for end in ended if isinstance(end, Film)]
    shards = finish(settings, made, done)
    rows = [
        {"film": film, "frames": sum(s.rows for s in shards if isinstance(end, Film) and s.source == end.digest),
         "error": "" if isinstance(end, Film) else str(end)}
        for film, end in zip(films, ended, strict=True)
    ]  # fmt: skip
    create_table_artifact(table=rows, key="precompute-archive", description=f"{sum(s.rows for s in shards)} rows in {out}")
    failed = [row["error"] for row in rows if row["error"]]
    if failed:
        return Failed(message=f"{len(failed)} of {len(films)} films failed: {failed[0]}", data=rows)
    return Completed(message=f"{len(films)} films", data=rows)
