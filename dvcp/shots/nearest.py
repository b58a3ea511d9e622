"""For a shot nobody painted: the painted still of another shot that looks most like it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from dvcp.colour import luma_to_unit
from dvcp.media.probe import VideoInfo
from dvcp.media.reader import FrameReader
from dvcp.nets.features import load_backbone
from dvcp.shots.timeline import Shot
from dvcp.timing import Span

#: pictures are compared at this many lines: what is in them, not their grain
_LINES = 192


def embed(lumas: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """What is in each picture, as unit vectors ``[N, C]``: mean and deviation over the picture of the backbone's deepest features.

    Args:
        lumas: Y' in [0, 1], each ``[H, W]``.
    """
    backbone, found = load_backbone(), []
    with torch.inference_mode():
        for luma in lumas:
            height = _LINES
            width = max(16, round(luma.shape[1] * height / luma.shape[0] / 16) * 16)
            small = torch.nn.functional.interpolate(torch.from_numpy(luma)[None, None], size=(height, width), mode="area")
            deep = backbone(small).deep[0].flatten(1)
            found.append(torch.cat([deep.mean(1), deep.std(1)]).numpy())
    vectors = np.stack(found)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def nearest_stills(info: VideoInfo, shots: Sequence[Shot], painted: Sequence[int]) -> list[tuple[int, float]]:
    """For each of ``shots`` the index in ``painted`` of the best still and its similarity (cosine, 1 = the same picture).

    Args:
        painted: frame numbers of the film that were painted; compared by the film's own luma, so the paint does not matter.
    """
    with FrameReader(info) as reader:
        keys = [(shot.span.first + shot.span.stop - 1) // 2 if shot.key is None else shot.key for shot in shots]
        unit = {k: luma_to_unit(reader.luma(Span(k, k + 1))[0], info.colour) for k in sorted({*keys, *painted})}
    vectors = embed([unit[k] for k in (*keys, *painted)])
    # Means dominate every vector: without centring all pictures look alike.
    vectors = vectors - vectors[len(keys) :].mean(0) if len(painted) > 2 else vectors
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    similar = vectors[: len(keys)] @ vectors[len(keys) :].T
    return [(int(row.argmax()), float(row.max())) for row in similar]
