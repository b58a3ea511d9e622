from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest
from skimage.color import rgb2lab

from dvcp.colour import ColourSpec, chroma_to_unit, unit_to_chroma
from dvcp.errors import ConfigError, StoreError
from dvcp.evaluation.batch import EvaluationSettings, find_clips, suited
from dvcp.evaluation.metrics import cdc, colourfulness
from dvcp.evaluation.painted import Painted
from dvcp.evaluation.run import evaluate, frame_scores
from dvcp.loop import colorize_frames
from dvcp.media.probe import probe
from dvcp.media.reader import FrameReader
from dvcp.media.stills import frame_to_rgb
from dvcp.methods.base import Chroma, Evidence, Reference, Window
from dvcp.methods.baselines import Copy, State
from dvcp.timing import Span
from tests.films import small_weights
from tests.trail import Trail
from tests.unit.media_clips import make_film, ramp


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Two films of 8 and 5 frames, each frame of another tint."""
    folder = tmp_path / "clips"
    folder.mkdir()
    make_film(folder / "b.mkv", ramp(8, 32, 48))
    make_film(folder / "a.mkv", ramp(5, 24, 32))
    (folder / "notes.txt").write_text("not a clip")
    return folder


def settings(clips: Path, tmp_path: Path, frames: int = 6, methods: tuple[str, ...] = ("gray", "copy")) -> EvaluationSettings:
    return EvaluationSettings(str(clips), methods, frames, str(tmp_path / "out"))


def test_scores_are_those_of_the_planes_in_the_file(clips: Path, tmp_path: Path) -> None:
    summary = evaluate(settings(clips, tmp_path), progress=False)
    assert [(i.clip, i.method, len(i)) for i in summary.items] == [
        ("a.mkv", "gray", 4),
        ("a.mkv", "copy", 4),
        ("b.mkv", "gray", 6),
        ("b.mkv", "copy", 6),
    ]
    info = probe(str(clips / "b.mkv"))
    with FrameReader(info) as reader:
        luma, chroma = reader.planes(Span(0, 7))
    # a file's chroma may lie outside the nominal range; what dvcp writes does not
    for item, made in zip(summary.items[2:], (np.full_like(chroma[0], 128), chroma[0].clip(16, 240)), strict=True):
        truth = [frame_to_rgb(luma[k], chroma[k], info.colour) for k in range(1, 7)]
        result = [frame_to_rgb(luma[k], made, info.colour) for k in range(1, 7)]
        difference = (rgb2lab(np.stack(truth)) - rgb2lab(np.stack(result))) * [2.55, 1, 1]
        expected = 10 * np.log10(255**2 / (difference**2).mean(axis=(1, 2, 3)))
        np.testing.assert_allclose(item.per_frame["psnr_lab"], expected, rtol=1e-9)
        assert item.cdc == pytest.approx(cdc(result))
        assert item.cdc_truth == pytest.approx(cdc(truth))
        assert item.per_frame["colourfulness_truth"] == pytest.approx([colourfulness(frame) for frame in truth])
    assert max(summary.items[2].per_frame["colourfulness"]) == 0
    assert summary.failed == []


def test_a_frame_equal_to_the_truth_counts_with_the_ceiling() -> None:
    frame = frame_to_rgb(ramp(1, 8, 8)[0], np.full((2, 4, 4), 0.1, np.float32), ColourSpec())
    scores = frame_scores(frame, frame)
    assert (scores["psnr_lab"], scores["psnr_rgb"], scores["delta_e2000"]) == (100, 100, 0)


def test_an_item_says_which_weights_it_was_made_with(clips: Path, tmp_path: Path) -> None:
    weights = small_weights(tmp_path / "w.safetensors")
    wanted = EvaluationSettings(str(clips), ("gray", "local"), 2, str(tmp_path / "out"), {"weights": str(weights)})
    evaluate(wanted, progress=False)
    found = json.loads((tmp_path / "out" / "table.json").read_text())["weights"]
    assert found == {"local": hashlib.sha256(weights.read_bytes()).hexdigest()}


def test_results_lie_in_the_folder(clips: Path, tmp_path: Path) -> None:
    summary = evaluate(settings(clips, tmp_path), progress=True)
    out = tmp_path / "out"
    assert (out / "table.md").read_text() == summary.markdown
    assert json.loads((out / "table.json").read_text()) == json.loads(json.dumps(summary.to_json()))
    assert len((out / "per_frame.csv").read_text().splitlines()) == 1 + 2 * (4 + 6)
    assert (out / "table.csv").exists()


def test_an_interrupted_evaluation_goes_on_from_its_items(clips: Path, tmp_path: Path) -> None:
    first = evaluate(settings(clips, tmp_path), progress=False)
    kept = sorted((tmp_path / "out" / "items").glob("*.json"))
    assert len(kept) == 4
    kept[0].unlink()  # never measured
    kept[1].write_bytes(kept[1].read_bytes()[:200])  # damaged
    kept[2].with_suffix(".png").unlink()  # without its picture
    before = {path: path.stat().st_mtime_ns for path in kept[2:]}
    kept[3].write_text(json.dumps(json.loads(kept[3].read_text()) | {"seconds": 1234.5}))
    before[kept[3]] = kept[3].stat().st_mtime_ns

    again = evaluate(settings(clips, tmp_path), progress=False)
    assert [i.per_frame for i in again.items] == [i.per_frame for i in first.items]
    assert [path.exists() for path in kept] == [True] * 4
    assert kept[2].stat().st_mtime_ns > before[kept[2]]
    assert kept[3].stat().st_mtime_ns == before[kept[3]]
    assert [i.seconds == 1234.5 for i in again.items] == [False, False, True, False]


def test_other_frames_or_another_film_under_the_same_name_are_measured_anew(clips: Path, tmp_path: Path) -> None:
    once = settings(clips, tmp_path, methods=("copy",))
    evaluate(once, progress=False)
    assert {len(i) for i in evaluate(EvaluationSettings(once.clips, once.methods, 2, once.out), progress=False).items} == {2}
    make_film(clips / "a.mkv", ramp(4, 24, 32))
    assert [len(i) for i in evaluate(once, progress=False).items] == [3, 6]


def test_a_clip_that_fails_is_listed_and_the_rest_goes_on(clips: Path, tmp_path: Path) -> None:
    (clips / "aa.mkv").write_bytes(b"not a film")
    make_film(clips / "gray.mkv", ramp(3, 24, 32), pix_fmt="gray")
    make_film(clips / "one.mkv", ramp(1, 24, 32))
    summary = evaluate(settings(clips, tmp_path), progress=False)
    assert [line.split(":")[0] for line in summary.failed] == [str(clips / name) for name in ("aa.mkv", "gray.mkv", "one.mkv")]
    assert "no colour to compare" in summary.failed[1] and "single frame" in summary.failed[2]
    assert all("\n" not in line for line in summary.failed)
    assert summary.clips == ["a.mkv", "b.mkv"]
    assert summary.failed == json.loads((tmp_path / "out" / "table.json").read_text())["failed"]


def test_both_ends_painted_leave_the_frames_between_them(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dvcp.evaluation.run.plot", lambda summary, out: None)
    wanted = replace(settings(clips, tmp_path, frames=4, methods=("copy",)), painted=Painted.ENDS)
    summary = evaluate(wanted, progress=False)
    assert [len(i) for i in summary.items] == [3, 4], "a.mkv has five frames, and two of them are painted"
    info = probe(str(clips / "b.mkv"))
    with FrameReader(info) as reader:
        luma, chroma = reader.planes(Span(0, 6))
    ends = {k: Reference(luma[k], chroma_to_unit(chroma[k], info.colour), True, "") for k in (0, 5)}
    made = unit_to_chroma(colorize_frames(Copy(), luma, ends, info.colour).planes, info.colour)
    scores = [frame_scores(*(frame_to_rgb(luma[k], c[k], info.colour) for c in (made, chroma))) for k in range(1, 5)]
    assert summary.items[1].per_frame["psnr_lab"] == pytest.approx([s["psnr_lab"] for s in scores])
    assert "reference: true first and last frame" in summary.markdown
    again = evaluate(wanted, progress=False)
    assert [i.seconds for i in again.items] == [i.seconds for i in summary.items] and again.items[0].painted is Painted.ENDS
    first = evaluate(replace(wanted, painted=Painted.FIRST), progress=False)
    assert {i.key for i in first.items}.isdisjoint(i.key for i in summary.items)
    make_film(clips / "two.mkv", ramp(2, 24, 32))
    assert "has only 2 frames: nothing is left to colour" in evaluate(wanted, progress=False).failed[0]


def test_without_a_painted_frame_every_frame_of_an_automatic_method_is_measured(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dvcp.evaluation.batch.create", lambda name: Trail() if name == "trail" else Copy())
    wanted = replace(settings(clips, tmp_path, methods=("trail",)), painted=Painted.NONE)
    summary = evaluate(wanted, progress=False)
    assert [len(i) for i in summary.items] == [5, 6]
    assert "reference: none, colours are guessed" in summary.markdown and "after the reference" not in summary.markdown
    with pytest.raises(ConfigError, match="cannot measure copy with no frame painted"):
        evaluate(replace(wanted, methods=("trail", "copy")), progress=False)
    assert suited(("trail", "copy"), Painted.NONE, borrowing=False) == ["trail"]
    assert suited(("trail", "copy"), Painted.ENDS, borrowing=False) == ["trail", "copy"]
    assert suited(("trail", "copy"), Painted.FIRST, borrowing=True) == ["copy"]


class ShortOfMemory(Copy):
    """Copies colour, but not in films of 24 rows."""

    def propagate(self, state: State | None, window: Window, evidence: Evidence) -> tuple[State, Chroma]:
        if window.luma.shape[1] == 24:
            raise MemoryError("no memory\nfor 24 rows")
        return super().propagate(state, window, evidence)


def test_a_method_that_breaks_on_one_clip_is_listed_and_the_rest_goes_on(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dvcp.evaluation.batch.create", lambda name: ShortOfMemory() if name == "short" else Copy())
    summary = evaluate(settings(clips, tmp_path, methods=("short", "copy")), progress=False)
    assert summary.failed == [f"{clips / 'a.mkv'}, short: MemoryError: no memory for 24 rows"]
    assert [(i.clip, i.method) for i in summary.items] == [("a.mkv", "copy"), ("b.mkv", "short"), ("b.mkv", "copy")]
    assert summary.clips == ["b.mkv"]


def test_ten_bit_film(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    make_film(folder / "deep.mov", ramp(4, 32, 48).astype(np.uint16) * 4, pix_fmt="yuv422p10le", codec="prores_ks")
    summary = evaluate(settings(folder, tmp_path, methods=("gray",)), progress=False)
    assert summary.failed == []
    assert 0 < summary.means()["gray"].psnr_lab[6] < 60


def test_results_go_to_a_store_as_well(clips: Path) -> None:
    out = f"memory://evaluation-{os.getpid()}"
    evaluate(EvaluationSettings(str(clips), ("copy",), 3, out), progress=False)
    names = {path.rsplit("/", 1)[1] for path in fsspec.filesystem("memory").find(out)}
    assert {"table.md", "table.csv", "table.json", "per_frame.csv"} <= names
    assert sum(name.endswith(".json") and name.startswith("a.mkv.copy.") for name in names) == 1


def test_settings_and_folders_that_make_no_sense(clips: Path, tmp_path: Path) -> None:
    for frames, methods in ((0, ("copy",)), (5, ()), (5, ("copy", "copy"))):
        with pytest.raises(ConfigError):
            settings(clips, tmp_path, frames, methods)
    with pytest.raises(ConfigError, match="no video files"):
        find_clips(str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError):
        evaluate(settings(clips, tmp_path, methods=("nonsense",)), progress=False)


def test_full_storage_ends_the_evaluation(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where the folder should be")
    with pytest.raises(StoreError):
        evaluate(settings(clips, tmp_path), progress=False)
