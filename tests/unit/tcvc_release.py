"""The released files TCVC is made of as tables of keys and shapes, and their networks written a second time, to test against.

Nothing here knows of :mod:`dvcp.nets`. An entry of a table is a layer: ``name outputs inputs kernel`` is a convolution, without bias where
``-`` goes before the numbers; ``name T inputs outputs kernel`` a transposed one, ``T-`` without bias; ``name N width`` a batch norm.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

Tensors = dict[str, Tensor]


def _trunk(first: str) -> str:
    wide = "|".join(f"model{k}.{n} 512 {i} 3" for k in (4, 5, 6, 7) for n, i in ((0, 256 if k == 4 else 512), (2, 512), (4, 512)))
    norms = "|".join(f"model{k}.6 N 512" for k in (4, 5, 6, 7))
    return f"""
model1.0 64 {first} 3|model1.2 64 64 3|model1.4 N 64|model2.0 128 64 3|model2.2 128 128 3|model2.4 N 128
model3.0 256 128 3|model3.2 256 256 3|model3.4 256 256 3|model3.6 N 256|{wide}|{norms}
"""


#: siggraph17-df00044c.pth: 107 tensors
SIGGRAPH17 = f"""{_trunk("4")}
model8up.0 T 512 256 4|model3short8.0 256 256 3|model8.1 256 256 3|model8.3 256 256 3|model8.5 N 256
model9up.0 T 256 128 4|model2short9.0 128 128 3|model9.1 128 128 3|model9.3 N 128
model10up.0 T 128 128 4|model1short10.0 128 64 3|model10.1 128 128 3|model_class.0 529 256 1|model_out.0 2 128 1
"""
#: colorization_release_v2-9b330a0b.pth: 82 tensors
ECCV16 = f"""{_trunk("1")}
model8.0 T 512 256 4|model8.2 256 256 3|model8.4 256 256 3|model8.6 313 256 1|model_out - 2 313 1
"""
_DEEP = """
conv4.0 512 256 3|conv4_1.0 512 512 3|conv5.0 512 512 3|conv5_1.0 512 512 3|conv6.0 1024 512 3|conv6_1.0 1024 1024 3|predict_flow6 2 1024 3
deconv5.0 T 1024 512 4|deconv4.0 T 1026 256 4|deconv3.0 T 770 128 4|deconv2.0 T 386 64 4
"""
_PLAIN = "predict_flow5 2 1026 3|predict_flow4 2 770 3|predict_flow3 2 386 3|predict_flow2 2 194 3"
_SMOOTH = "predict_flow5 2 512 3|predict_flow4 2 256 3|predict_flow3 2 128 3|predict_flow2 2 64 3"
_UP = "upsampled_flow6_to_5 T 2 2 4|upsampled_flow5_to_4 T 2 2 4|upsampled_flow4_to_3 T 2 2 4|upsampled_flow3_to_2 T 2 2 4"
_S = f"""conv1.0 64 12 7|conv2.0 128 64 5|conv3.0 256 128 5|conv3_1.0 256 256 3|{_DEEP}|{_PLAIN}|{_UP.replace("T", "T-")}"""
#: parts of FlowNet2_checkpoint.pth.tar: 220 tensors
FLOWNET2 = {
    "flownetc": f"conv1.0 64 3 7|conv2.0 128 64 5|conv3.0 256 128 5|conv_redir.0 32 256 1|conv3_1.0 256 473 3|{_DEEP}|{_PLAIN}|{_UP}",
    "flownets_1": _S,
    "flownets_2": _S,
    "flownets_d": f"""conv0.0 64 6 3|conv1.0 64 64 3|conv1_1.0 128 64 3|conv2.0 128 128 3|conv2_1.0 128 128 3|conv3.0 256 128 3
conv3_1.0 256 256 3|inter_conv5.0 512 1026 3|inter_conv4.0 256 770 3|inter_conv3.0 128 386 3|inter_conv2.0 64 194 3
{_DEEP}|{_SMOOTH}|{_UP}""",
    "flownetfusion": """conv0.0 64 11 3|conv1.0 64 64 3|conv1_1.0 128 64 3|conv2.0 128 128 3|conv2_1.0 128 128 3|predict_flow2 2 128 3
