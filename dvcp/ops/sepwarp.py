"""Adaptive separable convolution, the warp of the local branch: each output pixel is its own 1-D vertical times 1-D horizontal kernel.

``out(c, y, x) = sum_i sum_j softmax(V)(i, y, x) softmax(H)(j, y, x) in(c, y + i - r, x + j - r)``, r = taps // 2, edges repeated.
Deep Video Color Propagation eq. 2-4. The kernels belong to the *output* pixel, so this is not two 1-D passes.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F


def sepwarp_reference(image: Tensor, vertical: Tensor, horizontal: Tensor) -> Tensor:
    """The definition, one row of taps at a time; any device, differentiable in everything.

    Args:
        image: float ``[B, C, h, w]``.
        vertical: logits ``[B, taps, h, w]``; softmax over taps is applied here, in float32.
        horizontal: likewise.

    Returns:
        float32 ``[B, C, h, w]``.
    """
    taps = vertical.shape[1]
    height, width = image.shape[-2:]
    weights_v, weights_h = vertical.float().softmax(1), horizontal.float().softmax(1)
    padded = F.pad(image.float(), (taps // 2,) * 4, mode="replicate")
    out = torch.zeros_like(image, dtype=torch.float32)
    for i in range(taps):
        rows = padded[:, :, i : i + height]
        strip = torch.stack([rows[..., j : j + width] for j in range(taps)], 2)  # [B, C, taps, h, w]
        out = out + weights_v[:, None, i] * (weights_h[:, None] * strip).sum(2)
    return out


@njit(nogil=True, fastmath=True, cache=True, inline="always")
def _softmax_bits(bits: Any, words: Any, floats: Any, weights: Any, taps: int) -> None:
    """Softmax of ``taps`` bfloat16 bit patterns into float32 ``weights`` (``floats`` is a float32 view of the uint32 ``words``)."""
    for t in range(taps):
        words[t] = np.uint32(bits[t]) << np.uint32(16)
    top = np.float32(-3.0e38)
    for t in range(taps):
        top = max(top, floats[t])
    # exp(x) as 2^n 2^f with a degree-6 polynomial (relative error 2e-7): libm's exp is a call a tap and three times slower.
    for t in range(taps):
        x = max((floats[t] - top) * np.float32(1.4426950408889634), np.float32(-126.0))
        n = np.floor(x)
        f = x - n
        p = np.float32(1.535336188319500e-4)
        p = p * f + np.float32(1.339887440266574e-3)
        p = p * f + np.float32(9.618437357674640e-3)
        p = p * f + np.float32(5.550332471162809e-2)
        p = p * f + np.float32(2.402264791363012e-1)
        p = p * f + np.float32(6.931472028550421e-1)
        weights[t] = p * f + np.float32(1.0)
        words[t] = np.uint32(np.int32(n) + np.int32(127)) << np.uint32(23)
    total = np.float32(0.0)
    for t in range(taps):
        weights[t] *= floats[t]
        total += weights[t]
    scale = np.float32(1.0) / total
    for t in range(taps):
        weights[t] *= scale


@njit(nogil=True, fastmath=True, cache=True)
def _warp_rows(padded: Any, vertical: Any, horizontal: Any, out: Any, first: int, stop: int) -> None:
    """Rows [first, stop) of one frame. padded [C, h + 2r, w + 2r] float32; kernels [h, w, taps] bfloat16 bits; out [C, h, w]."""
    channels, _, width = out.shape
    taps = vertical.shape[2]
    words = np.empty(taps, np.uint32)
    floats = words.view(np.float32)
    weights_v = np.empty(taps, np.float32)
    weights_h = np.empty(taps, np.float32)
    columns = np.empty(taps, np.float32)
    for y in range(first, stop):
        for x in range(width):
            _softmax_bits(vertical[y, x], words, floats, weights_v, taps)
            _softmax_bits(horizontal[y, x], words, floats, weights_h, taps)
            for c in range(channels):
                columns[:] = np.float32(0.0)
                for i in range(taps):
                    v = weights_v[i]
                    row = padded[c, y + i, x : x + taps]
                    for j in range(taps):
                        columns[j] += v * row[j]
                total = np.float32(0.0)
                for j in range(taps):
                    total += weights_h[j] * columns[j]
                out[c, y, x] = total


@njit(nogil=True, fastmath=True, cache=True)
def _gradient_rows(padded: Any, weights_v: Any, weights_h: Any, grad: Any, grad_v: Any, grad_h: Any, first: int, stop: int) -> None:
    """Gradients to the softmaxed kernels [h, w, taps] of rows [first, stop): with Q = sum_c g_c patch_c, dV = Q H and dH = Q^T V."""
    channels, _, width = grad.shape
    taps = weights_v.shape[2]
    q = np.empty(taps, np.float32)
    for y in range(first, stop):
        for x in range(width):
            grad_h[y, x, :] = np.float32(0.0)
            for i in range(taps):
                q[:] = np.float32(0.0)
                for c in range(channels):
                    g = grad[c, y, x]
                    row = padded[c, y + i, x : x + taps]
                    for j in range(taps):
                        q[j] += g * row[j]
                v = weights_v[y, x, i]
                total = np.float32(0.0)
                for j in range(taps):
                    total += q[j] * weights_h[y, x, j]
                    grad_h[y, x, j] += q[j] * v
                grad_v[y, x, i] = total


@lru_cache(maxsize=4)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="sepwarp")


def _by_rows(kernel: Any, height: int, *arguments: Any) -> None:
    """Run ``kernel`` over bands of rows on as many threads as torch uses. Bands share nothing, so their number changes no bit."""
    threads = max(1, min(torch.get_num_threads(), height))
    edges = [height * k // threads for k in range(threads + 1)]
    jobs = [_pool(threads).submit(partial(kernel, *arguments), a, b) for a, b in pairwise(edges)]
    for job in jobs:
        job.result()


def _pad(image: NDArray[np.float32], taps: int) -> NDArray[np.float32]:
    r = taps // 2
    return np.pad(image, ((0, 0), (r, r), (r, r)), mode="edge")


def _taps_last_bits(logits: Tensor) -> NDArray[np.uint16]:
    return logits.to(torch.bfloat16).permute(0, 2, 3, 1).contiguous().view(torch.uint16).numpy()


def sepwarp(image: Tensor, vertical: Tensor, horizontal: Tensor) -> Tensor:
    """Fast version of :func:`sepwarp_reference`, same arguments and result; no gradient.

    On the CPU one fused kernel (softmax in float32 from bfloat16 logits, taps innermost); elsewhere the reference, which runs on any
    device.
    """
    if image.device.type != "cpu":
        return sepwarp_reference(image, vertical, horizontal)
    taps = vertical.shape[1]
    bits_v, bits_h = _taps_last_bits(vertical), _taps_last_bits(horizontal)
    out = np.empty(tuple(image.shape), np.float32)
    for b, frame in enumerate(image.float().numpy()):
        _by_rows(_warp_rows, frame.shape[1], _pad(frame, taps), bits_v[b], bits_h[b], out[b])
    return torch.from_numpy(out)


class _KernelWarp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, vertical: Tensor, horizontal: Tensor) -> Tensor:
        weights_v = vertical.float().permute(0, 2, 3, 1).softmax(-1).contiguous()
        weights_h = horizontal.float().permute(0, 2, 3, 1).softmax(-1).contiguous()
        ctx.save_for_backward(image, weights_v, weights_h)
        return sepwarp(image, vertical.detach(), horizontal.detach())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, Tensor]:
        image, weights_v, weights_h = ctx.saved_tensors
        grad_v, grad_h = torch.empty_like(weights_v), torch.empty_like(weights_h)
        grad = grads[0].float().contiguous().numpy()
        for b, frame in enumerate(image.float().numpy()):
            _by_rows(
                _gradient_rows, frame.shape[1], _pad(frame, weights_v.shape[-1]), weights_v[b].numpy(), weights_h[b].numpy(),
                grad[b], grad_v[b].numpy(), grad_h[b].numpy(),
            )  # fmt: skip
        softmax_grads = [w * (g - (w * g).sum(-1, keepdim=True)) for w, g in ((weights_v, grad_v), (weights_h, grad_h))]
        return None, softmax_grads[0].permute(0, 3, 1, 2), softmax_grads[1].permute(0, 3, 1, 2)


def sepwarp_train(image: Tensor, vertical: Tensor, horizontal: Tensor) -> Tensor:
    """As :func:`sepwarp`, with gradients to the kernels (not to ``image``: in training stage one it is data)."""
    if image.device.type != "cpu":
        return sepwarp_reference(image, vertical, horizontal)
    warped: Tensor = _KernelWarp.apply(image, vertical, horizontal)  # type: ignore[no-untyped-call] # torch does not annotate apply
    return warped
