from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dvcp.colour import ColourSpec
from dvcp.loop import Interval, blend, colorize_frames, intervals, leg_windows, nearness
from dvcp.methods import create
from dvcp.methods.base import Chroma, Joining, Reference
from dvcp.timing import Span
from tests.trail import Trail

SPEC = ColourSpec("bt601")
LUMA = np.random.default_rng(0).integers(16, 236, (21, 16, 24)).astype(np.uint8)


def painted(frame: int, value: float, in_shot: bool = True) -> Reference:
    return Reference(LUMA[max(0, frame)], np.full((2, 8, 12), value, np.float32), in_shot, "")


def flat(value: float, confidence: int, count: int = 1) -> Chroma:
    return Chroma(np.full((count, 2, 4, 6), value, np.float32), np.full((count, 4, 6), confidence, np.uint8))


def values(chroma: Chroma) -> NDArray[np.float32]:
    """The one colour of each frame."""
    assert (chroma.planes == chroma.planes[:, :1, :1, :1]).all()
    return chroma.planes[:, 0, 0, 0]


@pytest.mark.parametrize("painted_at, wanted", [
    ([0], [(Span(1, 10), 0, None)]),
    ([9], [(Span(0, 9), None, 9), (None, 9, None)]),
    ([4], [(Span(0, 4), None, 4), (Span(5, 10), 4, None)]),
    ([2, 6], [(Span(0, 2), None, 2), (Span(3, 6), 2, 6), (Span(7, 10), 6, None)]),
    ([0, 1, 9], [(None, 0, 1), (Span(2, 9), 1, 9), (None, 9, None)]),
])  # fmt: skip
def test_a_shot_is_divided_at_its_painted_frames(painted_at: list[int], wanted: list[tuple[Span | None, int | None, int | None]]) -> None:
    assert intervals(Span(0, 10), painted_at) == [Interval(*w) for w in wanted]


def test_windows_are_counted_from_the_reference() -> None:
    span = Span(3, 12)
    forward = leg_windows(span, 4, forward=True, both=False)
    assert [list(w) for w in forward] == [[3, 4, 5, 6], [7, 8, 9, 10], [11]]
    backward = leg_windows(span, 4, forward=False, both=False)
    assert [list(w) for w in backward] == [[11, 10, 9, 8], [7, 6, 5, 4], [3]]


def test_two_propagations_share_their_cuts() -> None:
    span = Span(3, 12)
    forward, backward = (leg_windows(span, 4, forward=f, both=True) for f in (True, False))
    assert [list(w) for w in backward] == [[11], [10, 9, 8, 7], [6, 5, 4, 3]]
    assert {frozenset(w) for w in forward} == {frozenset(w) for w in backward}


@pytest.mark.parametrize("size", [1, 4, 8, 100])
@pytest.mark.parametrize("forward, both", [(True, False), (True, True), (False, False), (False, True)])
def test_windows_cover_every_frame_once_in_order(size: int, forward: bool, both: bool) -> None:
    found = [k for w in leg_windows(Span(5, 22), size, forward=forward, both=both) for k in w]
    assert found == (list(range(5, 22)) if forward else list(range(21, 4, -1)))


def test_a_blend_is_led_by_distance_and_confidence() -> None:
    forward, backward = flat(0.4, 200), flat(-0.2, 100)
    for near, wanted in ((1.0, 0.4), (0.0, -0.2), (0.5, -0.2 + 0.6 * 201 / 302)):
        found = blend(forward, backward, np.array([near], np.float32))
        np.testing.assert_allclose(found.planes, wanted, atol=1e-6)
        assert (found.confidence == 200).all() and found.planes.dtype == np.float32
    equal = blend(flat(0.4, 0), flat(-0.2, 0), np.array([0.25], np.float32))
    np.testing.assert_allclose(equal.planes, 0.25 * 0.4 - 0.75 * 0.2, atol=1e-6)


def test_nearness_falls_from_one_reference_to_the_other() -> None:
    np.testing.assert_allclose(nearness(Span(3, 6), 2, 6), [0.75, 0.5, 0.25])
    assert nearness(Span(2, 7), 2, 6).tolist() == [1, 0.75, 0.5, 0.25, 0] and nearness(Span(2, 3), 2, 6).dtype == np.float32


@pytest.mark.parametrize("name", ["copy", "flow", "gray"])
def test_a_reference_in_the_middle_is_carried_verbatim(name: str) -> None:
    rng = np.random.default_rng(1)
    reference = Reference(LUMA[10], rng.random((2, 8, 12), np.float32) - 0.5, True, "")
    found = colorize_frames(create(name), LUMA, {10: reference}, SPEC)
    assert found.planes.shape == (21, 2, 8, 12) and found.confidence.shape == (21, 8, 12)
    np.testing.assert_array_equal(found.planes[10], reference.chroma)
    assert (found.confidence[10] == 255).all()
    if name == "copy":
        np.testing.assert_array_equal(found.planes, np.repeat(reference.chroma[None], 21, 0))


