from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.color import lab2rgb, rgb2lab

from dvcp.colour import Matrix, rgb_to_ycbcr
from dvcp.evaluation import metrics
from dvcp.ops.lab import gray_to_lightness, lab_to_chroma, lab_to_rgb, rgb_to_lab, ycbcr_to_rgb_planes


def pictures() -> torch.Tensor:
    """Noise, with black, white, the primaries and the darkest steps, where the curves have their linear part."""
    picture = torch.rand(2, 3, 9, 11, generator=torch.Generator().manual_seed(0))
    picture[0, :, 0, :8] = torch.tensor([[(n >> c) & 1 for n in range(8)] for c in range(3)], dtype=torch.float32)
    picture[1, :, 0] = torch.linspace(0, 0.06, 11)
    return picture


def last(planes: torch.Tensor) -> np.ndarray:
    return planes.double().movedim(1, -1).numpy()


def test_lab_is_that_of_the_metrics_and_of_skimage() -> None:
    rgb = pictures()
    found = rgb_to_lab(rgb)
    assert found.dtype == torch.float32 and found.shape == rgb.shape
    np.testing.assert_allclose(last(found), metrics.rgb_to_lab(last(rgb)), atol=2e-4)
    np.testing.assert_allclose(last(found), rgb2lab(last(rgb)), atol=2e-4)


def test_there_and_back() -> None:
    rgb = pictures()
    torch.testing.assert_close(lab_to_rgb(rgb_to_lab(rgb)), rgb, atol=1e-5, rtol=0)


@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")
def test_colours_no_display_shows_are_clipped_as_skimage_does() -> None:
    lab = (pictures() - 0.5) * torch.tensor([100.0, 250, 250])[:, None, None] + torch.tensor([50.0, 0, 0])[:, None, None]
    found = lab_to_rgb(lab)
    assert found.min() == 0 and found.max() == 1
    np.testing.assert_allclose(last(found), lab2rgb(last(lab)), atol=1e-4)


def test_lightness_of_gray() -> None:
    luma = torch.linspace(-0.1, 1.1, 121)[None, None, None]
    wanted = rgb_to_lab(luma.clamp(0, 1).expand(-1, 3, -1, -1))[:, :1]
    torch.testing.assert_close(gray_to_lightness(luma), wanted, atol=1e-4, rtol=0)
    assert gray_to_lightness(luma)[..., 0].abs() < 1e-4 and abs(gray_to_lightness(luma)[..., -1] - 100) < 1e-4


@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
def test_chroma_of_every_matrix(matrix: Matrix) -> None:
    rgb = pictures()
    planes = torch.from_numpy(rgb_to_ycbcr(last(rgb), matrix)).movedim(-1, 1).float()
    torch.testing.assert_close(ycbcr_to_rgb_planes(planes, matrix), rgb, atol=1e-5, rtol=0)
    torch.testing.assert_close(lab_to_chroma(rgb_to_lab(rgb), matrix), planes[:, 1:], atol=1e-5, rtol=0)
    assert ycbcr_to_rgb_planes(torch.full((1, 3, 2, 2), 0.9), matrix).max() == 1
