"""The authors' release as tables written from its files, and its networks written a second time in numpy float64, to test against.

Nothing here knows of :mod:`dvcp.nets`: keys and shapes are those of the released checkpoints, the order of layers that of their networks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]
Tensors = dict[str, torch.Tensor]

#: colornet_iter_76000.pth: 65 tensors
COLORNET = """
conv1_1.0.weight 32 7 3 3|conv1_1.0.bias 32|conv1_1.2.weight 64 32 3 3|conv1_1.2.bias 64|conv1_2.weight 64 64 3 3|conv1_2.bias 64
conv1_2norm_ss.weight 64 1 1 1|conv2_1.weight 128 64 3 3|conv2_1.bias 128|conv2_2.weight 128 128 3 3|conv2_2.bias 128
conv2_2norm_ss.weight 128 1 1 1|conv3_1.weight 256 128 3 3|conv3_1.bias 256|conv3_2.weight 256 256 3 3|conv3_2.bias 256
conv3_3.weight 256 256 3 3|conv3_3.bias 256|conv3_3norm_ss.weight 256 1 1 1|conv4_1.weight 512 256 3 3|conv4_1.bias 512
conv4_2.weight 512 512 3 3|conv4_2.bias 512|conv4_3.weight 512 512 3 3|conv4_3.bias 512|conv5_1.weight 512 512 3 3|conv5_1.bias 512
conv5_2.weight 512 512 3 3|conv5_2.bias 512|conv5_3.weight 512 512 3 3|conv5_3.bias 512|conv6_1.weight 512 512 3 3|conv6_1.bias 512
conv6_2.weight 512 512 3 3|conv6_2.bias 512|conv6_3.weight 512 512 3 3|conv6_3.bias 512|conv7_1.weight 512 512 3 3|conv7_1.bias 512
conv7_2.weight 512 512 3 3|conv7_2.bias 512|conv7_3.weight 512 512 3 3|conv7_3.bias 512|conv8_1.1.weight 256 512 3 3|conv8_1.1.bias 256
conv3_3_short.weight 256 256 3 3|conv3_3_short.bias 256|conv8_2.weight 256 256 3 3|conv8_2.bias 256|conv8_3.weight 256 256 3 3
conv8_3.bias 256|conv9_1.1.weight 128 256 3 3|conv9_1.1.bias 128|conv2_2_short.weight 128 128 3 3|conv2_2_short.bias 128
conv9_2.weight 128 128 3 3|conv9_2.bias 128|conv10_1.1.weight 128 128 3 3|conv10_1.1.bias 128|conv1_2_short.weight 128 64 3 3
conv1_2_short.bias 128|conv10_2.weight 128 128 3 3|conv10_2.bias 128|conv10_ab.weight 2 128 1 1|conv10_ab.bias 2
"""
#: nonlocal_net_iter_76000.pth: 43 tensors
NONLOCAL = """
layer2_1.1.weight 128 128 3 3|layer2_1.1.bias 128|layer2_1.3.weight 1|layer2_1.5.weight 64 128 3 3|layer2_1.5.bias 64|layer2_1.7.weight 1
layer3_1.1.weight 128 256 3 3|layer3_1.1.bias 128|layer3_1.3.weight 1|layer3_1.5.weight 64 128 3 3|layer3_1.5.bias 64|layer3_1.7.weight 1
layer4_1.1.weight 256 512 3 3|layer4_1.1.bias 256|layer4_1.3.weight 1|layer4_1.5.weight 64 256 3 3|layer4_1.5.bias 64|layer4_1.7.weight 1
layer5_1.1.weight 256 512 3 3|layer5_1.1.bias 256|layer5_1.3.weight 1|layer5_1.6.weight 64 256 3 3|layer5_1.6.bias 64|layer5_1.8.weight 1
layer.0.conv1.weight 256 256 3 3|layer.0.conv1.bias 256|layer.0.prelu.weight 1|layer.0.conv2.weight 256 256 3 3|layer.0.conv2.bias 256
layer.1.conv1.weight 256 256 3 3|layer.1.conv1.bias 256|layer.1.prelu.weight 1|layer.1.conv2.weight 256 256 3 3|layer.1.conv2.bias 256
layer.2.conv1.weight 256 256 3 3|layer.2.conv1.bias 256|layer.2.prelu.weight 1|layer.2.conv2.weight 256 256 3 3|layer.2.conv2.bias 256
theta.weight 256 256 1 1|theta.bias 256|phi.weight 256 256 1 1|phi.bias 256
"""
#: vgg19_conv.pth: 32 tensors
VGG = """
conv1_1.weight 64 3 3 3|conv1_1.bias 64|conv1_2.weight 64 64 3 3|conv1_2.bias 64
conv2_1.weight 128 64 3 3|conv2_1.bias 128|conv2_2.weight 128 128 3 3|conv2_2.bias 128
conv3_1.weight 256 128 3 3|conv3_1.bias 256|conv3_2.weight 256 256 3 3|conv3_2.bias 256
conv3_3.weight 256 256 3 3|conv3_3.bias 256|conv3_4.weight 256 256 3 3|conv3_4.bias 256
conv4_1.weight 512 256 3 3|conv4_1.bias 512|conv4_2.weight 512 512 3 3|conv4_2.bias 512
conv4_3.weight 512 512 3 3|conv4_3.bias 512|conv4_4.weight 512 512 3 3|conv4_4.bias 512
conv5_1.weight 512 512 3 3|conv5_1.bias 512|conv5_2.weight 512 512 3 3|conv5_2.bias 512
conv5_3.weight 512 512 3 3|conv5_3.bias 512|conv5_4.weight 512 512 3 3|conv5_4.bias 512
"""


def shapes(table: str) -> dict[str, tuple[int, ...]]:
    """A table above as key to shape."""
    entries = (entry.split() for entry in table.replace("\n", "|").split("|") if entry)
    return {name: tuple(int(n) for n in shape) for name, *shape in entries}


def tensors(table: str, seed: int = 0) -> Tensors:
    """Noise of the size that keeps signals alive through the whole network."""
    generator, made = torch.Generator().manual_seed(seed), {}
    for name, shape in shapes(table).items():
        noise = torch.randn(shape, generator=generator)
        if len(shape) == 4:
            made[name] = noise * (2 / (shape[1] * shape[2] * shape[3])) ** 0.5
        elif name.endswith("bias"):
            made[name] = noise * 0.1
        else:
            made[name] = 0.25 + 0.1 * noise  # PReLU
    if "conv10_ab.weight" in made:
        made["conv10_ab.weight"] *= 0.1  # colours, not only the ends of tanh
        made["conv1_1.0.weight"] *= 0.05  # L* and a*, b* come in by tens
    return made


def write(folder: Path, seed: int = 0) -> Path:
    """The three files of a release, flat in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in (("colornet_iter_76000.pth", COLORNET), ("nonlocal_net_iter_76000.pth", NONLOCAL), ("vgg19_conv.pth", VGG)):
        torch.save(tensors(table, seed), folder / name)
    return folder


