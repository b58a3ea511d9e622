"""FlowNet 2.0 (Ilg et al. 2017), 162.52 M parameters.

FlowNetC, then twice FlowNetS on what the flow so far leaves unexplained; FlowNetSD for small displacements beside them; a fusion of both.
Names of the attributes are the keys of the public ``FlowNet2_checkpoint.pth.tar``. Its weights expect flow to grow by bilinear
interpolation between the networks and by repetition before the fusion, and SD's to be divided where that of the others is multiplied.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dvcp.nets.flownet2_parts import FlowNetC, FlowNetFusion, FlowNetS, FlowNetSD
from dvcp.nets.generator import padded
from dvcp.ops.flow import warp
from dvcp.ops.lab import gray_to_lightness

#: pixels in the unit of flow of FlowNetC and FlowNetS
_UNIT = 20.0
_MULTIPLE = 64


def _length(planes: Tensor) -> Tensor:
    """Euclidean length over channels, ``[T, 1, h, w]``."""
    return planes.square().sum(1, keepdim=True).sqrt()


def _grown(flow: Tensor, mode: str) -> Tensor:
    return F.interpolate(flow, scale_factor=4.0, mode=mode, align_corners=False if mode == "bilinear" else None)


class FlowNet2(nn.Module):
    """The stack; :meth:`flow` is a :class:`dvcp.ops.flow.FlowSearch`."""

    def __init__(self) -> None:
        super().__init__()
        self.flownetc = FlowNetC()
        self.flownets_1, self.flownets_2 = FlowNetS(), FlowNetS()
        self.flownets_d = FlowNetSD()
        self.flownetfusion = FlowNetFusion()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Flow of frames whose mean was taken off.

        Args:
            a, b: float32 ``[T, 3, h, w]``, about [-0.5, 0.5], sides multiples of 64.

        Returns:
            float32 ``[T, 2, h, w]``, steps in x and y from each pixel of ``a`` to its place in ``b``, in pixels.
        """
        pair = torch.cat([a, b], 1)
        small = self.flownetc(a, b)
        for net in (self.flownets_1, self.flownets_2):
            flow = _grown(small * _UNIT, "bilinear")
            brought = warp(b, flow)
            small = net(torch.cat([pair, brought, flow / _UNIT, _length(a - brought)], 1))
        flows = _grown(self.flownets_d(pair) / _UNIT, "nearest"), _grown(small * _UNIT, "nearest")
        lengths, errors = [_length(flow) for flow in flows], [_length(a - warp(b, flow)) for flow in flows]
        found: Tensor = self.flownetfusion(torch.cat([a, *flows, *lengths, *errors], 1))
        return found

    @torch.no_grad()
    def flow(self, a: Tensor, b: Tensor) -> Tensor:
        """Where each pixel of ``a`` lies in ``b``: ``b`` sampled at its place plus the flow is ``a``.

        The network sees L* / 100 three times, as in TCVC. Edges are repeated to a multiple of 64. Pair by pair: each takes about 0.2 GB at
        256 lines.

        Args:
            a, b: Y', float32 ``[T, 1, h, w]`` in [0, 1], any size.

        Returns:
            float32 ``[T, 2, h, w]``, steps in x and y, in pixels.
        """
        height, width = a.shape[-2:]
        seen = torch.stack([gray_to_lightness(a), gray_to_lightness(b)]) / 100
        first, second = (padded(x, _MULTIPLE).expand(-1, 3, -1, -1) for x in seen - seen.mean((0, 2, 3, 4), keepdim=True))
        pairs = zip(first.split(1), second.split(1), strict=True)
        return torch.cat([self(*pair)[..., :height, :width] for pair in pairs])
