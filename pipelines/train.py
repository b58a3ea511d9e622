"""From colour footage to measured weights: descriptors or F_w, precompute, fusion, once more with the fusion in the loop, evaluate.

Every stage resumes where it was: training from its checkpoint, precompute from its ledger, evaluation from its items. So the recovery
from anything is to run the same flow again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from dvcp.errors import ConfigError
from dvcp.evaluation.batch import EvaluationSettings
from dvcp.evaluation.run import evaluate
from dvcp.media.source import find_sources
from dvcp.runtime.precompute import PrecomputeSettings, precompute
from dvcp.runtime.settings import PoolSettings
from dvcp.store.secrets import redact
from dvcp.training.clips import select_files
from dvcp.training.spread import spread
from pipelines.steps import step

#: steps of a stage: optimiser steps, samples a step, learning rate
Steps = tuple[int, int, float]


@step("train")
def train_step(stage: str, options: dict[str, Any], devices: int) -> str:
    """One stage of training; returns its weights file."""
    return str(spread(stage, options, devices))


@step("precompute")
def precompute_step(settings: PrecomputeSettings, sources: list[str]) -> str:
    """A dataset; returns its URL. Films that cannot be used are named in the log."""
    shards, failed = precompute(settings, sources, lambda film, done, found: None)
    for line in failed:
        get_run_logger().warning(redact(line))
    if not shards:
        raise ConfigError("no film gave anything to learn from", file=settings.out, hint="see the warnings above")
    return settings.out


@step("evaluate")
def evaluate_step(settings: EvaluationSettings) -> str:
    """Measure; returns the table as Markdown."""
    return evaluate(settings, progress=False).markdown


@flow(name="train", persist_result=False)
def train(
    data: str,
    out: str,
    clips: str,
    method: str = "dvcp",
    licences: list[str] | None = None,
    first: Steps = (4500, 1, 1e-3),
    fusion: Steps = (8000, 16, 1e-3),
    rollout: int = 100,
    working_height: int = 576,
    devices: int = 1,
    loaders: int = 0,
    pools: PoolSettings | None = None,
) -> str:
    """Train the networks of a method and measure them. Returns the path of the weights.

    Args:
        data: folder of colour clips, one shot each, to learn from.
        out: folder for everything.
        clips: folder of colour clips to measure on.
        method: "dvcp" (descriptors and choice) or "paper" (F_w and F_f).
        licences: only clips of these classes in the ``clips.csv`` beside them.
        first, fusion: optimiser steps, batch and learning rate of the first network, and of each pass of the fusion.
    """
    place, allowed = Path(out).absolute(), licences or []
    sources = find_sources([str(path) for path in select_files(data, licences=allowed)])

    def schedule(steps: Steps) -> tuple[Any, ...]:
        return (steps[0], 0, *steps[1:], 1, max(1, min(500, steps[0] // 8)), loaders)

    stage = "descriptor" if method == "dvcp" else "local"
    size = {"frames": 16, "max_height": working_height} if method == "dvcp" else {"size": 128}
    base = train_step(stage, {"data": data, "out": place / stage, "schedule": schedule(first), "licences": allowed, **size}, devices)
    datasets, weights = [], None
    for turn, feedback in enumerate(("local", "fused"), 1):
        options = {"weights": weights or base, "feedback": feedback, "working_height": working_height}
        wanted = PrecomputeSettings(str(place / f"proposals{turn}"), method, options, rollout, turn, pools or PoolSettings())
        datasets.append(precompute_step(wanted, sources))
        more = {"data": list(datasets), "base": base, "out": place / f"fusion{turn}", "schedule": schedule(fusion), "size": 128}
        weights = train_step("fusion", more | {"start": weights}, devices)
    family = ("dvcp", "local", "global") if method == "dvcp" else ("paper", "paper-local", "paper-global")
    same = {"weights": weights, "working_height": working_height}
    settings = EvaluationSettings(clips, (*family, "flow", "copy", "gray"), 50, str(place / "evaluation"), same)
    create_markdown_artifact(evaluate_step(settings), key="train-evaluation", description=f"{weights} on {clips}")
    assert weights is not None
    return weights
