"""Colour an archive: every film a subflow, its failures its own, its steps visible to the operator.

Run it in a process of its own (no server needed), or against ``prefect server start`` with PREFECT_API_URL set. A run that died is
recovered by running the same flow again: the ledger beside each output, not Prefect's cache, says what is done.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_image_artifact, create_markdown_artifact, create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from dvcp.media.probe import VideoInfo, probe
from dvcp.media.source import find_sources, stem
from dvcp.runtime.batch import Outcome, refuse
from dvcp.runtime.cluster import PoolSettings, connected
from dvcp.runtime.expendable import Expendable
from dvcp.runtime.job import Job, JobSettings, deliver, prepare, propagate, verify_output
from dvcp.runtime.picture import before_after
from dvcp.runtime.references import Missing
from dvcp.store.ledger import SegmentRecord
from pipelines.steps import step

#: where files are read: a damaged one takes this process with it and no other
READER = Expendable(JobSettings.silence_s)


@step("probe")
def probe_step(source: str) -> VideoInfo:
    """Open the film and read its clock."""
    return READER.call(probe, source, file=source)


@step("look and plan")
def plan_step(settings: JobSettings, info: VideoInfo) -> Job:
    """Survey the film, find cuts, stills and what the ledger lacks."""
    return READER.call(prepare, settings, info, file=settings.source)


@step("propagate")
def propagate_step(job: Job) -> int:
    """Colour the missing segments; returns how many."""
    logger, total, done = get_run_logger(), len(job.todo()), 0

    def report(segment: Any, item: Any) -> None:
        nonlocal done
        if isinstance(item, SegmentRecord):
            done += 1
            speed = item.frames / max(item.seconds, 1e-3)
            logger.info("shot %d: segment %d of %d, %d frames, %.2f frames/s", segment.shot, done, total, item.frames, speed)

    return len(propagate(job, report))


@step("assemble")
def assemble_step(job: Job) -> list[str]:
    """Join the segments and put the output; returns warnings."""
    return READER.call(deliver, job, file=job.settings.source)


@step("verify")
def verify_step(job: Job) -> None:
    """Prove the output against its source. Raises VerifyError when it does not hold."""
    _, problems = READER.call(verify_output, job.output.file_url, job.settings.source, file=job.output.file_url)
    refuse(problems, job.output.file_url)


@flow(name="colorize film", flow_run_name="{name}", persist_result=False)
def colorize_film(name: str, settings: JobSettings, truth: str | None = None) -> Outcome:
    """Probe, plan, propagate, assemble and verify one film; leaves a before/after picture beside the output."""
    info = probe_step(settings.source)
    job = plan_step(settings, info)
    for warning in job.warnings:
        get_run_logger().warning(warning)
    computed = propagate_step(job)
    late = assemble_step(job)
    verify_step(job)
    films = (settings.source, job.output.file_url)
    picture = READER.call(before_after, *films, job.output.report_url("report.png"), truth=truth, file=settings.source)
    create_image_artifact(image_url=picture, description=f"{name}: gray | coloured" + (" | truth" if truth else ""))
    return Outcome.of(job, computed, late)


@flow(name="colorize archive", persist_result=False)
def colorize_archive(
    sources: str | list[str],
    references: str | None,
    out: str,
    method: str = "dvcp",
    profile: str = "master",
    missing: str = "nearest",
    take: int = 1,
    options: dict[str, Any] | None = None,
    address: str | None = None,
    propagators: int = 0,
    matchers: int = 0,
    truth: str | None = None,
) -> State[Any]:
    """Colour every film of a folder, glob or list.

    Args:
        sources: films.
        references: folder of painted stills, told apart by the film's name in theirs, and of loose pictures, which serve every film;
            None for an automatic method, or with ``missing`` "auto".
        out: folder URL ending in "/", or, for a single film, a file.
        truth: the film in colour where it is known, for the report picture (single film).
    """
    pools = PoolSettings(address, propagators, matchers)
    films = find_sources(sources)
    if len(films) > 1 and not out.endswith("/"):
        out += "/"
    base = JobSettings("", references, out, method, options or {}, profile, missing=Missing(missing), take=take, pools=pools)
    outcomes = []
    with READER, connected(pools):
        for film in films:
            outcomes.append(_one(film, replace(base, source=film), truth))
    rows = [
        {"film": o.source, "out": o.out, "frames": o.frames, "damaged": o.damaged, "shots": o.shots, "computed": o.computed,
         "reused": o.segments - o.computed, "warnings": len(o.warnings), "error": o.error}
        for o in outcomes
    ]  # fmt: skip
    create_table_artifact(table=rows, key="colorize-archive", description="What became of every film")
    doubts = [f"- {w}" for o in outcomes for w in o.warnings]
    if doubts:
        create_markdown_artifact("\n".join(doubts), key="colorize-warnings", description="What a person should look at")
    failed = [o for o in outcomes if o.error]
    if failed:
        return Failed(message=f"{len(failed)} of {len(films)} films failed: {failed[0].error}", data=outcomes)
    return Completed(message=f"{len(films)} films", data=outcomes)


def _one(film: str, settings: JobSettings, truth: str | None) -> Outcome:
    """One film; what goes wrong with it stays with it."""
    try:
        return colorize_film(stem(film), settings, truth)
    except Exception as error:
        return Outcome.failed(film, error)
