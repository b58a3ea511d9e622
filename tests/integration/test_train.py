"""Training as people run it: several processes through Ray Train, and the whole chain as a Prefect flow."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from dvcp.nets.weights import load_local
from dvcp.store.intermediates import Intermediates
from dvcp.training.spread import spread
from tests.films import colour_film

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("cluster")]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for k in range(2):
        colour_film(folder / f"clip{k}.mkv", (10,), seed=k)
    return folder


def curve(folder: Path) -> list[dict[str, str]]:
    with (folder / "curve.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_two_processes_train_one_network(tmp_path: Path, films: Path) -> None:
    options = {"data": str(films), "out": tmp_path / "run", "licences": [], "size": 32, "schedule": (4, 0, 4, 1e-3, 1, 2, 0)}
    path = spread("local", options, devices=2)
    assert path == tmp_path / "run" / "weights.safetensors"
    assert [row["step"] for row in curve(tmp_path / "run")] == ["2", "4"], "one process writes"
    checkpoint = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert checkpoint["step"] == 4
    assert all(bool(p.isfinite().all()) for p in load_local(str(path)).parameters())


def test_the_flow_goes_from_clips_to_measured_weights_and_resumes(tmp_path: Path, films: Path, prefect_here: None) -> None:
    from pipelines.train import train

    def run() -> str:
        place = str(films)
        return train(place, str(tmp_path / "out"), place, first=(6, 1, 1e-3), fusion=(8, 2, 1e-3), rollout=9, working_height=64)

    weights = run()
    assert weights == str(tmp_path / "out" / "fusion2" / "weights.safetensors")
    for turn, feedback in ((1, "local"), (2, "fused")):
        data = Intermediates(str(tmp_path / "out" / f"proposals{turn}"))
        assert data.videos == ["clip0", "clip1"] and data.made["options"]["feedback"] == feedback
        assert curve(tmp_path / "out" / f"fusion{turn}")[-1]["step"] == "8"
    table = (tmp_path / "out" / "evaluation" / "table.md").read_text()
    assert "| dvcp |" in table and "| flow |" in table
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.parquet")}
    assert before and run() == weights
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.parquet")} == before
