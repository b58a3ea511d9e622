from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from dvcp.ops.sepwarp import sepwarp, sepwarp_reference, sepwarp_train


@pytest.fixture
def restore_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def drawn(batch: int, channels: int, height: int, width: int, taps: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """An image and two sets of logits that bfloat16 holds exactly, so that both versions see the same kernels."""
    generator = torch.Generator().manual_seed(seed)
    kernels = [(torch.randn(batch, taps, height, width, generator=generator) * 3).bfloat16().float() for _ in range(2)]
    return torch.rand(batch, channels, height, width, generator=generator), kernels[0], kernels[1]


def one_hot(taps: int, at: int, height: int, width: int) -> Tensor:
    logits = torch.zeros(1, taps, height, width)
    logits[:, at] = 200
    return logits


@pytest.mark.parametrize("taps", [3, 5, 51])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 9, 14), (1, 4, 17, 5)])
def test_the_fast_version_is_the_reference(taps: int, shape: tuple[int, int, int, int]) -> None:
    arguments = drawn(*shape, taps)
    torch.testing.assert_close(sepwarp(*arguments), sepwarp_reference(*arguments), atol=2e-6, rtol=1e-5)


def test_bfloat16_pictures_and_logits_are_taken() -> None:
    image, vertical, horizontal = drawn(1, 2, 6, 7, 5)
    found = sepwarp(image, vertical.bfloat16(), horizontal.bfloat16())
    assert found.dtype == torch.float32
    assert torch.equal(found, sepwarp(image, vertical, horizontal))


@pytest.mark.parametrize("warp", [sepwarp, sepwarp_reference])
def test_constant_colour_stays_constant(warp: object) -> None:
    assert callable(warp)
    _, vertical, horizontal = drawn(1, 1, 20, 30, 51, seed=3)
    image = torch.tensor([0.8, -0.5, 0.125])[None, :, None, None].expand(1, 3, 20, 30).contiguous()
    for _ in range(50):
        image = warp(image, vertical, horizontal)
    torch.testing.assert_close(image, torch.tensor([0.8, -0.5, 0.125])[None, :, None, None].expand_as(image), atol=5e-6, rtol=0)


@pytest.mark.parametrize("down, right", [(0, 0), (1, 0), (0, -2), (-2, 1)])
def test_a_pure_shift_moves_samples_untouched(down: int, right: int) -> None:
    image = torch.rand(1, 2, 8, 10)
    found = sepwarp(image, one_hot(5, 2 - down, 8, 10), one_hot(5, 2 - right, 8, 10))
    y, x = (torch.arange(8) - down).clamp(0, 7), (torch.arange(10) - right).clamp(0, 9)
    assert torch.equal(found, image[:, :, y][..., x])


def test_kernels_belong_to_the_output_pixel() -> None:
    image = torch.rand(1, 1, 6, 6)
    horizontal = one_hot(3, 1, 6, 6)
    horizontal[0, :, 2, 3] = torch.tensor([0.0, 0.0, 200.0])
    wanted = image.clone()
    wanted[0, 0, 2, 3] = image[0, 0, 2, 4]
    assert torch.equal(sepwarp(image, one_hot(3, 1, 6, 6), horizontal), wanted)


@pytest.mark.parametrize("taps", [3, 7])
def test_gradients_are_those_of_the_reference(taps: int) -> None:
    image, vertical, horizontal = drawn(2, 3, 6, 9, taps)
    weight = torch.randn(2, 3, 6, 9, generator=torch.Generator().manual_seed(9))
    grads = []
    for warp in (sepwarp_train, sepwarp_reference):
        v, h = vertical.clone().requires_grad_(), horizontal.clone().requires_grad_()
        (warp(image, v, h) * weight).sum().backward()
        assert v.grad is not None and h.grad is not None
        grads.append((v.grad, h.grad))
    for found, wanted in zip(*grads, strict=True):
        assert wanted.abs().max() > 0.01
        torch.testing.assert_close(found, wanted, atol=2e-6, rtol=1e-4)


@pytest.mark.usefixtures("restore_threads")
def test_the_number_of_threads_changes_no_bit() -> None:
    image, vertical, horizontal = drawn(1, 3, 23, 19, 25)
    found = []
    for threads in (1, 2, 5, 40):
        torch.set_num_threads(threads)
        v, h = vertical.clone().requires_grad_(), horizontal.clone().requires_grad_()
        out = sepwarp_train(image, v, h)
        (out * image).sum().backward()
        assert v.grad is not None and h.grad is not None
        found.append((out.detach(), v.grad, h.grad))
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))
