from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import wasserstein_distance
from skimage.color import rgb2lab
from typer.testing import CliRunner

from dvcp.cli import app
from dvcp.errors import ConfigError
from dvcp.evaluation.batch import EvaluationSettings
from dvcp.evaluation.metrics import colourfulness
from dvcp.evaluation.painted import Painted
from dvcp.evaluation.pairs import evaluate_pairs, other_pair, read_pairs
from dvcp.evaluation.pairtables import GOALS, NUMBERS, Pair, PairItem, PairSummary, pair_tables
from dvcp.evaluation.plots import STRIP_WIDTH
from dvcp.media.probe import probe
from dvcp.media.reader import FrameReader
from dvcp.media.stills import frame_to_rgb, read_still
from dvcp.methods.base import Chroma, Evidence, Window
from dvcp.methods.baselines import Copy, State
from dvcp.timing import Span
from tests.films import colour_film, small_weights
from tests.trail import Trail
from tests.unit.media_clips import make_film, ramp

PAIRS = "clip,reference,frame,kind\na,b,3,alike\nb.mkv,c,0,bad\nc,c,4,alike\n"


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small films of other scenes; c is of another size and shape."""
    folder = tmp_path_factory.mktemp("clips")
    colour_film(folder / "a.mkv", (6,), (48, 64), seed=1)
    colour_film(folder / "b.mkv", (4,), (48, 64), seed=20)
    colour_film(folder / "c.mkv", (5,), (64, 64), seed=30)
    return folder


@pytest.fixture
def no_sheets(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what does not look at them: drawing takes longer than all the rest."""
    monkeypatch.setattr("dvcp.evaluation.pairs.plot_pairs", lambda summary, out: None)


def settings(clips: Path, out: Path, methods: tuple[str, ...] = ("gray", "copy"), frames: int = 3, **options: str) -> EvaluationSettings:
    return EvaluationSettings(str(clips), methods, frames, str(out), options)


def table(tmp_path: Path, text: str = PAIRS) -> str:
    path = tmp_path / "pairs.csv"
    path.write_text(text)
    return str(path)


def frame(clip: Path, number: int) -> np.ndarray:
    info = probe(str(clip))
    with FrameReader(info) as reader:
        luma, chroma = reader.planes(Span(number, number + 1))
    return frame_to_rgb(luma[0], chroma[0], info.colour)


def sliced(one: np.ndarray, two: np.ndarray) -> float:
    """The chroma distance, exactly and by scipy and scikit-image."""
    a, b = (rgb2lab(rgb)[..., 1:].reshape(-1, 2) for rgb in (one, two))
    lines = np.arange(90) * np.pi / 90
    return float(np.pi / 2 * np.mean([wasserstein_distance(a @ (u := np.array([np.cos(t), np.sin(t)])), b @ u) for t in lines]))


@pytest.mark.usefixtures("no_sheets")
def test_every_score_of_copied_colour_against_other_means(clips: Path, tmp_path: Path) -> None:
    summary = evaluate_pairs(settings(clips, tmp_path / "out"), table(tmp_path), progress=False)
    assert summary.failed == []
    assert [(i.clip, i.reference, i.frame, i.method, i.count) for i in summary.items if i.method == "copy"] == [
        ("a.mkv", "b.mkv", 3, "copy", 3),
        ("b.mkv", "c.mkv", 0, "copy", 3),
        ("c.mkv", "c.mkv", 4, "copy", 3),
    ]
    gray, copy = summary.items[:2]
    reference, other = frame(clips / "b.mkv", 3), frame(clips / "c.mkv", 0)
    assert (copy.other, copy.other_frame) == ("c.mkv", 0)
    ab = rgb2lab(reference)[..., 1:]
    assert gray.distance == pytest.approx(np.hypot(ab[..., 0], ab[..., 1]).mean(), rel=0.02)
    assert gray.distance == pytest.approx(gray.distance_gray) and copy.distance_gray == gray.distance_gray
    # copied colour is the reference's under other light: nearly the reference's distribution, and the other's is nearly the other's
    assert copy.distance < 0.35 * copy.distance_gray
    assert copy.distance_other == pytest.approx(sliced(other, reference), rel=0.35) and copy.distance_other > copy.distance
    assert copy.colourfulness_reference == pytest.approx(colourfulness(reference))
    assert (gray.colourfulness, gray.flicker) == (0, pytest.approx(0, abs=0.02))
    assert gray.flicker_truth == copy.flicker_truth and copy.flicker_truth is not None and copy.flicker_truth > 0
    # colour that stands still in a film that moves flickers more than the film
    assert copy.flicker_ratio is not None and copy.flicker_ratio > 1.2
    assert [i.nearer_than_gray for i in (gray, copy)] == [False, True]


