from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from dvcp.evaluation.item import PER_FRAME, Item, item_key
from dvcp.evaluation.tables import Summary, curve, mean_scores, per_frame_csv, pooled, table_csv, tables


def item(clip: str, method: str, psnr: list[float], frames: int = 30, cdc: float | None = 0.25) -> Item:
    scores = {name: [float(n)] * len(psnr) for n, name in enumerate(PER_FRAME)} | {"psnr_lab": psnr}
    steady = (0.1, 0.2, 0.3, 0.4, 2.5, 1.25)
    return Item(clip, f"digest of {clip}", method, f"digest of {method}", frames, 64, 48, scores, cdc, 0.5, *steady, 0.75, 1.5)


LONG = item("long.mp4", "copy", [40.0] * 10 + [30.0] * 10 + [20.0] * 10)
SHORT = item("short.mp4", "copy", [50.0] * 12)


def test_item_survives_its_file() -> None:
    key = item_key(LONG.clip_digest, LONG.method_digest, LONG.frames)
    data = LONG.to_bytes()
    assert Item.from_bytes(data, key) == LONG
    assert Item.from_bytes(data, item_key(LONG.clip_digest, LONG.method_digest, 31)) is None
    assert Item.from_bytes(data[:-20], key) is None
    assert Item.from_bytes(b"[]", key) is None
    assert Item.from_bytes(data.replace(b'"delta_e2000"', b'"delta_e1976"'), key) is None


def test_mean_over_frames_then_over_clips() -> None:
    scores = mean_scores([LONG, SHORT], (10, 20, 30))
    # long: 40, 35, 30; short, of 12 frames: 50 each time
    assert scores.psnr_lab == {10: 45, 20: 42.5, 30: 40}
    assert (scores.psnr_rgb, scores.delta_e2000, scores.l2_ab) == (1, 2, 3)
    assert pooled([LONG, SHORT], (10, 30)) == {10: 45, 30: pytest.approx((900 + 600) / 42)}
    assert curve([LONG, SHORT])[9:13] == [45, 40, 40, 30]


def test_drift_is_the_slope_over_a_hundred_frames() -> None:
    assert item("a.mp4", "copy", [40.0 - 0.25 * k for k in range(30)]).drift == pytest.approx(-25)
    assert SHORT.drift == 0 and item("a.mp4", "copy", [45.0, 44.0, 43.0]).drift is None, "three frames say nothing of a hundred"
    assert LONG.drift == pytest.approx(100 * np.polyfit(range(30), LONG.per_frame["psnr_lab"], 1)[0])


def test_cdc_means_leave_out_single_frames() -> None:
    one = item("one.mp4", "copy", [40.0], cdc=None)
    assert mean_scores([LONG, one], (30,)).cdc == 0.25
    assert mean_scores([one], (30,)).cdc is None


@pytest.mark.parametrize(
    ("frames", "horizons"), [(50, (10, 20, 30, 40, 50)), (25, (10, 20, 25)), (4, (4,)), (80, (10, 20, 30, 40, 50, 80))]
)
def test_horizons_end_at_the_frames_measured(frames: int, horizons: tuple[int, ...]) -> None:
    assert Summary(frames, (), []).horizons == horizons


def test_means_compare_methods_on_the_same_clips() -> None:
    gray = item("long.mp4", "gray", [28.0] * 30)
    summary = Summary(30, (LONG, gray, SHORT), ["short.mp4, gray: RuntimeError: no"])
    assert summary.clips == ["long.mp4"]
    assert summary.means()["copy"].psnr_lab == {10: 40, 20: 35, 30: 30}
    assert "1 clips lack a method and are left out of the means" in summary.notes()
    assert summary.dataset == Summary(30, (LONG,), []).dataset != Summary(30, (LONG, SHORT), []).dataset
    assert Summary(30, (SHORT, LONG), []).dataset == Summary(30, (LONG, SHORT), []).dataset


def test_markdown_is_methods_by_n_with_the_truth_and_what_failed() -> None:
    lines = Summary(30, (LONG, SHORT), ["x.mp4: broken"]).markdown.splitlines()
    assert lines[0] == (
        "| method | PSNR-Lab@10 | PSNR-Lab@20 | PSNR-Lab@30 | dB/100 frames | PSNR-RGB | SSIM | dE2000 | L2 ab | CDC | warp error | soft "
        "| flicker | colourfulness |"
    )
    drift = f"{(LONG.drift + SHORT.drift) / 2:.2f}"
    assert lines[2] == (
        f"| copy | 45.00 | 42.50 | 40.00 | {drift} | 1.00 | 0.7500 | 2.00 | 3.00 | 0.250000 | 0.100000 | 0.300000 | 2.500 | 4.00 |"
    )
    assert lines[3] == "| *truth* | - | - | - | - | - | - | - | - | 0.500000 | 0.200000 | 0.400000 | 1.250 | 5.00 |"
    assert "- N=20: 1 of 2 clips are shorter and count with the frames they have" in lines
    assert not any(line.startswith("- N=10") for line in lines)
    assert any("true first frame" in line for line in lines)
    assert lines[-1] == "- FAILED x.mp4: broken"


def test_csv_has_clips_then_means_and_every_frame() -> None:
    summary = Summary(30, (LONG, SHORT), [])
    rows = list(csv.DictReader(io.StringIO(table_csv(summary))))
    assert [(r["clip"], r["frames"], r["psnr_lab@20"], r["cdc_truth"]) for r in rows] == [
        ("long.mp4", "30", "35.000000", "0.500000"),
        ("short.mp4", "12", "50.000000", "0.500000"),
        ("mean", "42", "42.500000", "0.500000"),
    ]
    frames = list(csv.DictReader(io.StringIO(per_frame_csv(summary))))
    assert len(frames) == 42
    assert (frames[0]["k"], frames[29]["k"], frames[30]["k"], frames[29]["psnr_lab"], frames[29]["l2_ab"]) == (
        "1",
        "30",
        "1",
        "20.000000",
        "3.000000",
    )


def test_json_carries_what_the_numbers_rest_on() -> None:
    summary = Summary(30, (LONG, SHORT), ["x.mp4: broken"])
    data = json.loads(tables(summary)["table.json"])
    assert data["dataset"] == summary.dataset
    assert data["reference"] == "true first frame"
    assert data["methods"] == {"copy": "digest of copy"}
    assert data["mean"]["copy"]["psnr_lab"] == {"10": 45, "20": 42.5, "30": 40}
    assert [c["frames"] for c in data["clips"]] == [30, 12]
    assert data["failed"] == ["x.mp4: broken"]
    assert data["weights"] == {}, "copy has none"


def test_the_weights_stand_beside_the_method() -> None:
    summary = Summary(30, (replace(LONG, weights="ab" * 32), SHORT), [])
    assert json.loads(tables(summary)["table.json"])["weights"] == {"copy": "ab" * 32}
    assert f"- copy: {LONG.method_digest[:16]}, weights {'ab' * 8}" in summary.markdown.splitlines()


def test_nothing_measured_still_makes_tables() -> None:
    made = tables(Summary(50, (), ["x.mp4: broken"]))
    assert "FAILED x.mp4: broken" in made["table.md"]
    assert json.loads(made["table.json"])["mean"] == {}
