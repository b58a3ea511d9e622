"""A Prefect worker that is lost: the server notices, starts the same run again, and nothing done is done again."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import pytest

from dvcp.runtime.job import verify_output
from dvcp.store.catalogue import AssetState, Catalogue
from tests.deployed import Deployed, deploy, kill_all, worker
from tests.faults.interrupted import finished
from tests.films import make_film

pytestmark = [pytest.mark.night, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def deployed(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    return deploy(prefect_server, tmp_path_factory.mktemp("deployed"), silence_s=40)


def test_a_lost_worker(deployed: Deployed, tmp_path: Path) -> None:
    """SIGKILL of the worker and all it has started, in the middle of a film."""
    film = make_film(tmp_path, "one", lengths=(3,) * 120, painted=((0,),) * 120, size=(48, 64))
    out, ledger = tmp_path / "out" / "one_colour.mkv", tmp_path / "out" / "one_colour.dvcp" / "ledger"
    asked = {"sources": str(film.gray), "references": str(film.stills), "out": f"{tmp_path}/out/", "method": "copy"}
    run = deployed.start("nightly-colorize", **asked)
    with worker(deployed) as process:
        deployed.wait("the first segments", lambda: len(finished(ledger)) >= 3)
        kill_all(process)
    kept = finished(ledger)
    assert 3 <= len(kept) < 120 and deployed.run(run)["state_type"] == "RUNNING"
    deployed.wait("the server to notice", lambda: "AwaitingRetry" in deployed.states(run))
    with worker(deployed):
        assert deployed.ended(run) == "COMPLETED", deployed.logs(run)
    again = deployed.run(run)
    # A server on SQLite handles an event again when its database was locked, and says the same up to four times.
    told = [name for name, _ in groupby(deployed.states(run)) if name in ("Running", "Crashed", "AwaitingRetry")]
    assert told == ["Running", "Crashed", "AwaitingRetry", "Running"]
    assert again["run_count"] == 2 and again["parameters"]["parameters"] == asked, "the same run, with the same parameters"
    assert kept.items() <= finished(ledger).items(), "a finished segment was made again"
    assert verify_output(str(out), str(film.gray))[1] == []
    assert Catalogue(f"{tmp_path}/out/catalogue.parquet").counts([str(film.gray)])[AssetState.DONE] == 1


def test_a_run_that_never_began(deployed: Deployed, prefect_here: None) -> None:
    """Its worker took it and died: it must not hold the deployment's one slot for ever."""
    from pipelines.automations import automations, install

    run = deployed.start("nightly-colorize", sources="/nowhere/", out="/nowhere/")
    try:
        install(automations(pending_s=12))
        deployed.ask(f"flow_runs/{run}/set_state", {"state": {"type": "PENDING"}})
        assert deployed.ended(run) == "CRASHED"
        assert "did not begin" in deployed.run(run)["state"]["message"]
    finally:
        install(automations(silence_s=40))
