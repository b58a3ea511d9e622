from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import pytest

from dvcp.evaluation.batch import EvaluationSettings
from dvcp.evaluation.plots import STRIP_WIDTH, plot, strip, strip_frames
from dvcp.evaluation.run import evaluate
from dvcp.evaluation.tables import Summary
from dvcp.media.stills import read_still
from tests.unit.media_clips import make_film, ramp


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluation")


@pytest.fixture(scope="module")
def measured(folder: Path) -> Summary:
    (folder / "clips").mkdir()
    for k, name in enumerate(("a", "b", "c", "d")):
        make_film(folder / "clips" / f"{name}.mkv", ramp(3 + k, 32, 48))
    return evaluate(EvaluationSettings(str(folder / "clips"), ("gray", "copy"), 5, str(folder)), progress=False)


def test_strip_frames_are_those_of_the_paper_or_the_last() -> None:
    assert [strip_frames(n) for n in (80, 50, 20, 2, 1)] == [[1, 10, 30, 50], [1, 10, 30, 50], [1, 10, 20], [1, 2], [1]]


def test_strip_is_a_grid_of_reduced_pictures() -> None:
    wide = [np.full((40, 2 * STRIP_WIDTH, 3), shade, np.uint8) for shade in (10, 20, 30)]
    grid = strip([wide, wide[::-1]])
    assert grid.shape == (2 * 20 + 4, 3 * STRIP_WIDTH + 2 * 4, 3)
    assert (grid[0, 0, 0], grid[0, STRIP_WIDTH, 0], grid[0, -1, 0], grid[-1, 0, 0], grid[-1, -1, 0]) == (10, 255, 30, 30, 10)


def test_curve_and_sheets_are_pictures(measured: Summary, folder: Path) -> None:
    for name in ("curve.png", "sheet_gray.png", "sheet_copy.png", "compare_a.mkv.png"):
        assert min(read_still(str(folder / name)).rgb.shape[:2]) > 300
    strips = sorted((folder / "items").glob("d.mkv.gray.*.png"))
    assert len(strips) == 1
    # frames 1 and 5 of 32 rows, and gray | gray | truth in columns of 48
    rgb = read_still(str(strips[0])).rgb
    assert rgb.shape == (2 * 32 + 4, 3 * 48 + 2 * 4, 3)
    assert np.ptp(rgb[:32, :100], axis=-1).max() == 0 < np.ptp(rgb[:32, 104:], axis=-1).max()


def test_without_matplotlib_there_is_a_line_in_the_log(
    measured: Summary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with caplog.at_level(logging.WARNING):
        plot(measured, str(tmp_path / "bare"))
    assert "matplotlib is not installed" in caplog.text
    assert not (tmp_path / "bare").exists()


def test_nothing_measured_draws_nothing(tmp_path: Path) -> None:
    plot(Summary(5, (), []), str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()
