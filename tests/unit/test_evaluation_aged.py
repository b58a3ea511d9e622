from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dvcp.colour import ColourSpec, luma_to_unit
from dvcp.evaluation.aged import Ageing, age
from dvcp.evaluation.batch import EvaluationSettings
from dvcp.evaluation.run import evaluate
from dvcp.evaluation.source import Source
from dvcp.media.probe import probe
from dvcp.media.reader import FrameReader
from dvcp.timing import Span
from tests.films import colour_film
from tests.unit.media_clips import ramp

TV = ColourSpec("bt601", depth=8)
NONE = Ageing(**{f.name: 0.0 for f in fields(Ageing)} | {"scratch_frames": 14.0})


def flat(frames: int, level: int = 126, size: tuple[int, int] = (120, 160)) -> NDArray[np.uint8]:
    return np.full((frames, *size), level, np.uint8)


def alone(luma: NDArray[Any], seed: int = 3, **fault: float) -> NDArray[np.float32]:
    """What one fault does to a film, in units of Y'."""
    return luma_to_unit(age(luma, TV, seed, replace(NONE, **fault)), TV) - luma_to_unit(luma, TV)


@pytest.mark.parametrize("depth", [8, 10, 16])
def test_no_wear_changes_nothing(depth: int) -> None:
    spec = ColourSpec("bt709", depth=depth)
    luma = np.random.default_rng(0).integers(0, 1 << depth, (3, 33, 47)).astype(spec.dtype)
    found = age(luma, spec, 1, NONE)
    assert found.dtype == luma.dtype and np.array_equal(found, luma)


def test_a_seed_is_a_print_and_a_part_ages_as_the_whole() -> None:
    luma = ramp(12, 60, 80)
    whole = age(luma, TV, 1)
    assert whole.shape == luma.shape and whole.dtype == luma.dtype
    assert np.array_equal(whole, age(luma, TV, 1))
    assert np.array_equal(whole[5:9], age(luma[5:9], TV, 1, first=5))
    assert not np.array_equal(whole, age(luma, TV, 2))


def test_grain_is_strongest_in_mid_tones_correlated_in_space_and_new_in_every_frame() -> None:
    middle, dark = (alone(flat(4, level), grain=0.05, grain_size=0.012) for level in (126, 22))
    assert middle.std() == pytest.approx(0.05, rel=0.1)
    assert dark.std() < 0.5 * middle.std()
    assert abs(float(middle.mean())) < 0.003
    beside = np.corrcoef(middle[0, :, 1:].ravel(), middle[0, :, :-1].ravel())[0, 1]
    far = np.corrcoef(middle[0, :, 20:].ravel(), middle[0, :, :-20].ravel())[0, 1]
    later = np.corrcoef(middle[0].ravel(), middle[1].ravel())[0, 1]
    assert beside > 0.7 and abs(far) < 0.1 and abs(later) < 0.1


def test_flicker_is_slow_and_jitter_is_not() -> None:
    luma = flat(200, size=(8, 8))
    slow, fast = alone(luma, flicker=0.05).mean((1, 2)), alone(luma, jitter=0.05).mean((1, 2))
    for light in (slow, fast):
        assert light.std() == pytest.approx(0.05 * 110 / 219, rel=0.4)
    assert np.abs(np.diff(slow)).mean() < 0.4 * np.abs(np.diff(fast)).mean()


def test_weave_moves_the_frame_by_parts_of_a_pixel() -> None:
    columns = np.tile((20 + np.arange(160)).astype(np.uint8), (120, 1))
    moved = alone(np.stack([columns] * 60), weave=0.005)[:, 20:-20, 20:-20] * -219  # a ramp of one code a pixel: codes are pixels
    places = moved.mean((1, 2))
    assert 0.3 < places.std() < 1.2, "0.005 of 120 lines is 0.6 pixels"
    assert float(np.abs(moved - places[:, None, None]).max()) <= 1, "the frame moves as a whole"


def test_scratches_are_upright_and_stay_for_some_frames() -> None:
    found = alone(flat(60), scratches=2.0, scratch_frames=10.0)
    columns = found.mean(1)
    assert float(columns.max()) > 0.1 and float(columns.min()) < -0.1, "bright and dark"
    marked = np.abs(columns) > 0.05
    assert 0.001 < marked.mean() < 0.1
    again = (marked[1:] & (marked[:-1] | np.roll(marked[:-1], 1, 1) | np.roll(marked[:-1], -1, 1))).sum() / marked[1:].sum()
    assert 0.6 < again < 1, "most stay where they were in the frame before, and some are new"


