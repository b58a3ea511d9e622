from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from dvcp.media.stills import write_still
from dvcp.ops.codes import from_codes
from dvcp.ops.flow import sample
from dvcp.training.scenes import HEIGHT, WIDTH, Draw, Scene, Stock, load_photographs, moved
from tests.films import scene


def clip(seed: int, frames: int = 12) -> Scene:
    luma, chroma = scene(seed, frames)
    return Scene(f"clip{seed}", np.concatenate([luma[:, None, ::2, ::2], chroma], 1).astype(np.uint8))


def picture(seed: int) -> Scene:
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.random((1, 3, 12, 18)).astype(np.float32))
    planes = torch.nn.functional.interpolate(coarse, size=(240, 360), mode="bicubic").clamp(0, 1)
    return Scene(f"picture{seed}", (planes[0] * 255).byte().numpy()[None])


@pytest.fixture(scope="module")
def draws() -> list[Draw]:
    clips, pictures = [clip(k) for k in range(3)], [picture(k) for k in range(3)]
    vectors = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    stock = Stock(clips, pictures, vectors)
    return [stock.draw(5, np.random.default_rng(seed)) for seed in range(60)]


def test_a_draw_is_what_the_network_takes(draws: list[Draw]) -> None:
    for one in draws:
        assert one.luma.shape == (5, 1, HEIGHT, WIDTH) and one.truth.shape == (5, 3, HEIGHT, WIDTH)
        assert one.place.shape == (4, 2, HEIGHT // 2, WIDTH // 2)
        assert one.reference.shape[:2] == (1, 3) and all(side % 16 == 0 for side in one.reference.shape[2:])
        assert one.start is None or one.same, "a truth to start from there is only in the same scene"
        assert float(one.reference[:, 0].min()) >= 0 and float(one.reference[:, 0].max()) <= 1
        assert float(one.truth[:, 1:].abs().max()) <= 0.51


def test_every_kind_of_draw_comes_up(draws: list[Draw]) -> None:
    assert {one.same for one in draws} == {True, False}
    assert any(one.start is None for one in draws if one.same) and any(one.start == 0 for one in draws) and any(one.start for one in draws)
    assert any(torch.equal(one.luma, one.truth[:, :1]) for one in draws), "as it was"
    assert any(not torch.equal(one.luma, one.truth[:, :1]) for one in draws), "aged"


def test_the_same_seed_draws_the_same() -> None:
    vectors = np.eye(4, dtype=np.float32)
    stock = Stock([clip(0), clip(1)], [picture(0), picture(1)], vectors)
    one, two = (stock.draw(4, np.random.default_rng(5)) for _ in range(2))
    assert torch.equal(one.luma, two.luma) and torch.equal(one.place, two.place) and torch.equal(one.reference, two.reference)


def test_a_photograph_moves_smoothly_and_its_flow_is_found() -> None:
    from dvcp.training.scenes import places

    film = moved(picture(3).planes[0], 5, np.random.default_rng(1))
    assert film.shape == (5, 3, HEIGHT, WIDTH)
    steps = (film[1:] - film[:-1]).abs().mean((1, 2, 3))
    assert float(steps.min()) > 0 and float(steps.max()) < 2.5 * float(steps.min()), "it moves alike in every frame"
    half = torch.nn.functional.avg_pool2d(film, 2)
    back = sample(half[0], places(film[:, :1])[0])
    inside = (slice(None), slice(8, -8), slice(8, -8))
    assert float((back - half[1])[inside].abs().mean()) < 0.5 * float((half[0] - half[1])[inside].abs().mean())


def test_a_reference_of_another_scene_is_one_of_those_most_alike() -> None:
    vectors = np.array([[1, 0], [1, 0.1], [0, 1]], np.float32)
    scenes = [Scene(str(k), np.full((2, 3, 96, 160), 60 * (k + 1), np.uint8)) for k in range(3)]
    import dvcp.training.scenes as module

    kept, module._ALIKE = module._ALIKE, 1
    try:
        stock = Stock(scenes, [], vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    finally:
        module._ALIKE = kept
    for seed in range(40):
        one = stock.draw(4, np.random.default_rng(seed))
        if not one.same:
            shown, reference = (int((p[:, 1].median() * 255 + 128).round()) // 60 - 1 for p in (one.truth, one.reference))
            assert reference == {0: 1, 1: 0, 2: 1}[shown]


def test_photographs_without_colour_or_too_small_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 255, (200, 300, 3)).astype(np.uint8)
    write_still(str(tmp_path / "b.png"), colour)
    write_still(str(tmp_path / "gray.png"), colour[..., 0])
    write_still(str(tmp_path / "small.png"), colour[:50])
    (tmp_path / "text.png").write_text("no picture")
    with caplog.at_level(logging.WARNING):
        found = load_photographs(str(tmp_path))
    assert [s.name for s in found] == ["b.png"] and "text.png" in caplog.text
    assert found[0].planes.shape == (1, 3, 200, 300)
    luma = from_codes(torch.from_numpy(found[0].planes))[0, 0]
    wanted = torch.from_numpy(colour.astype(np.float32) / 255) @ torch.tensor([0.299, 0.587, 0.114])
    torch.testing.assert_close(luma, wanted, atol=0.003, rtol=0)
