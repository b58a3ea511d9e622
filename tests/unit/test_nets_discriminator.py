from __future__ import annotations

import torch

from dvcp.nets.discriminator import VideoDiscriminator


def test_patches_of_a_pair_are_scored_and_both_frames_count() -> None:
    torch.manual_seed(0)
    judge, pair = VideoDiscriminator().eval(), torch.rand(2, 6, 48, 80)
    scores = judge(pair)
    assert scores.shape == (2, 1, 3, 5)
    for channel in range(6):
        changed = pair.clone()
        changed[:, channel] = changed[:, channel].flip(-1)
        assert not torch.allclose(judge(changed), scores), channel


def test_spectral_norm_holds_every_convolution() -> None:
    torch.manual_seed(0)
    judge = VideoDiscriminator()
    with torch.no_grad():
        for module in judge.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.parametrizations.weight.original.mul_(50)  # type: ignore[union-attr, index]
    for _ in range(60):
        judge(torch.rand(1, 6, 32, 32))
    judge.eval()
    for name, module in judge.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            assert float(torch.linalg.matrix_norm(module.weight.detach().flatten(1), 2)) < 1.1, name


def test_attention_starts_as_nothing_and_then_sees_the_whole_picture() -> None:
    torch.manual_seed(0)
    judge, pair = VideoDiscriminator().eval(), torch.rand(1, 6, 128, 128)
    attention = next(m for m in judge.modules() if type(m).__name__ == "_Attention")
    x = torch.rand(1, 64, 6, 6)
    assert torch.equal(attention(x), x)
    with torch.no_grad():
        attention.share.fill_(1.0)  # type: ignore[union-attr, operator]
    changed = x.clone()
    changed[..., 0, 0] += 5
    assert not torch.allclose(attention(changed)[..., 5, 5], attention(x)[..., 5, 5])
    assert judge(pair).isfinite().all()
