from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dvcp.colour import ColourSpec
from dvcp.errors import ConfigError
from dvcp.loop import colorize_frames
from dvcp.methods import create
from dvcp.methods.base import Reference
from tests.films import scene, small_weights

SPEC = ColourSpec("bt601")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(small_weights(tmp_path_factory.mktemp("weights") / "w.safetensors"))


def still(seed: int, in_shot: bool = False, frame: int = 0) -> Reference:
    luma, chroma = scene(seed, frame + 1)
    unit = (chroma[frame].astype(np.float32) - 128) / 224
    return Reference(luma[frame].astype(np.uint8), unit, in_shot, str(seed))


def test_a_picture_of_the_same_scene_gives_its_colours(weights: str) -> None:
    luma, chroma = scene(3, 5)
    found = colorize_frames(create("exemplar", weights=weights), luma.astype(np.uint8), {-1: still(3)}, SPEC)
    truth = (chroma.astype(np.float32) - 128) / 224
    assert found.planes.shape == truth.shape
    other = colorize_frames(create("exemplar", weights=weights), luma.astype(np.uint8), {-1: still(4)}, SPEC)
    assert np.abs(found.planes - truth).mean() < 0.7 * np.abs(other.planes - truth).mean()


def test_several_references_beat_the_one_that_shows_something_else(weights: str) -> None:
    luma, chroma = scene(3, 4)
    truth = (chroma.astype(np.float32) - 128) / 224
    method = create("exemplar", weights=weights)

    def error(*seeds: int) -> float:
        given = {-1 - k: still(seed) for k, seed in enumerate(seeds)}
        return float(np.abs(colorize_frames(method, luma.astype(np.uint8), given, SPEC).planes - truth).mean())

    assert error(4, 3) < 0.7 * error(4)


def test_a_painted_frame_of_the_shot_starts_a_propagation(weights: str) -> None:
    luma, chroma = scene(3, 5)
    found = colorize_frames(create("exemplar", weights=weights), luma.astype(np.uint8), {2: still(3, True, 2)}, SPEC)
    np.testing.assert_array_equal(found.planes[2], (chroma[2].astype(np.float32) - 128) / 224)
    assert (found.confidence[2] == 255).all() and found.confidence[4].mean() < 255


def test_settings_are_checked_and_decide_the_digest(weights: str, tmp_path: Path) -> None:
    base = create("exemplar", weights=weights)
    others = [{"reference_features": "colour"}, {"temperature": 2.0}, {"working_height": 100}, {"saturation": 1.0}]
    assert len({base.digest(), *(create("exemplar", weights=weights, **o).digest() for o in others)}) == 5
    for wrong in ({"reference_features": "sepia"}, {"saturation": -1.0}, {"saturation": float("nan")}, {"temperature": 0.0}, {"magic": 1}):
        with pytest.raises(ConfigError):
            create("exemplar", weights=weights, **wrong)


@pytest.mark.parametrize("options", [{"reference_features": "colour"}, {"temperature": 3.0}])
def test_how_the_reference_is_looked_at_changes_the_picture(weights: str, options: dict[str, object]) -> None:
    luma = scene(3, 3)[0].astype(np.uint8)
    plain, changed = (colorize_frames(create("exemplar", weights=weights, **o), luma, {-1: still(4)}, SPEC) for o in ({}, options))
    assert not np.allclose(plain.planes, changed.planes, atol=1e-3)


def test_saturation_is_raised_for_other_scenes_alone_and_never_fed_back(weights: str) -> None:
    luma = scene(3, 12)[0].astype(np.uint8)
    plain, raised = (create("exemplar", weights=weights, saturation=s) for s in (1.0, 1.25))
    for given, gain in (({-1: still(4)}, 1.25), ({0: still(3, True)}, 1.0)):
        # twelve frames are two windows: the second takes the gain from the state
        one, two = (colorize_frames(method, luma, given, SPEC).planes for method in (plain, raised))
        np.testing.assert_allclose(two, np.clip(one * gain, -0.5, 0.5), atol=1e-5)
