"""Measure methods on an archive's colour clips, e.g. once a week: tables and plots in a folder, the table among the artifacts.

What an earlier run has measured with the same weights is not measured again.
"""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from dvcp.evaluation.batch import EvaluationSettings
from dvcp.evaluation.run import evaluate
from dvcp.evaluation.tables import Summary
from dvcp.runtime.expendable import Expendable
from dvcp.store import files
from pipelines.credentials import use_store
from pipelines.parameters import EvaluateParameters
from pipelines.steps import step

#: seconds without a sign of life: a slow method may take an hour for a clip on a processor
SILENCE_S = 6 * 3600


@step("evaluate")
def evaluate_step(settings: EvaluationSettings) -> Summary:
    """Measure in a process of its own, for a damaged clip can end the one that reads it; what was measured before that stays."""
    with Expendable(SILENCE_S) as child:
        return child.call(evaluate, settings, progress=False, file=settings.clips)


@flow(name="evaluate", persist_result=False)
def evaluate_methods(parameters: EvaluateParameters) -> State[Any]:
    """Measure methods on clips of true colour. The state's data are the lines of what could not be measured."""
    use_store(parameters.store_block)
    settings = parameters.settings()
    summary = evaluate_step(settings)
    for line in summary.failed:
        get_run_logger().warning(line)
    where = f"Tables and plots: `{files.absolute(settings.out)}`"
    about = f"{len(summary.items)} measurements on {settings.clips}"
    create_markdown_artifact(f"{summary.markdown}\n\n{where}", key="evaluation", description=about)
    if summary.failed:
        return Failed(message=f"{len(summary.failed)} could not be measured: {summary.failed[0]}", data=summary.failed)
    return Completed(message=f"{len(summary.items)} measured", data=summary.failed)
