"""deploy/prefect.yaml on a real server with a real worker: form, schedule, keys of a store from a block, what a cancelled run leaves."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from dvcp.media.probe import probe
from dvcp.store import files
from dvcp.store.catalogue import AssetState, Catalogue
from dvcp.store.ledger import Ledger
from tests.deployed import Deployed, deploy, worker
from tests.faults.interrupted import finished
from tests.films import make_film
from tests.s3_server import KEY, SECRET, S3Server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def deployed(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    yield deploy(prefect_server, tmp_path_factory.mktemp("deployed"))


def test_the_form(deployed: Deployed) -> None:
    """What the UI makes a form of, and what the server refuses before there is a run."""
    found = {name: deployed.deployment(name) for name in ("nightly-colorize", "precompute", "weekly-evaluate")}
    for deployment, model in zip(found.values(), ("ColorizeParameters", "PrecomputeParameters", "EvaluateParameters"), strict=True):
        schema = deployment["parameter_openapi_schema"]
        assert list(schema["properties"]) == ["parameters"] and deployment["enforce_parameter_schema"]
        fields = schema["definitions"][model]["properties"]
        assert all("title" in field or "$ref" in field for field in fields.values())
        assert deployment["global_concurrency_limit"]["limit"] == 1 and "dvcp" in deployment["tags"]
    fields = found["nightly-colorize"]["parameter_openapi_schema"]["definitions"]["ColorizeParameters"]["properties"]
    assert next(iter(fields)) == "sources" and "copy" in fields["method"]["enum"] and fields["take"]["minimum"] == 1
    assert found["nightly-colorize"]["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    active = {name: [schedule["active"] for schedule in deployment["schedules"]] for name, deployment in found.items()}
    assert active == {"nightly-colorize": [True], "precompute": [False], "weekly-evaluate": [True]}
    for wrong in ({"method": "magic"}, {"take": 0}, {"metod": "dvcp"}, {"sources": ""}):
        with pytest.raises(httpx.HTTPStatusError, match=r"409|422"):
            deployed.start("nightly-colorize", **{"sources": "/films/", "out": "/out/", **wrong})


def test_the_server_makes_runs_by_the_schedule(deployed: Deployed) -> None:
    """With SQLAlchemy 2.1 the server's scheduler fails, silently but for its log, and no night ever comes."""
    nightly = deployed.deployment("nightly-colorize")["id"]
    wanted = {"deployments": {"id": {"any_": [nightly]}}, "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    runs = deployed.wait("a scheduled run", lambda: deployed.ask("flow_runs/filter", wanted), 90)
    assert all(run["auto_scheduled"] and run["expected_start_time"][11:16] == "20:00" for run in runs)


def test_keys_from_a_block(deployed: Deployed, s3: S3Server, s3_url: str, prefect_here: None, tmp_path: Path) -> None:
    """A run for now is picked up, reads and writes S3 with keys its worker does not have, and they stand nowhere."""
    from pipelines.credentials import StoreCredentials

    film = make_film(tmp_path, "one", lengths=(4,), painted=((0,),), size=(48, 64))
    for path in (film.gray, *film.stills.iterdir()):
        files.put_file(path, f"{s3_url}/{'reels' if path == film.gray else 'stills'}/{path.name}")
    keys = StoreCredentials(endpoint=s3.endpoint, region="us-east-1", key=KEY, secret=SECRET)
    keys.save("archive", overwrite=True)
    run = deployed.start(
        "nightly-colorize", sources=f"{s3_url}/reels/", references=f"{s3_url}/stills/", out=f"{s3_url}/colour/", method="copy",
        store_block="archive",
    )  # fmt: skip
    with worker(deployed, **{**dict.fromkeys(s3.env), "AWS_EC2_METADATA_DISABLED": "true"}):
        assert deployed.ended(run) == "COMPLETED", deployed.logs(run)
        # Lines go to the server every two seconds, the state at once: a worker killed now would take the last ones with it.
        deployed.wait("its log", lambda: "delivered and verified" in deployed.logs(run))
    assert Catalogue(f"{s3_url}/colour/catalogue.parquet").counts([f"{s3_url}/reels/one.mkv"])[AssetState.DONE] == 1
    kinds = {artifact["type"] for artifact in deployed.artifacts(run)}
    assert {"progress", "table", "markdown"} <= kinds
    told = deployed.logs(run)
    assert "1 to do" in told
    everything = [told, str(deployed.run(run)), str(deployed.artifacts(run)), (deployed.home / "worker.log").read_text()]
    home = Path(deployed.ask("admin/settings", method="GET")["home"])
    everything += ["\n".join(sqlite3.connect(home / "prefect.db").iterdump()), (home / "prefect-server.log").read_text()]
    everything += [(files.get_bytes(f"{s3_url}/colour/one_colour.dvcp/provenance.json") or b"").decode()]
    assert not [text[:80] for text in everything if SECRET in text]


def test_a_cancelled_run(deployed: Deployed, tmp_path: Path) -> None:
    """It leaves whole segments and no process, and the film is still to do."""
    film = make_film(tmp_path, "one", lengths=(3,) * 120, painted=((0,),) * 120, size=(48, 64))
    ledger = tmp_path / "out" / "one_colour.dvcp"
    run = deployed.start("nightly-colorize", sources=str(film.gray), references=str(film.stills), out=f"{tmp_path}/out/", method="copy")
    with worker(deployed) as process:
        deployed.wait("the first segments", lambda: len(finished(ledger / "ledger")) >= 3)
        below = psutil.Process(process.pid).children(recursive=True)
        deployed.ask(f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})
        assert deployed.ended(run) == "CANCELLED", deployed.logs(run)
        _, alive = psutil.wait_procs(below, timeout=30)
        assert not alive, [p.name() for p in alive]
    records = Ledger(str(ledger)).records()
    assert 3 <= len(records) < 120 and all(Ledger(str(ledger)).check(record) for record in records)
    assert not (tmp_path / "out" / "one_colour.mkv").exists()
    (left,) = Catalogue(f"{tmp_path}/out/catalogue.parquet").left([str(film.gray)])
    assert left.state is AssetState.DOING and left.attempts == 0 and len(probe(str(film.gray)).frames) == 360