@pytest.mark.usefixtures("no_sheets")
def test_a_reference_of_the_film_itself_gives_its_own_colours_back(tmp_path: Path) -> None:
    """Copy from frame 0 of the same film, one frame: the result is that frame; both distances are then known exactly."""
    folder = tmp_path / "clips"
    for name, seed in (("x.mkv", 3), ("y.mkv", 9)):
        colour_film(folder / name, (3,), (48, 64), seed=seed)
    own = table(tmp_path, "reference,frame,clip\nx,0,x\ny,2,y\n")
    item, far = evaluate_pairs(settings(folder, tmp_path / "out", ("copy",), 1), own, progress=False).items
    here = frame(folder / "x.mkv", 0)
    # not 0: the most saturated codes are cut to R'G'B' once more on their way through a still
    assert item.distance < 0.03 * item.distance_gray and item.colour_ratio == pytest.approx(1, abs=0.03) and item.colour_close
    assert (item.flicker, item.flicker_truth, item.flicker_ratio, item.flicker_close) == (None, None, None, None)
    # every method sees the film's own luma: the other picture's colour under it
    assert item.distance_other is not None and item.distance_other > 2 * item.distance
    assert far.distance_gray == pytest.approx(sliced(frame(folder / "y.mkv", 2), here * [0] + 128), rel=0.02)


