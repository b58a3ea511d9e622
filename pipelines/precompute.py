"""Training intermediates from an archive's colour films: every film a task, its failures its own.

Run the same flow again after anything: what the dataset's ledger holds is not computed again, and films that are new are added.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from dvcp.errors import ClusterLost
from dvcp.media.source import find_sources
from dvcp.runtime.board import Board
from dvcp.runtime.driver import Driver, driving
from dvcp.runtime.precompute import FILMS, Outcome, PrecomputeSettings, broken, compute_film, finish, open_dataset
from dvcp.runtime.record import Recorder
from dvcp.store.secrets import redact
from pipelines.credentials import use_store
from pipelines.parameters import PrecomputeParameters
from pipelines.steps import lost, step


@step("precompute film")
def film_step(settings: PrecomputeSettings, made: dict[str, Any], source: str, driver: Driver, board: Board) -> Outcome:
    """Compute what the dataset lacks of one film, or say in one line why that cannot be."""
    return compute_film(settings, made, source, driver, board, lambda film, done, found: None)


@flow(name="precompute archive", persist_result=False, task_runner=ThreadPoolTaskRunner(max_workers=FILMS))  # type: ignore[arg-type] # its base is generic
def precompute_archive(parameters: PrecomputeParameters) -> State[Any]:
    """Precompute colour films into a dataset. The state's data are the rows of the table of films."""
    use_store(parameters.store_block)
    settings = parameters.settings()
    films, made = find_sources(parameters.sources), open_dataset(settings)
    with driving(settings.pools, Recorder) as driver, Board(driver.snapshot) as board:
        board.expect(len(films))
        running = [film_step.submit(settings, made, film, driver, board) for film in films]
        ended = [future.result(raise_on_failure=False) for future in running]
    for end in ended:
        if isinstance(end, ClusterLost):
            return lost(end)
    # What is no outcome is what the last retry raised.
    outcomes = [e if isinstance(e, Outcome) else broken(film, e) for film, e in zip(films, ended, strict=True)]
    shards = finish(settings, made, outcomes)
    held = Counter[str]()
    for shard in shards:
        held[shard.source] += shard.rows
    rows = [
        {"film": redact(o.source), "computed": o.frames, "rows": held[o.film.digest] if o.film else 0, "error": redact(o.error)}
        for o in outcomes
    ]
    described = f"{sum(s.rows for s in shards)} rows in {redact(settings.out)}"
    create_table_artifact(table=rows, key="precompute-archive", description=described)
    failed = [row["error"] for row in rows if row["error"]]
    if failed:
        return Failed(message=f"{len(failed)} of {len(films)} films failed: {failed[0]}", data=rows)
    return Completed(message=f"{len(films)} films", data=rows)
