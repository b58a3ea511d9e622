"""What the server does by itself when a run loses its process: it says so, and starts the run again.

``python -m pipelines.automations`` puts this there. A run whose machine dies stays "Running" for ever: nobody is left to say otherwise.
Flow processes send a heartbeat every 30 s or more (PREFECT_FLOWS_HEARTBEAT_FREQUENCY, set in deploy/prefect.yaml); a run that has sent one
and then nothing is set to Crashed, and so is one that a worker took and that never began. A run that crashed under way is scheduled again
as the same run, with the same parameters; the catalogue and the ledgers say what is left of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import timedelta

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from pipelines.credentials import StoreCredentials

#: on every deployment of deploy/prefect.yaml: other people's runs are not touched
TAG = "dvcp"
#: seconds of silence after which a run is taken for dead: three heartbeats, for one may come late
SILENCE_S = 95
#: seconds from being taken by a worker to the first line of a flow: pulling, importing, a busy machine
PENDING_S = 900
#: times a run is started in all
STARTS = 4
_HEARTBEAT = "prefect.flow-run.heartbeat"
_ENDS = {f"prefect.flow-run.{name}" for name in ("Completed", "Failed", "Cancelled", "Crashed")}
_MOVES = {f"prefect.flow-run.{name}" for name in ("Running", "Cancelling", "Scheduled", "AwaitingRetry", "AwaitingConcurrencySlot")}
_RUNS: dict[str, str | list[str]] = {"prefect.resource.id": ["prefect.flow-run.*"]}
_OURS = ResourceSpecification({"prefect.resource.id": f"prefect.tag.{TAG}", "prefect.resource.role": "tag"})


def automations(silence_s: float = SILENCE_S, pending_s: float = PENDING_S, starts: int = STARTS) -> list[AutomationCore]:
    """The three automations.

    Args:
        silence_s: see :data:`SILENCE_S`, 10 or more.
        pending_s: see :data:`PENDING_S`, 10 or more.
        starts: see :data:`STARTS`; 1 = a crashed run is left as it is.
    """
    # Counted by the server, so that it ends even when the process dies before a line of ours runs.
    counts = [str(count) for count in range(1, starts)]
    crashed = EventTrigger(
        expect={"prefect.flow-run.Crashed"}, match=ResourceSpecification({**_RUNS, "prefect.run-count": counts or ["never"]}),
        match_related=_OURS, for_each={"prefect.resource.id"}, posture=Posture.Reactive, threshold=1, within=timedelta(0),
    )  # fmt: skip
    # Not "run a deployment": that would be another run, with the deployment's parameters in place of this one's.
    again = ChangeFlowRunState(name="AwaitingRetry", state=StateType.SCHEDULED, message="it crashed and is started again", force=False)
    gone = f"no sign of life for {silence_s:g} s: its process or machine is gone"
    late = f"it did not begin within {pending_s:g} s: the worker that took it is gone"
    return [
        # A run is watched from its first heartbeat on, until it ends.
        AutomationCore(
            name="dvcp: a silent run has crashed", trigger=_silence({_HEARTBEAT}, {_HEARTBEAT, *_ENDS}, silence_s), actions=[_crash(gone)],
            description=f"No heartbeat for {silence_s:g} s.",
        ),
        AutomationCore(
            name="dvcp: a run that never began has crashed", actions=[_crash(late)],
            trigger=_silence({"prefect.flow-run.Pending"}, _MOVES | _ENDS, pending_s), description=f"Pending for {pending_s:g} s.",
        ),
        AutomationCore(
            name="dvcp: a crashed run starts again", trigger=crashed, actions=[again],
            description=f"The same run, with the same parameters, {starts} times in all at most.",
        ),
    ]  # fmt: skip


def _silence(after: set[str], expect: set[str], seconds: float) -> EventTrigger:
    """Fires for a run of ours that sends none of ``expect`` within ``seconds`` of one of ``after``."""
    return EventTrigger(
        after=after, expect=expect, match=ResourceSpecification(_RUNS), match_related=_OURS, for_each={"prefect.resource.id"},
        posture=Posture.Proactive, threshold=1, within=timedelta(seconds=seconds),
    )  # fmt: skip


def _crash(message: str) -> ChangeFlowRunState:
    return ChangeFlowRunState(name=None, state=StateType.CRASHED, message=message, force=False)


def install(wanted: Sequence[AutomationCore]) -> None:
    """Have the server hold exactly one automation of each name, as ``wanted``. Safe to repeat."""
    with get_client(sync_client=True) as client:
        for automation in wanted:
            held = client.read_automations_by_name(automation.name)
            if held:
                # The client sends the fields that were set: the server wants all of them, but for the owner, which it refuses.
                whole = AutomationCore.model_validate(automation.model_dump(exclude={"owner_resource"}))
                client.update_automation(held[0].id, whole)
            else:
                client.create_automation(automation)
            for double in held[1:]:
                client.delete_automation(double.id)


def main() -> None:
    """Put the automations and the type of block onto the server at PREFECT_API_URL."""
    parser = argparse.ArgumentParser(description="Put dvcp's automations and its type of block onto the Prefect server.")
    parser.add_argument("--silence", type=float, default=SILENCE_S, help="seconds without a heartbeat after which a run has crashed")
    parser.add_argument("--pending", type=float, default=PENDING_S, help="seconds from Pending to Running after which a run has crashed")
    parser.add_argument("--starts", type=int, default=STARTS, help="times a run is started in all")
    options = parser.parse_args()
    StoreCredentials.register_type_and_schema()
    wanted = automations(options.silence, options.pending, options.starts)
    install(wanted)
    print("\n".join(automation.name for automation in wanted))


if __name__ == "__main__":
    main()