class Written:
    """The networks in numpy, from a state dict; pictures are float64 ``[C, H, W]``."""

    def __init__(self, state: Tensors) -> None:
        self.state = {name: t.numpy().astype(np.float64) for name, t in state.items()}

    def conv(self, name: str, x: Array, pad: str = "constant", stride: int = 1, dilation: int = 1) -> Array:
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        size = weight.shape[2]
        reach = size // 2 * dilation
        padded = np.pad(x, ((0, 0), (reach, reach), (reach, reach)), mode=pad)  # type: ignore[call-overload]
        rows, columns = -(-x.shape[1] // stride), -(-x.shape[2] // stride)
        out: Array = np.zeros((len(weight), rows * columns))
        for v in range(size):
            for u in range(size):
                view = padded[:, v * dilation :, u * dilation :][:, : x.shape[1] : stride, : x.shape[2] : stride]
                out += weight[:, :, v, u] @ view.reshape(len(x), -1)
        return out.reshape(len(weight), rows, columns) + bias[:, None, None]

    def prelu(self, name: str, x: Array) -> Array:
        return np.where(x >= 0, x, self.state[f"{name}.weight"][0] * x)

    def vgg(self, rgb: Array) -> list[Array]:
        x = (rgb[::-1] - np.array([0.40760392, 0.45795686, 0.48501961])[:, None, None]) * 255
        kept = []
        for block, count in ((1, 2), (2, 2), (3, 4), (4, 4), (5, 2)):
            for k in range(count):
                x = relu(self.conv(f"conv{block}_{k + 1}", x))
                if block > 1 and k == 1:
                    kept.append(x)
            if block < 5:
                x = halved(x)
        return kept

    def joint(self, levels: list[Array]) -> Array:
        l2, l3, l4, l5 = (x / (np.sqrt((x**2).sum(0)) + np.finfo(np.float64).eps) for x in levels)

        def step(name: str, conv: int, prelu: int, x: Array, stride: int = 1) -> Array:
            return self.prelu(f"{name}.{prelu}", instance_norm(self.conv(f"{name}.{conv}", x, "reflect", stride)))

        l2 = step("layer2_1", 5, 7, step("layer2_1", 1, 3, l2), stride=2)
        l3 = step("layer3_1", 5, 7, step("layer3_1", 1, 3, l3))
        l4 = doubled(step("layer4_1", 5, 7, step("layer4_1", 1, 3, l4)))
        l5 = doubled(step("layer5_1", 6, 8, doubled(step("layer5_1", 1, 3, l5))))
        if len(l5[0]) < len(l2[0]):
            l5 = np.concatenate([l5[:, :1], l5, l5[:, -1:]], 1)
        x: Array = np.concatenate([l2, l3, l4, l5])
        for k in range(3):
            y = self.prelu(f"layer.{k}.prelu", instance_norm(self.conv(f"layer.{k}.conv1", x, "reflect")))
            y = instance_norm(self.conv(f"layer.{k}.conv2", y, "reflect"))
            x = self.prelu(f"layer.{k}.prelu", x + y)
        return x

    def color(self, seen: Array) -> Array:
        def block(x: Array, *names: str, dilation: int = 1) -> Array:
            for name in names:
                x = relu(self.conv(name, x, dilation=dilation))
            return instance_norm(x)

        def halve(name: str, x: Array) -> Array:
            return self.state[f"{name}.weight"][:, 0] * x[:, ::2, ::2]

        x = relu(self.conv("conv1_1.2", relu(self.conv("conv1_1.0", seen))))
        level1 = block(x, "conv1_2")
        level2 = block(halve("conv1_2norm_ss", level1), "conv2_1", "conv2_2")
        level3 = block(halve("conv2_2norm_ss", level2), "conv3_1", "conv3_2", "conv3_3")
        x = block(halve("conv3_3norm_ss", level3), "conv4_1", "conv4_2", "conv4_3")
        x = block(x, "conv5_1", "conv5_2", "conv5_3", dilation=2)
        x = block(x, "conv6_1", "conv6_2", "conv6_3", dilation=2)
        x = block(x, "conv7_1", "conv7_2", "conv7_3")
        x = block(relu(self.conv("conv8_1.1", doubled(x)) + self.conv("conv3_3_short", level3)), "conv8_2", "conv8_3")
        x = block(relu(self.conv("conv9_1.1", doubled(x)) + self.conv("conv2_2_short", level2)), "conv9_2")
        x = relu(self.conv("conv10_1.1", doubled(x)) + self.conv("conv1_2_short", level1))
        x = self.conv("conv10_2", x)
        return np.tanh(self.conv("conv10_ab", np.where(x > 0, x, 0.2 * x))) * 128


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def instance_norm(x: Array) -> Array:
    mean, variance = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
    normed: Array = (x - mean) / np.sqrt(variance + 1e-5)
    return normed


def doubled(x: Array) -> Array:
    return x.repeat(2, 1).repeat(2, 2)


def halved(x: Array) -> Array:
    """2 x 2 maxima; half a row or column is lost."""
    rows, columns = x.shape[1] // 2, x.shape[2] // 2
    largest: Array = x[:, : 2 * rows, : 2 * columns].reshape(len(x), rows, 2, columns, 2).max((2, 4))
    return largest


def conv_by_definition(x: Any, weight: Any, bias: Any, pad: str, stride: int, dilation: int) -> Array:
    """A convolution one product at a time: what :meth:`Written.conv` is checked with."""
    count, _, size, _ = weight.shape
    rows, columns = -(-x.shape[1] // stride), -(-x.shape[2] // stride)

    def index(n: int, length: int) -> int | None:
        if 0 <= n < length:
            return n
        if pad == "constant":
            return None
        return -n if n < 0 else 2 * (length - 1) - n

    out = np.zeros((count, rows, columns))
    for o in range(count):
        for r in range(rows):
            for c in range(columns):
                total = float(bias[o])
                for i in range(len(x)):
                    for v in range(size):
                        for u in range(size):
                            y = index(r * stride + (v - size // 2) * dilation, x.shape[1])
                            z = index(c * stride + (u - size // 2) * dilation, x.shape[2])
                            if y is not None and z is not None:
                                total += weight[o, i, v, u] * x[i, y, z]
                out[o, r, c] = total
    return out
