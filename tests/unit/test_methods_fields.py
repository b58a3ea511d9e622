"""Interlaced shots: each field is coloured as a film of its own, by every kind of method."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dvcp.colour import ColourSpec, subsample_chroma, weave
from dvcp.loop import colorize_frames
from dvcp.methods import create
from dvcp.methods.base import Joining, Reference
from dvcp.methods.fields import by_fields
from tests.films import scene
from tests.trail import Trail

COLOUR = ColourSpec("bt601")


def reference(luma: NDArray[Any], chroma: NDArray[np.float32]) -> Reference:
    return Reference(luma, chroma, True, "painted")


def fields_of(luma: NDArray[Any], parity: int) -> NDArray[Any]:
    return np.ascontiguousarray(luma[:, parity::2])


@pytest.mark.parametrize("painted", [(0,), (9,), (4,), (1, 8)])
def test_the_two_fields_are_two_films(painted: tuple[int, ...]) -> None:
    luma, _ = scene(5, 10)
    chroma = np.random.default_rng(1).uniform(-0.3, 0.3, (2, 48, 64)).astype(np.float32)
    plain = create("flow")
    whole = colorize_frames(by_fields(plain), luma, {k: reference(luma[k], chroma) for k in painted}, COLOUR)
    for parity in (0, 1):
        own = fields_of(luma, parity)
        marks = {k: reference(own[k], np.ascontiguousarray(chroma[:, parity::2])) for k in painted}
        alone = colorize_frames(plain, own, marks, COLOUR)
        assert np.array_equal(whole.planes[:, :, parity::2], alone.planes)
        assert np.array_equal(whole.confidence[:, parity::2], alone.confidence)


@pytest.mark.parametrize("height", [486, 96, 95])
def test_every_height_comes_back_whole(height: int) -> None:
    luma = np.random.default_rng(0).integers(16, 235, (6, height, 32)).astype(np.uint8)
    chroma = np.random.default_rng(1).uniform(-0.3, 0.3, (2, *COLOUR.chroma_shape(height, 32))).astype(np.float32)
    found = colorize_frames(by_fields(create("copy")), luma, {0: reference(luma[0], chroma)}, COLOUR)
    assert (found.planes == chroma).all()


def test_a_method_that_joins_still_joins() -> None:
    method = by_fields(Trail())
    assert isinstance(method, Joining) and not isinstance(by_fields(create("copy")), Joining)
    luma, _ = scene(5, 12)
    marks = {k: reference(luma[k], np.full((2, 48, 64), k / 100, np.float32)) for k in (0, 11)}
    found = colorize_frames(method, luma, marks, COLOUR)
    own = {k: reference(luma[k, 1::2], marks[k].chroma[:, 1::2]) for k in marks}
    alone = colorize_frames(Trail(), fields_of(luma, 1), own, COLOUR)
    assert np.array_equal(found.planes[:, :, 1::2], alone.planes)


def test_the_digest_is_its_own() -> None:
    plain = create("copy")
    assert by_fields(plain).digest() != plain.digest()


def test_chroma_of_each_field_is_averaged_within_the_field() -> None:
    full = np.zeros((2, 16, 8), np.float32)
    full[:, 1::2] = 0.4  # the lower field has colour, the upper none
    found = subsample_chroma(full, COLOUR, fields=True)
    assert (found[:, 0::2] == 0).all() and np.allclose(found[:, 1::2], 0.4)
    assert np.allclose(subsample_chroma(full, COLOUR), 0.2)


def test_weaving() -> None:
    upper, lower = np.zeros((3, 2, 4)), np.ones((3, 2, 4))
    assert weave(upper, lower, 3)[0, :, 0].tolist() == [0, 1, 0]
