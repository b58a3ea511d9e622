"""The Prefect flow: a batch goes on past a film that cannot be read; it runs with no server set up and against a real one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dvcp.errors import ConfigError
from tests.films import make_film

pytestmark = pytest.mark.slow

SCRIPT = """
import json, sys
from pipelines.colorize import colorize_archive
state = colorize_archive(sys.argv[1], sys.argv[2], sys.argv[3], method="copy", return_state=True)
outcomes = state.data if isinstance(state.data, list) else state.result(raise_on_failure=False)
print("RESULT " + json.dumps([state.is_completed(), [[o.out, o.computed, o.error] for o in outcomes]]))
"""


def run_flow(sources: Path, stills: Path, out: str, home: Path, **env: str) -> tuple[bool, list[list[object]]]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(sources), str(stills), out], capture_output=True, text=True, timeout=280,
        env={**os.environ, "PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", **env},
    )  # fmt: skip
    line = next((x for x in done.stdout.splitlines() if x.startswith("RESULT ")), None)
    assert line, done.stdout + done.stderr
    completed, outcomes = json.loads(line.removeprefix("RESULT "))
    return completed, outcomes


def test_one_bad_film_does_not_stop_the_batch(tmp_path: Path) -> None:
    reels = tmp_path / "reels"
    film = make_film(reels, "one")
    second = make_film(reels, "two")
    for still in second.stills.iterdir():
        still.rename(film.stills / still.name)
    second.stills.rmdir()
    (reels / "broken.mkv").write_bytes(b"\x1aE\xdf\xa3 no film")
    completed, outcomes = run_flow(reels, film.stills, f"{tmp_path}/out/", tmp_path / "prefect")
    assert not completed
    errors = [o for o in outcomes if o[2]]
    assert len(outcomes) == 3 and len(errors) == 1 and "broken.mkv" in str(errors[0][2])
    assert all(Path(str(o[0])).exists() for o in outcomes if not o[2])
    (reels / "broken.mkv").unlink()
    completed, outcomes = run_flow(reels, film.stills, f"{tmp_path}/out/", tmp_path / "prefect")
    assert completed
    assert [o[1] for o in outcomes] == [0, 0], "nothing is computed twice"
    assert (tmp_path / "out" / "one_colour.dvcp" / "report.png").exists()


def test_against_a_server(tmp_path: Path, prefect_server: str) -> None:
    film = make_film(tmp_path / "reels")
    completed, outcomes = run_flow(film.gray, film.stills, str(tmp_path / "out.mkv"), tmp_path / "prefect", PREFECT_API_URL=prefect_server)
    assert completed and outcomes[0][2] == ""
    import httpx

    with httpx.Client(base_url=prefect_server) as client:
        runs = client.post("/flow_runs/filter", json={}).json()
        artifacts = client.post("/artifacts/filter", json={}).json()
    assert {"colorize archive"} <= {client_name(r, prefect_server) for r in runs}
    assert {a["type"] for a in artifacts} >= {"table", "image"}


def client_name(run: dict[str, str], server: str) -> str:
    import httpx

    return str(httpx.get(f"{server}/flows/{run['flow_id']}").json()["name"])


def test_sources_by_folder_glob_and_list(tmp_path: Path) -> None:
    from pipelines.colorize import find_sources

    for name in ("b.mkv", "a.mp4", "notes.txt"):
        (tmp_path / name).touch()
    both = [str(tmp_path / "a.mp4"), str(tmp_path / "b.mkv")]
    assert find_sources(str(tmp_path)) == both
    assert find_sources(f"{tmp_path}/*.mkv") == both[1:]
    assert find_sources(both[::-1]) == both
    with pytest.raises(ConfigError):
        find_sources(f"{tmp_path}/*.mov")
