"""Which float type is fast on a device without changing the picture."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch


@lru_cache(maxsize=1)
def _cpu_multiplies_bfloat16() -> bool:
    # torch runs bfloat16 anywhere, but without these instructions a convolution falls to a scalar loop: 100 times slower, measured on AVX2.
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device multiplies it natively, else float32."""
    if device.type == "cuda" or (device.type == "cpu" and _cpu_multiplies_bfloat16()):
        return torch.bfloat16
    return torch.float32