def test_backward_propagation_runs_the_film_backward() -> None:
    """The first half from the middle is the second half of the film turned around."""
    reference = Reference(LUMA[10], np.random.default_rng(1).random((2, 8, 12), np.float32) - 0.5, True, "")
    found = colorize_frames(create("flow"), LUMA, {10: reference}, SPEC)
    turned = colorize_frames(create("flow"), LUMA[::-1].copy(), {10: reference}, SPEC)
    np.testing.assert_array_equal(turned.planes[::-1], found.planes)
    assert not np.array_equal(found.planes[9], found.planes[11])


def test_between_two_references_colour_changes_over_evenly() -> None:
    found = values(colorize_frames(create("copy"), LUMA, {4: painted(4, -0.2), 14: painted(14, 0.3)}, SPEC))
    np.testing.assert_array_equal(found[:5], np.float32(-0.2))
    np.testing.assert_array_equal(found[14:], np.float32(0.3))
    np.testing.assert_allclose(found[4:15], np.linspace(-0.2, 0.3, 11), atol=1e-6)


def test_neighbouring_references_leave_nothing_between_them() -> None:
    found = values(colorize_frames(create("copy"), LUMA[:3], {k: painted(k, k / 10) for k in range(3)}, SPEC))
    np.testing.assert_allclose(found, [0, 0.1, 0.2])


def test_references_from_outside_the_shot_colour_all_of_it_the_best_first() -> None:
    given = {-2: painted(0, 0.5, in_shot=False), -1: painted(0, 0.25, in_shot=False)}
    found = colorize_frames(create("copy"), LUMA, given, SPEC)
    assert (values(found) == 0.25).all() and len(found.planes) == 21
    assert (found.confidence == 128).all(), "no frame is the reference's own"


def test_two_painted_frames_are_joined_from_both_sides_at_once() -> None:
    """First backward for the state with which each window is entered from its far end, then forward with it."""
    method = Trail()
    assert isinstance(method, Joining) and not isinstance(create("flow"), Joining)
    references = {2: painted(2, 0.1), 12: painted(12, 0.2)}
    found = values(colorize_frames(method, LUMA, references, SPEC))
    names = [(name, frames) for name, frames, _, _ in method.calls]
    assert names == [
        ("propagate", (1, 0)),
        *[("behind", (11,)), ("behind", (10, 9, 8, 7))],
        *[("join", (3, 4, 5, 6)), ("join", (7, 8, 9, 10)), ("join", (11,))],
        *[("propagate", (13, 14, 15, 16)), ("propagate", (17, 18, 19, 20))],
    ]
    start = {k: int(method.start(reference, SPEC)["n"]) for k, reference in references.items()}
    entered = [n for name, _, n, _ in method.calls if name == "behind"]
    joined = [(n, behind) for name, _, n, behind in method.calls if name == "join"]
    assert entered[0] == start[12] and joined[0][0] == start[2]
    assert [behind for _, behind in joined][1:] == entered[::-1], "the last crossed is the first met"
    assert joined[0][1] not in entered, "the state behind frame 6 comes of the leg from 10 to 7"
    np.testing.assert_allclose(found[[6, 10]], [n / 997 - 0.5 for n, _ in joined[1:]], atol=1e-6)


def test_an_automatic_method_colours_without_a_reference_and_one_that_does_not_borrow_refuses_pictures_from_elsewhere() -> None:
    method = Trail()
    found = colorize_frames(method, LUMA, {}, SPEC)
    assert len(found.planes) == 21 and [frames[0] for _, frames, _, _ in method.calls] == [0, 4, 8, 12, 16, 20]
    assert method.calls[0][2] == -1 and method.calls[1][2] >= 0, "only the shot's first window is without a state"
    with pytest.raises(ValueError, match="method trail takes painted frames of the shot only"):
        colorize_frames(method, LUMA, {-1: painted(0, 0, in_shot=False)}, SPEC)


def test_references_that_make_no_sense_are_refused() -> None:
    for references in ({}, {21: painted(0, 0)}, {-1: painted(0, 0)}, {0: painted(0, 0, in_shot=False)}):
        with pytest.raises(ValueError, match="references must lie in the 21 frames"):
            colorize_frames(create("copy"), LUMA, references, SPEC)
    with pytest.raises(ValueError, match="cannot be given together"):
        colorize_frames(create("copy"), LUMA, {0: painted(0, 0), -1: painted(0, 0, in_shot=False)}, SPEC)
