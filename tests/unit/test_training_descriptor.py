from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from dvcp.nets.features import load_backbone
from dvcp.training.descriptor import draw_pair, train_descriptor, watch
from dvcp.training.loop import Schedule
from tests.films import colour_film

CPU = torch.device("cpu")


def test_a_clip_is_watched_evenly_and_colours_lie_over_features(tmp_path: Path) -> None:
    path = colour_film(tmp_path / "a.mkv", (6,))
    seen = watch(path, load_backbone(), 3, 96, CPU)
    assert len(seen) == 3 and len(watch(path, load_backbone(), 50, 96, CPU)) == 6
    rows, columns = seen[0].clean.middle.shape[-2:]
    assert seen[0].picture.shape == (3, 4 * rows, 4 * columns) == (3, 48, 64) and seen[0].picture.dtype == torch.float16
    assert not torch.equal(seen[0].clean.deep, seen[0].changed.deep)
    assert float(seen[0].picture[1].std()) > 0.01


def test_a_pair_is_two_frames_of_one_clip(tmp_path: Path) -> None:
    clips = [watch(colour_film(tmp_path / f"{k}.mkv", (6,), seed=k), load_backbone(), 4, 96, CPU) for k in range(2)]
    places = {id(frame.picture): (k, n) for k, frames in enumerate(clips) for n, frame in enumerate(frames)}
    drawn = set()
    for seed in range(30):
        pair = draw_pair(clips, np.random.default_rng(seed))
        (one, a), (two, b) = (places[id(p)] for p in pair.pictures)
        assert one == two and a != b and pair.seen.deep.shape[0] == 2
        drawn.add((one, a, b))
    assert len(drawn) > 10


@pytest.mark.slow
def test_training_beats_copying_and_leaves_out_what_cannot_be_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = [colour_film(tmp_path / f"{k}.mkv", (6,), seed=k) for k in range(3)]
    (tmp_path / "bad.mkv").write_bytes(b"no film")
    with caplog.at_level(logging.WARNING):
        net, measured = train_descriptor(
            [*paths, tmp_path / "bad.mkv"], tmp_path / "run", Schedule(30, 0, 1, 2e-3, report_every=30), frames=4, max_height=96
        )
    assert "bad.mkv" in caplog.text
    assert measured["psnr_match"] > measured["psnr_copy"] + 3
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in net.modules())
