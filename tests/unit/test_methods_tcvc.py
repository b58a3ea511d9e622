from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dvcp.colour import ColourSpec
from dvcp.errors import ConfigError
from dvcp.loop import colorize_frames
from dvcp.methods import create, names_for
from dvcp.methods.base import Joining, Method, Reference, Window
from dvcp.methods.tcvc import TemporallyConsistent, marks_of
from dvcp.store.ledger import Ledger
from tests.films import scene, small_weights

SPEC = ColourSpec("bt601")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(small_weights(tmp_path_factory.mktemp("weights") / "w.safetensors"))


def unit(chroma: NDArray[np.generic]) -> NDArray[np.float32]:
    return (chroma.astype(np.float32) - 128) / 224


def painted(frame: int, count: int, seed: int = 3) -> Reference:
    luma, chroma = scene(seed, count)
    return Reference(luma[frame].astype(np.uint8), unit(chroma[frame]), True, str(frame))


def colour(method: Method, count: int, *frames: int) -> NDArray[np.float32]:
    luma, _ = scene(3, count)
    return colorize_frames(method, luma.astype(np.uint8), {k: painted(k, count) for k in frames}, SPEC).planes


def error(planes: NDArray[np.float32], seed: int = 3) -> NDArray[np.float32]:
    """Mean distance to the truth by frame."""
    return np.asarray(np.abs(planes - unit(scene(seed, len(planes))[1])).mean((1, 2, 3)), np.float32)


@pytest.mark.parametrize(
    ("count", "gap", "marks"), [(18, 18, [17]), (36, 12, [11, 23, 35]), (5, 18, [4]), (20, 12, [11, 19]), (1, 18, [0])]
)
def test_anchors_stand_at_every_gap_and_at_the_end(count: int, gap: int, marks: list[int]) -> None:
    assert marks_of(count, gap) == marks


@pytest.mark.parametrize("count", [1, 2, 4, 5, 9])
def test_anchors_have_the_colours_of_the_generator_alone(weights: str, count: int) -> None:
    alone = colour(create("colorizer", weights=weights), count)
    found = colour(create("tcvc", weights=weights, anchor_gap=4), count)
    anchors = sorted({0, *range(3, count, 4), count - 1})
    np.testing.assert_allclose(found[anchors], alone[anchors], atol=2e-3)
    between = sorted(set(range(count)) - set(anchors))
    assert not between or np.abs(found[between] - alone[between]).max() > 2e-3


def test_windows_hang_together_by_the_anchor_alone(weights: str) -> None:
    """An interval computed with another past but the same anchor is the same."""
    method = create("tcvc", weights=weights, anchor_gap=4)
    luma = scene(3, 8)[0].astype(np.uint8)
    state, _ = method.propagate(None, first := Window((0, 1, 2, 3), luma[:4], SPEC), method.match(first, method.anchor((), SPEC)))
    short, _ = method.propagate(None, last := Window((3,), luma[3:4], SPEC), method.match(last, method.anchor((), SPEC)))
    second = Window((4, 5, 6, 7), luma[4:], SPEC)
    found = [method.propagate(s, second, method.match(second, method.anchor((), SPEC)))[1].planes for s in (state, short)]
    np.testing.assert_array_equal(found[0], found[1])


def test_the_ensemble_is_the_mean_of_its_members(weights: str) -> None:
    both = colour(create("tcvc+", weights=weights, anchor_gap="2+3"), 6)
    # members of the same window, which is what intervals are counted in
    one, other = (colour(create("tcvc+", weights=weights, anchor_gap=f"{gap}+6"), 6) for gap in (2, 3))
    whole = colour(create("tcvc", weights=weights, anchor_gap=6), 6)
    np.testing.assert_allclose(both, one + other - whole, atol=1e-5)


def test_colours_steady_what_the_generator_does_not(weights: str) -> None:
    luma, _ = scene(3, 9)
    still = np.repeat(luma[:1], 9, 0).astype(np.uint8)
    grain = np.random.default_rng(0).normal(0, 6, still.shape)
    noisy = np.clip(still + grain, 16, 235).astype(np.uint8)
    change = {}
    for name in ("colorizer", "tcvc"):
        planes = colorize_frames(create(name, weights=weights), noisy, {}, SPEC).planes
        change[name] = float(np.abs(np.diff(planes[1:-1], axis=0)).mean())
    assert change["tcvc"] < 0.6 * change["colorizer"]


def test_a_painted_frame_rules_the_shot(weights: str) -> None:
    found = colour(create("tcvc", weights=weights, anchor_gap=4), 9, 4)
    np.testing.assert_array_equal(found[4], painted(4, 9).chroma)
    guessed = error(colour(create("tcvc", weights=weights, anchor_gap=4), 9))
    assert (error(found) < 0.4 * guessed).all()


def test_between_two_painted_frames_both_sides_count(weights: str) -> None:
    method = create("tcvc", weights=weights, anchor_gap=4)
    assert isinstance(method, Joining)
    both, first, last = (error(colour(method, 13, *frames)) for frames in ((0, 12), (0,), (12,)))
    assert both[0] == both[12] == 0
    assert both.mean() < first.mean() and both.mean() < last.mean()
    # near a painted frame its own colours lead, exactly so at the frame next to it but for motion
    assert both[1] < last[1] and both[11] < first[11]


