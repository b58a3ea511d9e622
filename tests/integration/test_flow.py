"""The Prefect flows, in this process against the real server: what they do with films, and what they leave for the operator to see."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dvcp.runtime.batch import Outcome
from dvcp.store import files
from dvcp.store.catalogue import AssetState, Catalogue
from tests.deployed import Deployed
from tests.films import colour_film, framemd5, make_film

pytestmark = pytest.mark.slow


def colorize(**parameters: Any) -> tuple[bool, str, list[Outcome], str]:
    """Run the flow here; (completed, message, outcomes, id of the run)."""
    from pipelines.colorize import colorize_archive
    from pipelines.parameters import ColorizeParameters

    state = colorize_archive(ColorizeParameters(**{"method": "copy", **parameters}), return_state=True)
    outcomes = state.data if isinstance(state.data, list) else state.result(raise_on_failure=False)
    return state.is_completed(), state.message or "", outcomes, str(state.state_details.flow_run_id)


def artifacts(server: str, run: str) -> dict[str, list[dict[str, Any]]]:
    """Artifacts of a run by type."""
    by_type: dict[str, list[dict[str, Any]]] = {}
    for artifact in Deployed(server, Path()).artifacts(run):
        by_type.setdefault(artifact["type"], []).append(artifact)
    return by_type


def two_reels(folder: Path) -> tuple[Path, Path]:
    """A folder of two films and the one with their stills."""
    first, second = (make_film(folder / "reels", name, lengths=(4, 3), painted=((0,), (1,)), size=(48, 64)) for name in ("one", "two"))
    for still in second.stills.glob("*"):
        still.rename(first.stills / still.name)
    second.stills.rmdir()
    stills = first.stills.rename(folder / "stills")
    return folder / "reels", stills


def test_only_what_is_left_is_done(tmp_path: Path, cluster: None, prefect_server: str, prefect_here: None) -> None:
    """A broken film does not stop the others; what is done is not opened again; a repainted still concerns its own film only."""
    reels, stills = two_reels(tmp_path)
    (reels / "broken.mkv").write_bytes(b"\x1aE\xdf\xa3 no film")
    asked = {"sources": str(reels), "references": str(stills), "out": f"{tmp_path}/out/"}
    completed, message, outcomes, run = colorize(**asked)
    assert not completed and "1 of 3 films failed" in message
    assert {o.source[-7:]: bool(o.error) for o in outcomes} == {"one.mkv": False, "two.mkv": False, "ken.mkv": True}
    seen = artifacts(prefect_server, run)
    table, (bar,) = seen["table"][0], seen["progress"]
    assert '"film": "' in table["data"] and "broken.mkv" in table["data"] and bar["data"] == 100.0
    assert len(seen["image"]) == 2 and {a["key"] for a in seen["markdown"]} >= {"colorize-catalogue"}
    assert (tmp_path / "out" / "one_colour.dvcp" / "report.png").exists()
    (reels / "broken.mkv").unlink()
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")}
    completed, message, outcomes, _ = colorize(**asked)
    assert completed and outcomes == [] and "2 films, 0 of them" in message
    after = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")}
    assert before == after, "not even looked at"
    still = next(stills.glob("two_s0001*"))
    still.write_bytes(next(stills.glob("two_s0002*")).read_bytes())
    (tmp_path / "out" / "one_colour.mkv").unlink()
    completed, _, outcomes, _ = colorize(**asked)
    assert completed and {files.split(o.source)[1]: o.computed for o in outcomes} == {"one.mkv": 0, "two.mkv": 1}


def test_a_film_that_keeps_failing_is_left_alone(tmp_path: Path, cluster: None, prefect_server: str, prefect_here: None) -> None:
    (tmp_path / "reels").mkdir()
    (tmp_path / "reels" / "broken.mkv").write_bytes(b"\x1aE\xdf\xa3 no film")
    asked = {"sources": f"{tmp_path}/reels/*.mkv", "out": f"{tmp_path}/out/", "method": "gray", "attempts": 2}
    assert [len(colorize(**asked)[2]) for _ in range(2)] == [1, 1]
    completed, message, outcomes, run = colorize(**asked)
    assert completed and outcomes == [] and "1 left alone" in message
    (told,) = artifacts(prefect_server, run)["markdown"]
    assert "broken.mkv" in told["data"] and "| failed | 1 |" in told["data"]
    assert len(colorize(**asked, retry_failed=True)[2]) == 1
    assert Catalogue(f"{tmp_path}/out/catalogue.parquet").get(f"{tmp_path}/reels/broken.mkv").attempts == 3  # type: ignore[union-attr]


def test_a_lost_cluster_is_a_crash_and_no_failed_film(
    tmp_path: Path, cluster: None, prefect_server: str, prefect_here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Crashed runs are started again by themselves."""
    from pipelines.colorize import colorize_archive
    from pipelines.parameters import ColorizeParameters

    reels, stills = two_reels(tmp_path)
    asked = {"sources": str(reels), "references": str(stills), "out": f"{tmp_path}/out/", "method": "copy"}
    with monkeypatch.context() as patch:
        patch.setattr("dvcp.runtime.driver.NO_ROOM_S", 3)
        state = colorize_archive(ColorizeParameters(**asked, gpus_per_propagator=1), return_state=True)
    assert state.is_crashed() and "no room" in (state.message or "")
    counts = Catalogue(f"{tmp_path}/out/catalogue.parquet").counts([f"{reels}/one.mkv", f"{reels}/two.mkv"])
    assert counts[AssetState.FAILED] == 0
    assert colorize(**asked)[0]


