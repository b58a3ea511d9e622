from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dvcp.errors import ConfigError, MediaError
from dvcp.media.probe import probe
from dvcp.media.reader import FrameReader
from dvcp.shots.detect import detect_shots
from dvcp.timing import Span
from tests.unit.shots_film import damage, scene, write_film


def cuts_of(path: Path, *parts: Any, pix_fmt: str = "gray", **options: Any) -> list[int]:
    shots = detect_shots(probe(write_film(path, np.concatenate(parts), pix_fmt)), **options)
    return [shot.span.first for shot in shots.shots[1:]]


@pytest.mark.parametrize("pix_fmt", ["gray", "gray10le", "yuv420p", "yuv422p10le"])
def test_hard_cuts_are_found_exactly(tmp_path: Path, pix_fmt: str) -> None:
    parts = [scene(seed, length, speed) for seed, length, speed in ((1, 30, 1), (2, 12, 9), (3, 45, 4), (4, 20, 0))]
    assert cuts_of(tmp_path / "film.mkv", *parts, pix_fmt=pix_fmt) == [30, 42, 87]


def test_a_faded_print_is_cut_as_a_fresh_one(tmp_path: Path) -> None:
    parts = [0.45 + 0.12 * scene(seed, 25) for seed in (1, 2, 3)]
    assert cuts_of(tmp_path / "film.mkv", *parts) == [25, 50]


def test_flicker_and_grain_are_no_cuts(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    parts = [scene(seed, 40, 3) for seed in (5, 6)]
    old = [(p * draw.uniform(0.85, 1.1, (40, 1, 1)) + draw.normal(0, 0.03, p.shape)).clip(0, 1) for p in parts]
    assert cuts_of(tmp_path / "film.mkv", *old) == [40]


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_flashes_are_no_cuts_but_a_cut_beside_one_is(tmp_path: Path, level: float) -> None:
    film = np.concatenate([scene(1, 60), scene(2, 40)])
    film[20] = level
    film[30:33] = level
    film[55] = level
    assert cuts_of(tmp_path / "film.mkv", film) == [60]


def test_a_shot_shorter_than_allowed_is_joined_to_the_one_before(tmp_path: Path) -> None:
    parts = [scene(1, 30), scene(2, 5), scene(3, 30)]
    assert cuts_of(tmp_path / "a.mkv", *parts, min_frames=8) == [30]
    assert cuts_of(tmp_path / "b.mkv", *parts, min_frames=4) == [30, 35]
    assert cuts_of(tmp_path / "c.mkv", scene(1, 5), scene(2, 30), scene(3, 5)) == []


def test_a_fade_through_black_is_one_cut_where_the_picture_returns(tmp_path: Path) -> None:
    ramp = np.linspace(1, 0, 8, dtype=np.float32)[:, None, None]
    out, back = scene(1, 40), scene(2, 40)
    out[-8:] *= ramp
    back[:8] *= ramp[::-1]
    dark = np.random.default_rng(1).random((20, 96, 160)).astype(np.float32) * 0.01
    found = cuts_of(tmp_path / "film.mkv", out, dark, back)
    assert len(found) == 1 and 60 <= found[0] <= 63


def test_leader_is_one_shot(tmp_path: Path) -> None:
    leader = np.random.default_rng(1).random((40, 96, 160)).astype(np.float32) * 0.01
    assert cuts_of(tmp_path / "film.mkv", leader, scene(1, 30)) == [40]


def test_one_frame_is_one_shot_and_progress_counts_every_frame(tmp_path: Path) -> None:
    seen: list[int] = []
    assert cuts_of(tmp_path / "film.mkv", scene(1, 1), progress=seen.append) == []
    assert cuts_of(tmp_path / "long.mkv", scene(1, 70), progress=seen.append) == []
    assert seen == [1, *range(1, 71)]


def test_damaged_frames_are_no_cuts(tmp_path: Path) -> None:
    info = probe(write_film(tmp_path / "film.mkv", np.concatenate([scene(1, 40, 1), scene(2, 30, 1)])))
    damage(tmp_path / "film.mkv", (0, 15, 16))
    with FrameReader(info) as reader, pytest.raises(MediaError):
        reader.luma(Span(15, 16))
    seen: list[int] = []
    assert [shot.span.first for shot in detect_shots(info, progress=seen.append).shots] == [0, 40]
    assert seen == list(range(1, 71))
    damage(tmp_path / "film.mkv", range(70))
    assert len(detect_shots(info).shots) == 1


def test_the_list_is_for_this_film(tmp_path: Path) -> None:
    info = probe(write_film(tmp_path / "film.mkv", scene(1, 20)))
    shots = detect_shots(info)
    assert (shots.source, shots.frames, shots.rate) == (info.url, 20, info.average_rate)
    with pytest.raises(ConfigError, match="at least 1"):
        detect_shots(info, min_frames=0)


@pytest.mark.parametrize("missing", ["cv2", "scenedetect"])
def test_without_the_extra_the_message_says_what_to_install(tmp_path: Path, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    info = probe(write_film(tmp_path / "film.mkv", scene(1, 10)))
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigError, match=r"pip install 'dvcp\[detect\]'"):
        detect_shots(info)