def test_the_sheet_shows_reference_gray_result_and_truth(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    evaluate_pairs(settings(clips, out), table(tmp_path), progress=True)
    assert {p.name for p in out.glob("pair_*.png")} == {
        "pair_a.mkv_from_b.mkv_3.png",
        "pair_b.mkv_from_c.mkv_0.png",
        "pair_c.mkv_from_c.mkv_4.png",
    }
    [strip] = (out / "items").glob("a.mkv.from.b.mkv.3.copy.*.png")
    rgb = np.rint(read_still(str(strip)).rgb * 255)
    assert rgb.shape == (2 * 48 + 4, 4 * 64 + 3 * 4, 3) and STRIP_WIDTH > 64
    reference, gray, _, truth = (rgb[:, 68 * k : 68 * k + 64] for k in range(4))
    np.testing.assert_array_equal(reference[:48], frame(clips / "b.mkv", 3))
    np.testing.assert_array_equal(reference[52:], frame(clips / "b.mkv", 3))
    assert np.ptp(gray, axis=-1).max() == 0
    np.testing.assert_array_equal(truth[:48], frame(clips / "a.mkv", 0))
    np.testing.assert_array_equal(truth[52:], frame(clips / "a.mkv", 2))
    # a square picture on a wide film: fitted inside, its edges repeated
    [strip] = (out / "items").glob("b.mkv.from.c.mkv.0.copy.*.png")
    fitted = read_still(str(strip)).rgb[:48, :64]
    np.testing.assert_array_equal(fitted[:, :8], np.repeat(fitted[:, 8:9], 8, axis=1))


@pytest.mark.usefixtures("no_sheets")
def test_an_interrupted_evaluation_goes_on_from_its_items(clips: Path, tmp_path: Path) -> None:
    once, pairs, out = settings(clips, tmp_path / "out"), table(tmp_path), tmp_path / "out"
    first = evaluate_pairs(once, pairs, progress=False)
    kept = sorted((out / "items").glob("*.json"))
    assert len(kept) == 6
    kept[0].unlink()  # never measured
    kept[1].write_bytes(kept[1].read_bytes()[:200])  # damaged
    kept[2].with_suffix(".png").unlink()  # without its picture
    for path in kept[2:]:
        path.write_text(json.dumps(json.loads(path.read_text()) | {"seconds": 1234.5}))
    again = evaluate_pairs(once, pairs, progress=False)
    assert sorted(i.seconds == 1234.5 for i in again.items) == [False] * 3 + [True] * 3
    assert [replace(i, seconds=0) for i in again.items] == [replace(i, seconds=0) for i in first.items]


@pytest.mark.usefixtures("no_sheets")
def test_other_pictures_frames_and_neighbours_are_measured_anew(clips: Path, tmp_path: Path) -> None:
    once = settings(clips, tmp_path / "out", ("copy",))
    kept = {i.key for i in evaluate_pairs(once, table(tmp_path), progress=False).items}
    # pair 2 takes another frame: it is measured anew, and so is pair 1, whose other reference it is; pair 3 stands
    changed = evaluate_pairs(once, table(tmp_path, PAIRS.replace("c,0,bad", "c,1,bad")), progress=False)
    assert [i.key in kept for i in changed.items] == [False, False, True]
    assert changed.items[0].distance_other != pytest.approx(changed.items[0].distance)
    fewer = evaluate_pairs(replace(once, frames=2), table(tmp_path), progress=False)
    assert [i.count for i in fewer.items] == [2, 2, 2] and not kept & {i.key for i in fewer.items}
    # the word for the kind decides nothing
    assert {i.key for i in evaluate_pairs(once, table(tmp_path, PAIRS.replace("bad", "good")), progress=False).items} == kept


@pytest.mark.usefixtures("no_sheets")
def test_networks_take_pictures_from_elsewhere(clips: Path, tmp_path: Path) -> None:
    weights = str(small_weights(tmp_path / "w.safetensors"))
    once = settings(clips, tmp_path / "out", ("global",), 2, weights=weights)
    summary = evaluate_pairs(once, table(tmp_path, "clip,reference,frame\na,b,1\n"), progress=False)
    [item] = summary.items
    assert summary.failed == [] and item.weights == summary.weights["global"]
    assert 0 < item.distance < item.distance_gray and item.colourfulness > 0 and item.seconds > 0
    assert (item.other, item.distance_other, item.nearer_than_other) == (None, None, None)
    assert "| all | global |" in summary.markdown and " - |" in summary.markdown


class ShortOfMemory(Copy):
    """Copies colour, but not into films of 64 rows."""

    def propagate(self, state: State | None, window: Window, evidence: Evidence) -> tuple[State, Chroma]:
        if window.luma.shape[1] == 64:
            raise MemoryError("no memory\nfor 64 rows")
        return super().propagate(state, window, evidence)


@pytest.mark.usefixtures("no_sheets")
def test_a_pair_that_fails_is_listed_and_the_rest_goes_on(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    for path in clips.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "broken.mkv").write_bytes(b"not a film")
    make_film(folder / "gray.mkv", ramp(3, 24, 32), pix_fmt="gray")
    monkeypatch.setattr("dvcp.evaluation.batch.create", lambda name: ShortOfMemory() if name == "short" else Copy())
    rows = "a,b,0\nbroken,a,0\nc,b,0\nb,a,2\na,gray,0\n"
    summary = evaluate_pairs(
        settings(folder, tmp_path / "out", ("short", "copy")), table(tmp_path, f"clip,reference,frame\n{rows}"), progress=False
    )
    assert [(i.clip, i.frame, i.method) for i in summary.items] == [("a.mkv", 0, "short"), ("a.mkv", 0, "copy"), ("c.mkv", 0, "copy")]
    assert len(summary.failed) == 4 and all("\n" not in line for line in summary.failed)
    assert summary.failed[0].startswith(f"broken.mkv from a.mkv frame 0: {folder / 'broken.mkv'}: ")
    assert summary.failed[1] == "c.mkv from b.mkv frame 0, short: MemoryError: no memory for 64 rows"
    # b's other picture is the reference of the pair below it
    assert [line.split(":")[0] for line in summary.failed[2:]] == ["b.mkv from a.mkv frame 2", "a.mkv from gray.mkv frame 0"]
    assert all("gray.mkv: has no colour to take as a reference" in line for line in summary.failed[2:])
    assert [str(pair) for pair in summary.complete] == ["a.mkv from b.mkv frame 0"]
    assert f"- FAILED {summary.failed[1]}" in (tmp_path / "out" / "pairs.md").read_text().splitlines()
    assert json.loads((tmp_path / "out" / "pairs.json").read_text())["failed"] == summary.failed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("clip,reference\na,b\n", "no column 'frame'"),
        ("clip,reference,frame\n", "holds no pairs"),
        ("clip,reference,frame\na,b,0\nz,b,0\n", "line 3: no clip 'z'"),
        ("clip,reference,frame\na,z.mkv,0\n", "line 2: no clip 'z.mkv'"),
        ("clip,reference,frame\na,,0\n", "line 2: no clip ''"),
        ("clip,reference,frame\na,b,4\n", "line 2: b.mkv has no frame 4 (give 0 to 3)"),
        ("clip,reference,frame\na,b,-1\n", "line 2: '-1' is no frame number"),
        ("clip,reference,frame\na,b\n", "line 2: '' is no frame number"),
        ("clip,reference,frame\na,b,1\nb,a,0\na.mkv,b,1\n", "line 4: the same pair as in line 2"),
    ],
)
def test_a_bad_row_is_one_line_that_names_it(clips: Path, tmp_path: Path, text: str, words: str) -> None:
    path = table(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        evaluate_pairs(settings(clips, tmp_path / "out"), path, progress=False)
    assert str(caught.value).startswith(f"{path}: ") and words in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists(), "nothing is measured before all rows are sound"


def test_names_that_two_files_share_need_their_extension(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    for name in ("a.mkv", "a.mov"):
        (tmp_path / "clips" / name).write_bytes((clips / "a.mkv").read_bytes())
    with pytest.raises(ConfigError, match=r"line 2: 'a' may be any of a\.mkv, a\.mov"):
        read_pairs(table(tmp_path, "clip,reference,frame\na,a.mkv,0\n"), str(tmp_path / "clips"))
    exact = read_pairs(table(tmp_path, "clip,reference,frame\na.mov,a.mkv,0\n"), str(tmp_path / "clips"))
    assert exact == [Pair("a.mov", "a.mkv", 0)]
    with pytest.raises(ConfigError, match="no such file"):
        read_pairs(str(tmp_path / "nothing.csv"), str(clips))


def test_the_other_reference_is_of_the_next_pair_from_another_clip() -> None:
    pairs = [Pair("p", "x", 0), Pair("q", "x", 5), Pair("r", "y", 1), Pair("s", "x", 2)]
    assert [other_pair(pairs, at) for at in range(4)] == [pairs[2], pairs[2], pairs[3], pairs[2]]
    assert other_pair(pairs[:2], 0) is None


def item(clip: str, method: str, *, distance: float = 4.0, colour: float = 20.0, flicker: float | None = 1.5) -> PairItem:
    pair = (clip, f"digest of {clip}", "r", "digest of r", 7, "o", "digest of o", 2)
    return PairItem(*pair, method, f"digest of {method}", 10, 5, 64, 48, distance, 8.0, 6.0, colour, 25.0, flicker, 1.25, 10.0)


def test_means_by_kind_with_the_share_that_reaches_each_goal() -> None:
    pairs = (Pair("a", "r", 7, "alike"), Pair("b", "r", 7, "alike"), Pair("c", "r", 7, "bad"), Pair("d", "r", 7, "bad"))
    items = (item("a", "m"), item("b", "m", distance=7.0, colour=10.0, flicker=1.6), item("c", "m", distance=9.0, flicker=None))
    summary = PairSummary(10, pairs, items, ["d: broken"])
    means = summary.means()
    assert list(means) == ["alike", "bad", "all"]
    alike = means["alike"]["m"]
    assert [alike[name] for name in NUMBERS] == pytest.approx([5.5, 8, 6, 15, 25, 0.6, 1.55, 1.25, 1.24, 2])
    assert [alike[name] for name in GOALS] == [1, 0.5, 0.5, 0.5]
    assert means["bad"]["m"]["flicker_ratio"] is None and means["bad"]["m"]["flicker_close"] is None
    assert means["all"]["m"]["nearer_than_gray"] == pytest.approx(2 / 3)
    lines = summary.markdown.splitlines()
    wanted = "| alike | m | 5.50 | 8.00 | 6.00 | 15.00 | 25.00 | 0.60 | 1.550 | 1.250 | 1.24 | 2.00 | 100% | 50% | 50% | 50% |"
    assert wanted in lines
    assert "| c | r | 7 | bad | m | 9.00 | 8.00 | 6.00 | 20.00 | 25.00 | 0.80 | - | 1.250 | - | 2.00 |" in lines
    assert "- 1 of 4 pairs lack a method and are left out of the means" in lines
    rows = list(csv.DictReader(io.StringIO(pair_tables(summary)["pairs.csv"])))
    assert [(r["clip"], r["kind"], r["distance"], r["nearer_than_other"]) for r in rows] == [
        ("a", "alike", "4.000000", "1"),
        ("b", "alike", "7.000000", "0"),
        ("c", "bad", "9.000000", "0"),
        ("mean", "alike", "5.500000", "0.500000"),
        ("mean", "bad", "9.000000", "0.000000"),
        ("mean", "all", "6.666667", "0.333333"),
    ]
    data = json.loads(pair_tables(summary)["pairs.json"])
    assert data["pairs"][1]["flicker_ratio"] == pytest.approx(1.28) and data["pairs"][1]["kind"] == "alike"


def test_means_compare_methods_on_the_same_pairs() -> None:
    pairs = (Pair("a", "r", 7), Pair("b", "r", 7))
    summary = PairSummary(10, pairs, (item("a", "m"), item("a", "n", distance=5.0), item("b", "m", distance=1.0)), [])
    assert {method: scores["distance"] for method, scores in summary.means()["all"].items()} == {"m": 4.0, "n": 5.0}
    assert summary.dataset == PairSummary(10, pairs[:1], summary.items[:2], []).dataset
    assert PairSummary(10, pairs, (), ["a: broken"]).means() == {}


def test_an_item_survives_its_file() -> None:
    one = item("a", "m")
    assert PairItem.from_bytes(one.to_bytes(), one.key) == one
    assert PairItem.from_bytes(one.to_bytes(), replace(one, other_frame=3).key) is None
    assert PairItem.from_bytes(one.to_bytes().replace(b'"distance_gray"', b'"gone"'), one.key) is None
    assert PairItem.from_bytes(one.to_bytes()[:-9], one.key) is None
    assert replace(one, colourfulness_reference=0.0).colour_ratio is None
    assert replace(one, distance=8.0).nearer_than_gray is False


def test_the_command_writes_tables_and_fails_with_what_failed(clips: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "clips", tmp_path / "out"
    folder.mkdir()
    for name in ("a.mkv", "b.mkv"):
        (folder / name).write_bytes((clips / name).read_bytes())
    run = ["evaluate", "--clips", str(folder), "--methods", "copy", "--frames", "2", "--out", str(out), "--json", "--pairs"]
    done = CliRunner().invoke(app, [*run, table(tmp_path, "clip,reference,frame\na,b,0\nb,a,0\n")])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == json.loads((out / "pairs.json").read_text())
    (folder / "broken.mkv").write_bytes(b"not a film")
    done = CliRunner().invoke(app, [*run, table(tmp_path, "clip,reference,frame\na,b,0\nbroken,b,0\n")])
    assert done.exit_code == 1 and "broken.mkv" in json.loads(done.stdout)["failed"][0]
    done = CliRunner().invoke(app, [*run, table(tmp_path, "clip,reference,frame\na,b,400\n")])
    assert done.exit_code == 2 and done.stderr.count("\n") == 1 and "line 2: b.mkv has no frame 400" in done.stderr


def test_pairs_are_for_methods_that_borrow_and_have_no_painted_frame(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dvcp.evaluation.batch.create", lambda name: Trail())
    with pytest.raises(ConfigError, match="cannot measure trail on pairs: painted frames of the shot only"):
        evaluate_pairs(settings(clips, tmp_path / "out", ("trail",)), table(tmp_path), progress=False)
    with pytest.raises(ConfigError, match="--painted ends says nothing of --pairs"):
        asked = replace(settings(clips, tmp_path / "out"), painted=Painted.ENDS)
        evaluate_pairs(asked, table(tmp_path), progress=False)
