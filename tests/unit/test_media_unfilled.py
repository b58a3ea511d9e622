from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dvcp.errors import MediaError
from dvcp.media.probe import probe
from dvcp.media.unfilled import unfilled
from dvcp.shots.survey import survey
from tests.unit.media_clips import HEIGHT, WIDTH, announced, damage, make_film, noise

CHECKED = {"level": "3", "slicecrc": "1", "g": "1"}


@pytest.mark.parametrize("options, mark, samples", [
    (CHECKED, WIDTH, 65000),
    (CHECKED, WIDTH, 640),
    (CHECKED, WIDTH, 2560),
    (CHECKED | {"coder": "range_def"}, WIDTH, 330),
    (CHECKED | {"coder": "range_def"}, HEIGHT, 2560),
])  # fmt: skip
def test_pictures_announced_too_large(tmp_path: Path, options: dict[str, str], mark: bytes, samples: int) -> None:
    path = tmp_path / "a.mkv"
    make_film(path, noise(8, 256, 320), options=options)
    assert not unfilled(probe(str(path)))
    info = probe(announced(path, mark, samples))
    assert samples in (info.width, info.height)
    for _ in range(3):
        assert unfilled(info)
    with pytest.raises(MediaError, match=rf"a\.mkv: its data do not fill pictures of {info.width}x{info.height}"):
        survey(info)


@pytest.mark.parametrize("pix_fmt, depth", [("yuv420p", 8), ("gray", 8), ("yuv422p10le", 10), ("gray16le", 16)])
def test_sound_films_whose_rows_are_padded(tmp_path: Path, pix_fmt: str, depth: int) -> None:
    path = tmp_path / "a.mkv"
    make_film(path, noise(8, 35, 54, depth), pix_fmt=pix_fmt, options=CHECKED)
    assert not unfilled(probe(str(path)))


@pytest.mark.parametrize("options, lost", [(CHECKED, (2,)), ({"level": "3", "slicecrc": "0", "g": "1"}, ())])
def test_a_damaged_frame_is_no_wrong_size(tmp_path: Path, options: dict[str, str], lost: tuple[int, ...]) -> None:
    path = tmp_path / "a.mkv"
    make_film(path, noise(8, 256, 320), options=options)
    damage(str(path), 2)
    info = probe(str(path))
    assert not unfilled(info)
    assert survey(info).damaged == lost


def test_where_it_cannot_be_told(tmp_path: Path) -> None:
    short, grouped, bare, other = (tmp_path / f"{name}.mkv" for name in ("short", "grouped", "bare", "other"))
    make_film(short, noise(2, 256, 320), options=CHECKED)
    make_film(grouped, noise(6, 256, 320), options=CHECKED | {"g": "6"})
    make_film(bare, noise(8, 256, 320), options=CHECKED | {"slicecrc": "0"})
    for path in (short, grouped, bare):
        assert not unfilled(probe(announced(path, WIDTH, 65000)))
    make_film(other, noise(6, 256, 320), codec="mpeg2video")
    assert not unfilled(replace(probe(str(other)), url=str(tmp_path / "never read")))