def test_from_and_to_object_storage(tmp_path: Path, cluster: None, prefect_server: str, prefect_here: None, s3_url: str) -> None:
    film = make_film(tmp_path, "one", lengths=(4,), painted=((0,),), size=(48, 64))
    for path in (film.gray, *film.stills.iterdir()):
        files.put_file(path, f"{s3_url}/{'reels' if path == film.gray else 'stills'}/{path.name}")
    asked = {"sources": f"{s3_url}/reels/", "references": f"{s3_url}/stills/", "out": f"{s3_url}/colour/"}
    completed, _, outcomes, run = colorize(**asked)
    assert completed and outcomes[0].out == f"{s3_url}/colour/one_colour.mkv"
    done = Catalogue(f"{s3_url}/colour/catalogue.parquet").get(f"{s3_url}/reels/one.mkv")
    assert done is not None and (done.state, done.frames, done.shots) == (AssetState.DONE, 4, 1)
    picture = next(a for a in artifacts(prefect_server, run)["markdown"] if "report.png" in a["data"])
    assert f"aws s3 presign {s3_url}/colour/one_colour.dvcp/report.png" in picture["data"] and "Signature" not in picture["data"]
    assert colorize(**asked)[2] == []


def test_mistakes_are_told_before_any_film(tmp_path: Path, prefect_here: None) -> None:
    from pydantic import ValidationError

    (tmp_path / "reel.mkv").touch()
    with pytest.raises(ValidationError, match="'magic' is none of dvcp, exemplar"):
        colorize(sources=str(tmp_path), out=f"{tmp_path}/out/", method="magic")
    with pytest.raises(ValidationError, match="take"):
        colorize(sources=str(tmp_path), out=f"{tmp_path}/out/", take=0)
    mistakes: list[tuple[str, dict[str, Any]]] = [
        ("no film here", {"sources": f"{tmp_path}/*.mov"}),
        ("wetness", {"method": "dvcp", "options": {"wetness": 1}}),
        ("no block 'nobody'", {"store_block": "nobody"}),
    ]
    for told, asked in mistakes:
        completed, message, *_ = colorize(**{"sources": str(tmp_path), "out": f"{tmp_path}/out/", **asked})
        assert not completed and told in message
    assert not (tmp_path / "out").exists()


def test_films_by_folder_glob_and_list(tmp_path: Path) -> None:
    from pipelines.colorize import find_films

    for name in ("b.mkv", "a.mp4", "notes.txt"):
        (tmp_path / name).touch()
    both = [str(tmp_path / "a.mp4"), str(tmp_path / "b.mkv")]
    assert list(find_films(str(tmp_path))) == both
    assert list(find_films(f"{tmp_path}/*.mkv")) == both[1:]
    assert list(find_films(both[::-1])) == both
    assert list(find_films([both[0], f"{tmp_path}/gone.mkv"])) == [both[0], f"{tmp_path}/gone.mkv"], "a film named and not there fails"


def test_evaluate(tmp_path: Path, prefect_server: str, prefect_here: None) -> None:
    from pipelines.evaluate import evaluate_methods
    from pipelines.parameters import EvaluateParameters

    colour_film(tmp_path / "clips" / "a.mkv", (5,), seed=1)
    asked = EvaluateParameters(clips=f"{tmp_path}/clips", out=f"{tmp_path}/report", methods=["copy", "gray"], frames=3)
    state = evaluate_methods(asked, return_state=True)
    assert state.is_completed() and state.message == "2 measured"
    (told,) = artifacts(prefect_server, str(state.state_details.flow_run_id))["markdown"]
    assert "| copy" in told["data"] and f"{tmp_path}/report" in told["data"]
    (tmp_path / "clips" / "bad.mkv").write_bytes(b"no film")
    state = evaluate_methods(asked, return_state=True)
    assert state.is_failed() and "bad.mkv" in (state.message or "")


SCRIPT = """
import sys
from pipelines.colorize import colorize_archive
from pipelines.parameters import ColorizeParameters
asked = ColorizeParameters(sources=sys.argv[1], references=sys.argv[2], out=sys.argv[3], method="copy")
print("RESULT", colorize_archive(asked, return_state=True).is_completed())
"""


def test_without_a_server(tmp_path: Path) -> None:
    """One film into a file, with the server Prefect starts for itself."""
    film = make_film(tmp_path, lengths=(4,), painted=((0,),), size=(48, 64))
    env = {**os.environ, "PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    command = [sys.executable, "-c", SCRIPT, str(film.gray), str(film.stills), str(tmp_path / "out.mkv")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=560, env=env)
    assert "RESULT True" in done.stdout, done.stdout + done.stderr
    assert len(framemd5(tmp_path / "out.mkv")) == 4 and (tmp_path / "catalogue.parquet").exists()
