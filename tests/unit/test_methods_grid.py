from __future__ import annotations

import numpy as np
import pytest
import torch

from dvcp.colour import ColourSpec, luma_to_unit
from dvcp.methods.grid import MULTIPLE, WorkingGrid

CPU = torch.device("cpu")
FULL = ColourSpec("bt601", full_range=True)
EVERY_GRID = [(1, 1), (1, 0), (0, 0), (2, 2)]


@pytest.mark.parametrize("film, working_height, size", [
    ((480, 854), 576, (240, 427)), ((1080, 1920), 576, (288, 512)), ((1920, 1080), 576, (512, 288)),
    ((33, 47), 576, (17, 24)), ((4, 6), 576, (8, 8)), ((480, 854), 240, (120, 214)),
])  # fmt: skip
def test_half_of_the_film_and_no_more_than_asked(film: tuple[int, int], working_height: int, size: tuple[int, int]) -> None:
    grid = WorkingGrid.of(*film, FULL, working_height)
    assert (grid.height, grid.width) == size and grid.film == film


@pytest.mark.parametrize("film, working_height", [((32, 48), 576), ((33, 47), 576), ((9, 200), 576), ((64, 96), 40), ((5, 6), 576)])
def test_luma_comes_at_both_sizes(film: tuple[int, int], working_height: int) -> None:
    grid = WorkingGrid.of(*film, FULL, working_height)
    half, full = grid.luma(np.full((3, *film), 51, np.uint8), CPU)
    assert half.shape == (3, 1, grid.height, grid.width)
    assert all(n % MULTIPLE == 0 and 0 <= n - 2 * m < MULTIPLE for n, m in zip(full.shape[-2:], (grid.height, grid.width), strict=True))
    for picture in (half, full):
        torch.testing.assert_close(picture, torch.full_like(picture, 0.2))


def test_half_luma_is_the_area_average() -> None:
    samples = np.random.default_rng(0).integers(0, 1024, (2, 32, 48)).astype(np.uint16)
    spec = ColourSpec("bt709", depth=10)
    half, full = WorkingGrid.of(32, 48, spec, 576).luma(samples, CPU)
    unit = luma_to_unit(samples, spec)
    np.testing.assert_allclose(half[:, 0].numpy(), unit.reshape(2, 16, 2, 24, 2).mean((2, 4)), atol=1e-6)
    np.testing.assert_array_equal(full[:, 0].numpy(), unit)


@pytest.mark.parametrize("subsample", EVERY_GRID)
@pytest.mark.parametrize("film, working_height", [((32, 48), 576), ((33, 47), 576), ((64, 96), 40)])
def test_constant_colour_goes_through_and_back(subsample: tuple[int, int], film: tuple[int, int], working_height: int) -> None:
    spec = ColourSpec("bt601", full_range=True, subsample=subsample)
    grid = WorkingGrid.of(*film, spec, working_height)
    shape = spec.chroma_shape(*film)
    planes = np.stack([np.full(shape, 0.25, np.float32), np.full(shape, -0.3, np.float32)])
    planes.flags.writeable = False  # as it comes out of shared memory
    samples = np.random.default_rng(1).integers(0, 256, (1, *film)).astype(np.uint8)
    working = grid.chroma(planes, CPU)
    assert working.shape == (2, grid.height, grid.width)
    back = grid.restore(working[None], grid.luma(samples, CPU)[0], samples)
    assert back.shape == (1, 2, *shape)
    np.testing.assert_allclose(back[0].numpy(), planes, atol=1e-4)
    sure = grid.restore_confidence(torch.full((1, 1, grid.height, grid.width), 0.5))
    assert sure.shape == (1, *shape) and sure.dtype == torch.uint8 and (sure == 128).all()


def test_chroma_on_the_working_grid_is_not_touched() -> None:
    spec = ColourSpec()
    grid = WorkingGrid.of(33, 47, spec, 576)
    planes = np.random.default_rng(2).random((2, 17, 24), np.float32) - 0.5
    samples = np.zeros((1, 33, 47), np.uint8)
    working = grid.chroma(planes, CPU)
    np.testing.assert_array_equal(working.numpy(), planes)
    np.testing.assert_array_equal(grid.restore(working[None], torch.zeros(1, 1, 17, 24), samples)[0].numpy(), planes)
