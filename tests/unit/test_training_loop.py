from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dvcp.errors import WeightsError
from dvcp.training.loop import Schedule, train

SCHEDULE = Schedule(steps=20, minutes=0, batch=4, lr=0.05, report_every=5)


class Regression:
    """A net with batch norm (so that buffers matter too), its optimiser and data; may stop at a step, as a machine does."""

    def __init__(self, seed: int = 0, stop_at: int | None = None) -> None:
        torch.manual_seed(seed)
        self.net = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1))
        self.optimiser = torch.optim.Adamax(self.net.parameters(), lr=1.0)
        self.steps, self.stop_at = 0, stop_at
        self.drawn: list[float] = []

    def draw(self, rng: np.random.Generator, count: int) -> Tensor:
        return torch.from_numpy(rng.normal(size=(4 * count, 3)).astype(np.float32))

    def loss(self, net: nn.Module, x: Tensor) -> Tensor:
        if self.steps == self.stop_at:
            raise KeyboardInterrupt
        self.steps += 1
        self.drawn.append(float(x[0, 0]))
        assert net.training
        return ((net(x)[:, 0] - x.sum(1)) ** 2).mean()

    def held_out(self) -> dict[str, float]:
        assert not self.net.training and torch.is_inference_mode_enabled()
        x = torch.linspace(-1, 1, 30).reshape(10, 3)
        return {"error": float(((self.net(x)[:, 0] - x.sum(1)) ** 2).mean())}

    def run(self, folder: Path, schedule: Schedule = SCHEDULE, about: dict[str, object] | None = None) -> dict[str, float]:
        parts = {"draw": self.draw, "loss_of": self.loss, "held_out": self.held_out}
        return train(self.net, self.optimiser, schedule, folder, **parts, about=about or {"stage": "test"})


def curve(folder: Path) -> list[dict[str, str]]:
    with (folder / "curve.csv").open(newline="") as lines:
        return [{k: v for k, v in row.items() if k != "minutes"} for row in csv.DictReader(lines)]


@pytest.mark.parametrize("stop_at", [10, 13])
def test_a_resumed_run_equals_an_undisturbed_one_bit_for_bit(tmp_path: Path, stop_at: int) -> None:
    whole = Regression()
    wanted = whole.run(tmp_path / "whole")
    broken = Regression(stop_at=stop_at)
    with pytest.raises(KeyboardInterrupt):
        broken.run(tmp_path / "resumed")
    resumed = Regression(seed=1)
    found = resumed.run(tmp_path / "resumed")
    assert resumed.steps == 10, "resumes at the last checkpoint"
    assert len(set(whole.drawn)) == 20 and resumed.drawn == whole.drawn[10:]
    for name, values in whole.net.state_dict().items():
        assert torch.equal(values, resumed.net.state_dict()[name]), name
    assert curve(tmp_path / "resumed") == curve(tmp_path / "whole")
    assert [row["step"] for row in curve(tmp_path / "whole")] == ["5", "10", "15", "20"]
    assert (found["error"], found["steps"]) == (wanted["error"], 20)


def test_training_learns_and_draws_its_curve(tmp_path: Path) -> None:
    task = Regression()
    measured = task.run(tmp_path, Schedule(steps=150, minutes=0, batch=4, lr=0.05, report_every=10))
    rows = curve(tmp_path)
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"]) / 2
    assert measured["error"] == float(rows[-1]["error"])
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob("*.part"))


def test_a_finished_run_is_measured_and_not_trained_again(tmp_path: Path) -> None:
    first = Regression()
    measured = first.run(tmp_path)
    again = Regression(seed=1)
    found = again.run(tmp_path)
    assert again.steps == 0 and found["error"] == measured["error"] and found["steps"] == 20


def test_the_last_step_is_always_reported(tmp_path: Path) -> None:
    Regression().run(tmp_path, Schedule(steps=7, minutes=0, batch=4, lr=0.01, report_every=5))
    assert [row["step"] for row in curve(tmp_path)] == ["5", "7"]


def test_time_ends_a_run_too(tmp_path: Path) -> None:
    task = Regression()
    measured = task.run(tmp_path, Schedule(steps=10**9, minutes=0.005, batch=4, lr=0.01, report_every=10**9))
    assert 0 < measured["steps"] < 10**9 and measured["minutes"] >= 0.005
    assert curve(tmp_path)[-1]["step"] == str(int(measured["steps"])) and "error" in measured


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    Regression().run(tmp_path)
    others: list[tuple[str, Schedule, dict[str, object]]] = [
        ("seed", Schedule(20, 0, 4, 0.05, seed=2), {"stage": "test"}),
        ("batch", Schedule(20, 0, 8, 0.05), {"stage": "test"}),
        ("clips, stage", SCHEDULE, {"stage": "other", "clips": "ab"}),
    ]
    for what, schedule, about in others:
        with pytest.raises(WeightsError, match=f"another {what}"):
            Regression().run(tmp_path, schedule, about)


def test_the_rate_warms_up_and_falls_along_a_cosine() -> None:
    rates = [SCHEDULE.rate(p) for p in (0, 0.0096, 0.5, 1, 2)]
    np.testing.assert_allclose(rates, [0.05 * 0.05, 0.05, 0.05 * 0.515, 0.05 * 0.03, 0.05 * 0.03], rtol=1e-3)
    falling = [SCHEDULE.rate(p) for p in np.linspace(0.02, 1, 50)]
    assert falling == sorted(falling, reverse=True)