@pytest.mark.parametrize(("fault", "least", "most"), [("dust", 1, 120), ("blotches", 15, 2500)])
def test_dust_and_blotches_last_one_frame(fault: str, least: int, most: int) -> None:
    found = alone(flat(40, size=(240, 320)), **{fault: 2.0})
    marked = np.abs(found) > 0.1
    sizes = marked.sum((1, 2))
    assert 0.5 < (sizes > 0).mean() < 1, "2 in a picture on average, sometimes none"
    assert float(found.max()) > 0.2 and float(found.min()) < -0.2, "bright and dark"
    assert least < np.median(sizes[sizes > 0]) < most
    assert (marked[1:] & marked[:-1]).sum() < 0.05 * marked.sum()


def test_the_picture_is_softer_flatter_and_darker_in_the_corners() -> None:
    step = flat(1)
    step[..., 80:] = 200
    soft = luma_to_unit(step, TV) + alone(step, softness=0.02)
    assert np.abs(np.diff(soft)).max() < 0.4 * np.abs(np.diff(luma_to_unit(step, TV))).max()
    black_white = np.array([[[16, 235]]], np.uint8)
    np.testing.assert_allclose(alone(black_white, contrast_loss=0.2)[0, 0], [0.09, -0.11], atol=0.003)
    dark = alone(flat(1), vignette=0.3)[0] / (110 / 219)
    assert dark[60, 80] == pytest.approx(0, abs=0.01) and dark[0, 0] == pytest.approx(-0.3, abs=0.01)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    colour_film(tmp_path / "clips" / "a.mkv", (6,))
    return tmp_path / "clips"


def test_an_aged_source_has_the_true_colours_and_the_true_motion(clips: Path) -> None:
    clean, aged, other = (Source(str(clips / "a.mkv"), 6, 1, aged=seed) for seed in (None, 1, 2))
    assert np.array_equal(aged.film.chroma, clean.film.chroma)
    assert np.array_equal(aged.film.luma, age(clean.film.luma, clean.info.colour, 1))
    assert np.abs(aged.film.luma.astype(int) - clean.film.luma).mean() > 3
    assert len({source.digest for source in (clean, aged, other)}) == 3
    for one, same in zip(clean.motion, aged.motion, strict=True):
        assert all(np.array_equal(getattr(one, f.name), getattr(same, f.name)) for f in fields(one))


def test_aged_and_clean_results_lie_side_by_side(clips: Path, tmp_path: Path) -> None:
    def measured(aged: int | None) -> Any:
        return evaluate(EvaluationSettings(str(clips), ("copy",), 5, str(tmp_path / "out"), aged=aged), progress=False)

    clean, worn = measured(None), measured(1)
    assert len(list((tmp_path / "out" / "items").glob("*.json"))) == 2
    assert clean.items[0].per_frame["psnr_lab"] != worn.items[0].per_frame["psnr_lab"]
    assert worn.items[0].mean("psnr_lab") == pytest.approx(clean.items[0].mean("psnr_lab"), abs=3), "luma is that of the truth"
    assert "version 1, seed 1" in worn.markdown and "aged" not in clean.markdown
    assert (worn.to_json()["aged"], clean.to_json()["aged"]) == (1, None)


def test_the_command_writes_a_gray_film_with_the_same_clock(clips: Path, tmp_path: Path) -> None:
    source, target = str(clips / "a.mkv"), tmp_path / "aged.mkv"
    subprocess.run([sys.executable, "-m", "dvcp.evaluation.aged", source, str(target), "--seed", "4"], check=True, timeout=100)
    info, made = probe(source), probe(str(target))
    assert made.pix_fmt == "gray" and made.colour.full_range == info.colour.full_range
    assert [p * made.frames.timebase for p in made.frames.pts] == [p * info.frames.timebase for p in info.frames.pts]
    with FrameReader(info) as reader, FrameReader(made) as worn:
        assert np.array_equal(worn.luma(Span(0, 6)), age(reader.luma(Span(0, 6)), info.colour, 4))