def test_all_colours_of_two_equal_paintings_are_theirs(weights: str) -> None:
    """Nothing moves and both paintings agree: however they are weighed, every frame has their colours."""
    method = create("tcvc", weights=weights, anchor_gap=3)
    assert isinstance(method, TemporallyConsistent)
    for parameter in method.fusion.refine.last.parameters():
        # untrained refining adds noise
        torch.nn.init.zeros_(parameter)
    luma, chroma = scene(3, 1)
    film = np.repeat(luma, 7, 0).astype(np.uint8)
    picture = Reference(film[0], unit(chroma[0]), True, "a")
    found = colorize_frames(method, film, {0: picture, 6: picture}, SPEC)
    for k in range(7):
        np.testing.assert_allclose(found.planes[k], picture.chroma, atol=2e-3)


def test_guesses_are_told_from_paintings_by_their_confidence(weights: str) -> None:
    luma = scene(3, 6)[0].astype(np.uint8)
    method = create("tcvc", weights=weights)
    guess, sure = (colorize_frames(method, luma, given, SPEC).confidence for given in ({}, {0: painted(0, 6)}))
    assert guess.max() <= 64 and sure[1:].mean() > 128


@pytest.mark.parametrize("size", [(50, 66), (34, 40), (16, 16)])
def test_odd_and_small_films(weights: str, size: tuple[int, int]) -> None:
    luma = scene(3, 5)[0][:, : size[0], : size[1]].astype(np.uint8)
    for name in ("colorizer", "tcvc"):
        planes = colorize_frames(create(name, weights=weights, anchor_gap=3 if name == "tcvc" else 0), luma, {}, SPEC).planes
        assert planes.shape == (5, 2, size[0] // 2, size[1] // 2) and np.isfinite(planes).all()


def test_settings_decide_window_and_digest(weights: str) -> None:
    base = create("tcvc", weights=weights)
    others = ({"anchor_gap": 12}, {"seen_height": 200}, {"working_height": 100})
    assert len({base.digest(), *(create("tcvc", weights=weights, **o).digest() for o in others)}) == 4
    assert base.window.frames == 18 and create("tcvc+", weights=weights).window.frames == 36
    assert base.automatic and not base.borrows
    assert {"tcvc", "tcvc+", "colorizer"} <= set(names_for(weights))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("tcvc", {"anchor_gap": "17+19"}, "tcvc has one anchor gap"),
        ("tcvc+", {"anchor_gap": "17+19"}, "meet only every 323 frames"),
        ("tcvc", {"anchor_gap": "often"}, "anchor gap 'often'"),
        ("tcvc", {"generator": "deoldify"}, "generator 'deoldify'"),
        ("tcvc", {"generator": "siggraph17"}, "siggraph17 comes without weights"),
        ("tcvc", {"generator_weights": "g.pth"}, "has its weights in --weights"),
        ("tcvc", {"seen_height": 1.5}, "height 1.5"),
        ("tcvc", {"working_height": 0}, "height 0"),
        ("tcvc", {"weights": 3}, "weights 3"),
        ("tcvc", {"flow": "raft"}, "flow 'raft'"),
        ("tcvc", {"flow": "flownet2"}, "flownet2 comes without weights"),
        ("tcvc", {"flow_weights": "f.pth"}, "dis takes no weights"),
        ("tcvc-paper", {}, "comes without weights"),
        ("tcvc-paper", {"weights": "g.pth", "flow": "flownet2"}, "in its one file"),
        ("tcvc", {"name": "tcvc+"}, "by the name of the method"),
    ],
)
def test_wrong_settings_are_one_line(name: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("+", r"\+")) as caught:
        create(name, **options)
    assert "\n" not in str(caught.value)


def test_states_survive_their_file(weights: str, tmp_path: Path) -> None:
    """Stored and read again they lead to the same bits: of a painted frame, behind a window on either way, of an anchor."""
    method, ledger = create("tcvc", weights=weights, anchor_gap=4), Ledger(str(tmp_path))
    assert isinstance(method, TemporallyConsistent)
    luma = scene(3, 10)[0].astype(np.uint8)
    first, later = Window((1, 2, 3, 4), luma[1:5], SPEC), Window((5, 6, 7, 8), luma[5:9], SPEC)
    backward = Window((8, 7, 6, 5), luma[8:4:-1], SPEC)
    start, end = (method.start(painted(k, 10), SPEC) for k in (0, 9))
    given = [method.match(w, True) for w in (first, later, backward)]
    states = {
        "start": start,
        "followed": method.propagate(start, first, given[0])[0],
        "joined": method.join(start, first, given[0], method.behind(end, backward, given[2]))[0],
    }
    for key, state in states.items():
        ledger.put_state(key, state)
        again = ledger.get_state(key)
        assert again is not None
        for one, other in zip(*(method.propagate(s, later, given[1]) for s in (state, again)), strict=True):
            if isinstance(one, dict):
                assert isinstance(other, dict) and all(np.array_equal(one[k], other[k]) for k in one | other)
            else:
                np.testing.assert_array_equal(one.planes, other.planes)  # type: ignore[union-attr]
    guessed, _ = method.propagate(None, first, method.match(first, False))
    ledger.put_state("guessed", guessed)
    again = ledger.get_state("guessed")
    assert again is not None and all(np.array_equal(guessed[k], again[k]) for k in guessed | again)


def test_big_windows_are_worked_on_frame_by_frame(weights: str) -> None:
    """A picture's colours do not depend on how many stand in its window's arrays."""
    method = create("colorizer", weights=weights, seen_height=64)
    luma = scene(3, 3, size=(96, 128))[0].astype(np.uint8)
    whole = colorize_frames(method, luma, {}, SPEC).planes
    single = np.concatenate([colorize_frames(method, luma[k : k + 1], {}, SPEC).planes for k in range(3)])
    np.testing.assert_array_equal(whole, single)