deconv1.0 T 128 32 4|deconv0.0 T 162 16 4|inter_conv1.0 32 162 3|inter_conv0.0 16 82 3|predict_flow1 2 32 3|predict_flow0 2 16 3
upsampled_flow2_to_1 T 2 2 4|upsampled_flow1_to_0 T 2 2 4""",
}
#: what 80000_G.pth has besides the generator and the flow: 22 tensors
FUSION = """
L_fea_extractor.0 32 1 3|L_fea_extractor.2 32 32 3|channel_reduction.conv1 64 128 1|channel_reduction.conv2 64 64 3
channel_reduction.conv3 64 64 1|weigting.conv1 196 352 3|weigting.conv2 64 196 3|weigting.conv3 1 64 3
feature_refine.conv1 196 288 3|feature_refine.conv2 128 196 3|feature_refine.conv3 128 128 3
"""


def _layers(table: str, prefix: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    for entry in table.replace("\n", "|").split("|"):
        name, *words = entry.split() or [""]
        kind = "" if not words or words[0].isdigit() else words.pop(0)
        numbers = [int(n) for n in words]
        if kind == "N":
            yield from ((f"{prefix}{name}.{key}", (numbers[0],)) for key in ("weight", "bias", "running_mean", "running_var"))
            yield f"{prefix}{name}.num_batches_tracked", ()
        elif name:
            yield f"{prefix}{name}.weight", (*numbers[:2], numbers[2], numbers[2])
            if "-" not in kind:
                yield f"{prefix}{name}.bias", (numbers[1 if "T" in kind else 0],)


def shapes(table: str | dict[str, str], prefix: str = "") -> dict[str, tuple[int, ...]]:
    """A table above as key to shape."""
    if isinstance(table, str):
        return dict(_layers(table, prefix))
    return {name: shape for part, own in table.items() for name, shape in _layers(own, f"{prefix}{part}.")}


def tcvc_shapes() -> dict[str, tuple[int, ...]]:
    """80000_G.pth: 349 tensors."""
    return shapes(FUSION) | shapes(SIGGRAPH17, "fea_key.") | shapes(FLOWNET2, "flow.")


#: flow of a few pixels, and colours that differ from place to place
_LOUDER = {f"predict_flow{level}.weight": -5 for level in range(7)} | {"model8.6.weight": 4, "model_out.weight": 3}


def tensors(wanted: dict[str, tuple[int, ...]], seed: int = 0) -> Tensors:
    """Noise that keeps signals alive and flow small. Tensors share memory, or those of FlowNet2 would be 650 MB."""
    sizes = {name: _exponent(name, shape) for name, shape in wanted.items()}
    most = {e: max(math.prod(wanted[n]) for n, own in sizes.items() if own == e) for e in sizes.values()}
    generator = torch.Generator().manual_seed(seed)
    noise = {e: torch.randn(most[e] + 1024, generator=generator) * 2.0**e for e in sorted(most)}
    made = {}
    for k, (name, shape) in enumerate(wanted.items()):
        drawn = noise[sizes[name]][k * 37 % 1024 :][: math.prod(shape)].view(shape)
        if name.endswith("num_batches_tracked"):
            drawn = torch.tensor(7)
        elif name.endswith("running_var") or _is_norm(name, wanted):
            drawn = 1 + drawn.abs()
        made[name] = drawn
    return made


def _is_norm(name: str, wanted: dict[str, tuple[int, ...]]) -> bool:
    return name.endswith("weight") and len(wanted[name]) == 1


def _exponent(name: str, shape: tuple[int, ...]) -> int:
    if len(shape) < 4:
        return -4
    # Of a transposed convolution a quarter of the kernel meets each pixel.
    inputs = shape[0] * 4 if shape[2] == 4 else math.prod(shape[1:])
    return round(math.log2((2 / inputs) ** 0.5)) + next((more for part, more in _LOUDER.items() if name.endswith(part)), 0)


def save(path: Path, state: object) -> str:
    """A file of torch; its path."""
    torch.save(state, path)
    return str(path)


class Written:
    """The networks layer by layer, from a state dict, in the precision of their pictures ``[1, C, h, w]``."""

    def __init__(self, state: Tensors) -> None:
        self.state = state

    def conv(self, name: str, x: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
        weight, bias = self.state[f"{name}.weight"].to(x.dtype), self.state.get(f"{name}.bias", torch.zeros(1))
        y = F.conv2d(x, weight, None, stride, weight.shape[2] // 2 * dilation, dilation)
        return y + bias.to(x.dtype)[:, None, None]

    def up(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.state[f"{name}.weight"].to(x.dtype), self.state.get(f"{name}.bias", torch.zeros(1))
        return F.conv_transpose2d(x, weight, None, 2, 1) + bias.to(x.dtype)[:, None, None]

    def norm(self, name: str, x: Tensor) -> Tensor:
        weight, bias, mean, variance = (
            self.state[f"{name}.{key}"].to(x.dtype)[:, None, None] for key in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

    def block(self, number: int, places: tuple[int, ...], x: Tensor, last: int = 1, dilation: int = 1) -> Tensor:
        """Convolutions of ``model<number>`` at ``places``, and its norm two places on."""
        for place in places:
            x = self.conv(f"model{number}.{place}", x, last if place == places[-1] else 1, dilation).clamp(min=0)
        return self.norm(f"model{number}.{places[-1] + 2}", x)

    def siggraph17(self, lightness: Tensor) -> tuple[Tensor, Tensor]:
        """Output of model10, and a*, b*, of L* in 0..100."""
        zero = torch.zeros_like(lightness)
        one = self.block(1, (0, 2), torch.cat([(lightness - 50) / 100, zero, zero, zero], 1))
        two = self.block(2, (0, 2), one[:, :, ::2, ::2])
        three = self.block(3, (0, 2, 4), two[:, :, ::2, ::2])
        x = self.block(4, (0, 2, 4), three[:, :, ::2, ::2])
        x = self.block(5, (0, 2, 4), x, dilation=2)
        x = self.block(6, (0, 2, 4), x, dilation=2)
        x = self.block(7, (0, 2, 4), x)
        x = self.block(8, (1, 3), (self.up("model8up.0", x) + self.conv("model3short8.0", three)).clamp(min=0))
        x = self.block(9, (1,), (self.up("model9up.0", x) + self.conv("model2short9.0", two)).clamp(min=0))
        x = self.conv("model10.1", (self.up("model10up.0", x) + self.conv("model1short10.0", one)).clamp(min=0))
        x = torch.where(x > 0, x, 0.2 * x)
        return x, torch.tanh(self.conv("model_out.0", x)) * 110

    def eccv16(self, lightness: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and a*, b*, of L* in 0..100."""
        x = self.block(1, (0, 2), (lightness - 50) / 100, last=2)
        x = self.block(2, (0, 2), x, last=2)
        x = self.block(3, (0, 2, 4), x, last=2)
        for number, dilation in ((4, 1), (5, 2), (6, 2), (7, 1)):
            x = self.block(number, (0, 2, 4), x, dilation=dilation)
        x = self.up("model8.0", x).clamp(min=0)
        for place in (2, 4):
            x = self.conv(f"model8.{place}", x).clamp(min=0)
        logits = self.conv("model8.6", x)
        shares = logits.exp() / logits.exp().sum(1, keepdim=True)
        return logits, 110 * F.interpolate(self.conv("model_out", shares), scale_factor=4, mode="bilinear")

    def slope(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        x = self.conv(f"{name}.0", x, stride)
        return torch.where(x > 0, x, 0.1 * x)

    def refined(self, net: str, x: Tensor, skips: list[Tensor], finest: int, smooth: bool) -> Tensor:
        """Flow from coarse to fine."""
        level = finest + len(skips)
        flow = self.conv(f"{net}.predict_flow{level}", x)
        for skip in skips:
            level -= 1
            raised = self.up(f"{net}.deconv{level}.0", x)
            raised = torch.where(raised > 0, raised, 0.1 * raised)
            x = torch.cat([skip, raised, self.up(f"{net}.upsampled_flow{level + 1}_to_{level}", flow)], 1)
            flow = self.conv(f"{net}.predict_flow{level}", self.conv(f"{net}.inter_conv{level}.0", x) if smooth else x)
        return flow

    def deep(self, net: str, three: Tensor, two: Tensor, smooth: bool = False) -> Tensor:
        four = self.slope(f"{net}.conv4_1", self.slope(f"{net}.conv4", three, 2))
        five = self.slope(f"{net}.conv5_1", self.slope(f"{net}.conv5", four, 2))
        six = self.slope(f"{net}.conv6_1", self.slope(f"{net}.conv6", five, 2))
        return self.refined(net, six, [five, four, three, two], 2, smooth)

    def flownetc(self, a: Tensor, b: Tensor) -> Tensor:
        net = "flownetc"
        two, other = (self.slope(f"{net}.conv2", self.slope(f"{net}.conv1", x, 2), 2) for x in (a, b))
        here, there = (self.slope(f"{net}.conv3", x, 2) for x in (two, other))
        found = correlation_by_definition(here, there)
        found = torch.where(found > 0, found, 0.1 * found)
        three = self.slope(f"{net}.conv3_1", torch.cat([self.slope(f"{net}.conv_redir", here), found], 1))
        return self.deep(net, three, two)

    def flownets(self, net: str, seen: Tensor) -> Tensor:
        two = self.slope(f"{net}.conv2", self.slope(f"{net}.conv1", seen, 2), 2)
        return self.deep(net, self.slope(f"{net}.conv3_1", self.slope(f"{net}.conv3", two, 2)), two)

    def flownetsd(self, pair: Tensor) -> Tensor:
        net = "flownets_d"
        x = self.slope(f"{net}.conv1_1", self.slope(f"{net}.conv1", self.slope(f"{net}.conv0", pair), 2))
        two = self.slope(f"{net}.conv2_1", self.slope(f"{net}.conv2", x, 2))
        return self.deep(net, self.slope(f"{net}.conv3_1", self.slope(f"{net}.conv3", two, 2)), two, smooth=True)

    def fusion(self, seen: Tensor) -> Tensor:
        net = "flownetfusion"
        zero = self.slope(f"{net}.conv0", seen)
        one = self.slope(f"{net}.conv1_1", self.slope(f"{net}.conv1", zero, 2))
        two = self.slope(f"{net}.conv2_1", self.slope(f"{net}.conv2", one, 2))
        return self.refined(net, two, [one, zero], 0, smooth=True)

    def flownet2(self, a: Tensor, b: Tensor) -> Tensor:
        """The whole stack, frames ``[1, 3, h, w]``."""

        def length(x: Tensor) -> Tensor:
            return (x**2).sum(1, keepdim=True) ** 0.5

        def bilinear(flow: Tensor) -> Tensor:
            return F.interpolate(flow, scale_factor=4, mode="bilinear")

        pair = torch.cat([a, b], 1)
        flow = bilinear(self.flownetc(a, b) * 20)
        brought = moved(b, flow)
        flow = bilinear(self.flownets("flownets_1", torch.cat([pair, brought, flow / 20, length(a - brought)], 1)) * 20)
        brought = moved(b, flow)
        big = repeated(self.flownets("flownets_2", torch.cat([pair, brought, flow / 20, length(a - brought)], 1)) * 20)
        small = repeated(self.flownetsd(pair) / 20)
        errors = [length(a - moved(b, x)) for x in (small, big)]
        return self.fusion(torch.cat([a, small, big, length(small), length(big), *errors], 1))


def repeated(flow: Tensor) -> Tensor:
    """Every place four times in both directions."""
    return flow.repeat_interleave(4, 2).repeat_interleave(4, 3)


def moved(planes: Tensor, flow: Tensor) -> Tensor:
    """Planes ``[1, C, h, w]`` along a flow: four neighbours by their indices, clamped to the picture."""
    height, width = planes.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    x, y = x + flow[0, 0], y + flow[0, 1]
    left, top = x.floor(), y.floor()
    total = torch.zeros_like(planes)
    for dy in (0, 1):
        for dx in (0, 1):
            share = (1 - (x - left - dx).abs()) * (1 - (y - top - dy).abs())
            total += share * planes[:, :, (top + dy).clamp(0, height - 1).long(), (left + dx).clamp(0, width - 1).long()]
    return total


def correlation_by_definition(a: Tensor, b: Tensor) -> Tensor:
    """Of ``[1, C, h, w]``: channel 21 i + j compares with the place 2 (i - 10) rows below and 2 (j - 10) columns to the right."""
    height, width = a.shape[-2:]
    found = a.new_zeros(1, 441, height, width)
    for y in range(height):
        for x in range(width):
            for i in range(21):
                for j in range(21):
                    v, u = y + 2 * (i - 10), x + 2 * (j - 10)
                    if 0 <= v < height and 0 <= u < width:
                        found[0, 21 * i + j, y, x] = (a[0, :, y, x] * b[0, :, v, u]).mean()
    return found
