"""Colour an archive: every film that is not done yet is a task, its failures its own, its stages visible to the operator.

Run it in a process of its own (no server needed), or against ``prefect server start`` with PREFECT_API_URL set. A run that died is
recovered by running the same flow again: the catalogue says which films are left, and the ledger beside each output what is left of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from dvcp.errors import ClusterLost
from dvcp.media.source import VIDEO_SUFFIXES, find_sources, stem
from dvcp.methods import create
from dvcp.runtime.batch import Outcome, crew
from dvcp.runtime.job import JobSettings
from dvcp.store import files
from dvcp.store.catalogue import NAME, Asset, Catalogue
from dvcp.store.listing import listing
from dvcp.store.remote import Facts
from dvcp.store.secrets import redact
from pipelines.artifacts import EVERY_S, ProgressBar, show_archive, show_doubts, show_films
from pipelines.credentials import use_store
from pipelines.film import Shares, ended, film_step
from pipelines.parameters import ColorizeParameters
from pipelines.question import questions
from pipelines.steps import lost


@flow(name="colorize archive", persist_result=False, task_runner=ThreadPoolTaskRunner(max_workers=64))  # type: ignore[arg-type] # its base is generic
def colorize_archive(parameters: ColorizeParameters) -> State[Any]:
    """Colour every film of an archive that is not done yet. The state's data are the outcomes of the films this run has touched."""
    use_store(parameters.store_block)
    there = find_films(parameters.sources)
    out = parameters.out + ("/" if len(there) > 1 and not parameters.out.endswith("/") else "")
    settings = parameters.settings(out)
    # Before any film: a misspelt option would fail them all.
    create(settings.method, **settings.options)
    folder = out if out.endswith("/") else files.split(files.absolute(out))[0]
    catalogue = Catalogue(files.join(folder, NAME), flow_run.name or "")
    catalogue.take(there, questions(settings), listing(folder).keys())
    left = catalogue.left(there, attempts=parameters.attempts, retry_failed=parameters.retry_failed)
    given_up = [a for a in catalogue.left(there, retry_failed=True) if a.attempts >= parameters.attempts and not parameters.retry_failed]
    get_run_logger().info("%d films, %d to do, %d failed too often and are left alone", len(there), len(left), len(given_up))
    try:
        outcomes = _colour(left, settings, catalogue, parameters)
    except ClusterLost as error:
        return lost(error)
    show_films(outcomes)
    show_doubts(outcomes)
    show_archive(catalogue.url, catalogue.counts(there), given_up)
    failed = [o for o in outcomes if o.error]
    if failed:
        return Failed(message=f"{len(failed)} of {len(outcomes)} films failed: {redact(failed[0].error)}", data=outcomes)
    rest = f", {len(given_up)} left alone: they failed too often" if given_up else ""
    return Completed(message=f"{len(there)} films, {len(outcomes)} of them coloured now{rest}", data=outcomes)


def find_films(sources: str | Sequence[str]) -> dict[str, Facts]:
    """Size and tag of every film that a folder, a glob or a list of URLs names, from one listing a folder.

    Raises:
        ConfigError: nothing there.
        StoreError: the store cannot be listed.
    """
    there = listing(sources, VIDEO_SUFFIXES)
    # A film that somebody named and that is not there fails like any other, and the rest goes on.
    named = [files.absolute(s) for s in ([sources] if isinstance(sources, str) else sources) if s.lower().endswith(VIDEO_SUFFIXES)]
    lost = {url: Facts(0, "") for url in named if url not in there and not set("*?") & set(url)}
    if not there and not lost:
        find_sources(sources)  # says what is there instead
    return there | lost


def _colour(left: Sequence[Asset], settings: JobSettings, catalogue: Catalogue, parameters: ColorizeParameters) -> list[Outcome]:
    """Colour what is left, some films at a time.

    Raises:
        ClusterLost: as soon as one film ends in it; what is under way stays ``doing``, and the same run can be started again.
        StoreError: the catalogue cannot be written at the beginning or at the end.
    """
    outcomes, waiting, running = list[Outcome](), list(left)[::-1], dict[PrefectFuture[Any], str]()
    at_once, shares, bar = min(parameters.films_at_once, len(left)), Shares(), ProgressBar(len(left), "colorize-progress")
    truth = parameters.truth if len(left) == 1 else None
    finished: SimpleQueue[PrefectFuture[Any]] = SimpleQueue()
    with crew(settings.pools, settings.silence_s, max(1, at_once)) as at_work, _kept(catalogue):
        at_work.board.expect(len(left))
        while waiting or running:
            while waiting and len(running) < at_once:
                film = waiting.pop().source
                catalogue.begin(film)
                future = film_step.submit(stem(film), at_work, replace(settings, source=film), shares, truth)
                running[future] = film
                future.add_done_callback(finished.put)
            with suppress(Empty):
                future = finished.get(timeout=EVERY_S)
                outcome = ended(film := running.pop(future), future.result(raise_on_failure=False))
                outcomes.append(outcome)
                shares.drop(film)
                if outcome.error:
                    get_run_logger().error(redact(outcome.error))
                    catalogue.failed(film, outcome.error)
                else:
                    catalogue.done(film, outcome.out, outcome.frames, outcome.shots, outcome.segments)
            bar.show(len(outcomes) + shares.total())
    bar.show(len(outcomes), last=True)
    return outcomes


@contextmanager
def _kept(catalogue: Catalogue) -> Iterator[None]:
    """Write the catalogue at the beginning and, whatever happens, at the end: what is done need not be looked at again."""
    catalogue.save()
    # Before the actors end, not after: a cancelled run is given 30 s, and its Ray gets the same signal and may take all of them.
    try:
        yield
    except BaseException:
        # What ended the run must be told, and not that the store was away as well.
        catalogue.try_save()
        raise
    catalogue.save()
