from __future__ import annotations

import pytest
import torch

from dvcp.nets.exemplar import ColourNet, sureness


def inputs(height: int = 21, width: int = 30) -> list[torch.Tensor]:
    torch.manual_seed(1)

    def picture() -> torch.Tensor:
        return torch.cat([torch.rand(2, 1, height, width), torch.rand(2, 2, height, width) - 0.5], 1)

    luma, cues, sure = (torch.rand(2, c, height, width) for c in (1, 4, 1))
    return [luma, picture(), cues, picture(), sure]


def test_untrained_it_is_half_match_and_half_last_frame_and_drawn_to_what_is_alike() -> None:
    given = inputs()
    chroma, error = ColourNet()(*given)
    matched, last, alike = given[1][:, 1:], given[3][:, 1:], given[2][:, 1:2]
    torch.testing.assert_close(chroma, (matched + last) / 2 + 0.3 * alike * (matched - last) / 2)
    assert error.shape == (2, 1, 21, 30) and bool((error > 0).all())


def test_where_match_and_last_frame_agree_only_the_correction_is_added() -> None:
    net, given = ColourNet(), inputs()
    given[3], given[2] = given[1], torch.zeros_like(given[2])
    torch.nn.init.normal_(net.last.weight[:2], std=0.5)
    torch.testing.assert_close(net(*given)[0], given[1][:, 1:], atol=1e-6, rtol=0)
    with torch.no_grad():
        net.last.bias[2] = 1.0
    torch.testing.assert_close(net(*given)[0][:, 0] - given[1][:, 1], torch.full((2, 21, 30), 0.2), atol=1e-5, rtol=0)


@pytest.mark.parametrize("which", range(5))
def test_every_input_has_a_say(which: int) -> None:
    net, given = ColourNet(), inputs(16, 16)
    torch.nn.init.normal_(net.last.weight, std=0.1)
    before = net(*given)[0]
    given[which] = given[which].flip(-1)
    assert not torch.allclose(net(*given)[0], before)


def test_sureness_falls_with_the_error_expected() -> None:
    sure = sureness(torch.tensor([0.0, 0.04, 0.5]))
    torch.testing.assert_close(sure[:2], torch.tensor([1.0, 0.36788]), atol=1e-4, rtol=0)
    assert 0 <= float(sure[2]) < 1e-4
