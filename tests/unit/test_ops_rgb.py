from __future__ import annotations

import numpy as np
import pytest
import torch

from dvcp.colour import Matrix, rgb_to_ycbcr
from dvcp.ops.rgb import to_rgb


@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
def test_it_undoes_the_conversion_of_every_matrix(matrix: Matrix) -> None:
    rgb = np.random.default_rng(0).random((2, 5, 7, 3)).astype(np.float32)
    planes = torch.from_numpy(rgb_to_ycbcr(rgb, matrix)).permute(0, 3, 1, 2)
    torch.testing.assert_close(to_rgb(planes, matrix).permute(0, 2, 3, 1), torch.from_numpy(rgb), atol=1e-5, rtol=0)


def test_colours_no_screen_shows_are_clipped_and_gradients_flow() -> None:
    planes = torch.tensor([0.9, 0.4, 0.4])[None, :, None, None].requires_grad_()
    found = to_rgb(planes, "bt709")
    assert float(found.detach().max()) == 1.0
    found.sum().backward()
    assert planes.grad is not None and bool(planes.grad.abs().sum() > 0)
