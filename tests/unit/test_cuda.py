"""The method on an NVIDIA GPU: unchanged code, the picture of the CPU. Skipped, and saying so, where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dvcp.colour import ColourSpec, chroma_to_unit
from dvcp.loop import colorize_frames
from dvcp.methods import create
from dvcp.methods.base import Reference
from tests.films import scene, small_weights

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")]


@pytest.mark.parametrize("name", ["local", "global", "dvcp", "paper"])
def test_cuda_gives_the_cpus_picture(tmp_path: Path, name: str) -> None:
    weights, colour = str(small_weights(tmp_path / "w.safetensors")), ColourSpec("bt601")
    luma, chroma = scene(5, 10)
    reference = Reference(luma[0], chroma_to_unit(chroma[0], colour), True, "")  # type: ignore[arg-type]
    found = [colorize_frames(create(name, weights=weights, device=d), luma, {0: reference}, colour).planes for d in ("cpu", "cuda")]  # type: ignore[arg-type]
    # bfloat16 on the GPU: a match may fall on a neighbour here and there, the picture may not move.
    assert float(np.abs(found[0] - found[1]).mean()) < 0.01
