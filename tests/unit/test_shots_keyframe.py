from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dvcp.errors import MediaError, ShotListError
from dvcp.media.probe import VideoInfo, probe
from dvcp.media.stills import read_still, write_still
from dvcp.shots.keyframe import choose_key_frame, export_references
from dvcp.shots.timeline import Shot, ShotList, from_cuts, read_shots
from dvcp.store import files
from dvcp.timing import Span
from tests.unit.shots_film import damage, scene, write_film


def blur(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    padded = np.pad(picture, 4, mode="edge")
    shifted = [padded[dy : dy + picture.shape[0], dx : dx + picture.shape[1]] for dy in range(9) for dx in range(9)]
    return np.mean(shifted, axis=0)


def film(path: Path, gray: NDArray[np.float32], pix_fmt: str = "gray") -> VideoInfo:
    return probe(write_film(path, gray, pix_fmt))


def test_the_sharp_frame_of_a_blurred_shot_is_chosen(tmp_path: Path) -> None:
    gray = scene(1, 45, 1)
    sharp = {9, 30}
    gray = np.stack([p if k in sharp else blur(p) for k, p in enumerate(gray)])
    info = film(tmp_path / "film.mkv", gray)
    # 30 is as sharp as 9 and nearer to the middle, which halves the way colour has to travel.
    assert choose_key_frame(info, Shot(1, Span(0, 45)), samples=45) == 30


def test_fades_black_and_blown_frames_are_avoided(tmp_path: Path) -> None:
    gray = scene(2, 60, 1)
    gray[:20] *= np.linspace(0, 1, 20, dtype=np.float32)[:, None, None]
    gray[25:50] = 0
    gray[28:33] = (gray[0:1] + 3 * scene(2, 60, 1)[28:33]).clip(0, 1)
    info = film(tmp_path / "film.mkv", gray)
    assert choose_key_frame(info, Shot(1, Span(0, 60)), samples=60) in {20, 21, 22, 23, 24, *range(50, 58)}


def test_an_odd_but_sharp_moment_is_not_typical(tmp_path: Path) -> None:
    gray = scene(3, 40, 0)
    gray[20] = (np.indices((96, 160)).sum(0) % 2 * 0.9).astype(np.float32)
    assert choose_key_frame(film(tmp_path / "film.mkv", gray), Shot(1, Span(0, 40)), samples=40) != 20


@pytest.mark.parametrize("length", [1, 2, 3, 5, 60])
def test_the_choice_lies_inside_the_shot_off_its_edges_and_is_stable(tmp_path: Path, length: int) -> None:
    info = film(tmp_path / "film.mkv", np.concatenate([scene(1, 10), scene(2, length), scene(3, 10)]))
    shot = Shot(2, Span(10, 10 + length))
    key = choose_key_frame(info, shot)
    assert key == choose_key_frame(info, shot)
    assert key in shot.span
    assert length < 3 or shot.span.first < key < shot.span.stop - 1


@pytest.mark.parametrize(("pix_fmt", "top"), [("gray", 255), ("gray10le", 65535)])
def test_stills_show_the_frame_over_the_full_range(tmp_path: Path, pix_fmt: str, top: int) -> None:
    gray = np.concatenate([scene(1, 20), scene(2, 30)])
    gray[:, :8, :8], gray[:, :8, 8:16] = 0, 1
    info = film(tmp_path / "my film.v2.mkv", gray, pix_fmt)
    out = str(tmp_path / "stills")
    done = export_references(info, from_cuts(info.url, info.average_rate, 50, [20]), out)
    assert done.kept == ()
    for shot, url in zip(done.shots.shots, done.written, strict=True):
        assert shot.key is not None and shot.key in shot.span
        assert url == f"{out}/my film.v2_s{shot.number:04d}_f{shot.key:06d}.png"
        still = read_still(url)
        assert still.gray and still.rgb.shape == (96, 160, 3)
        assert still.rgb.min() == 0 and still.rgb.max() == 1
        assert np.abs(still.rgb[..., 0] - gray[shot.key]).max() <= 0.5 / (219 if top == 255 else 876) + 1 / top
    assert done.list_url == f"{out}/my film.v2_shots.json"
    assert read_shots(done.list_url, 50, info.average_rate, info.url) == done.shots


def test_a_painted_still_is_never_overwritten(tmp_path: Path, store_url: str) -> None:
    info = film(tmp_path / "film.mkv", np.concatenate([scene(1, 20), scene(2, 30)]))
    shots = from_cuts(info.url, info.average_rate, 50, [20])
    first = export_references(info, shots, store_url)
    local = tmp_path / "painted.png"
    write_still(str(local), np.full((96, 160, 3), (200, 30, 30), np.uint8))
    files.put_file(local, first.written[1])
    again = export_references(info, shots, store_url)
    assert (again.written, again.kept) == ((), first.written)
    assert files.get_bytes(first.written[1]) == local.read_bytes()
    assert again.shots == first.shots


def test_named_key_frames_are_used_and_only_they_on_request(tmp_path: Path) -> None:
    info = film(tmp_path / "film.mkv", np.concatenate([scene(1, 20), scene(2, 30)]))
    shots = ShotList(info.url, info.average_rate, 50, (Shot(1, Span(0, 20)), Shot(2, Span(20, 50), 47)))
    done = export_references(info, shots, str(tmp_path / "out"), every_shot=False)
    assert [Path(url).name for url in done.written] == ["film_s0002_f000047.png"]
    assert done.shots == shots
    assert export_references(info, shots, str(tmp_path / "out")).shots.shots[1].key == 47


def test_an_edited_list_in_the_folder_is_not_replaced(tmp_path: Path) -> None:
    info = film(tmp_path / "film.mkv", np.concatenate([scene(1, 20), scene(2, 30)]))
    out = str(tmp_path / "out")
    export_references(info, from_cuts(info.url, info.average_rate, 50, [20]), out)
    before = files.list_names(out)
    with pytest.raises(ShotListError, match="other cuts"):
        export_references(info, from_cuts(info.url, info.average_rate, 50, [25]), out)
    assert files.list_names(out) == before


def test_damaged_samples_are_passed_over(tmp_path: Path) -> None:
    info = film(tmp_path / "film.mkv", scene(1, 40))
    shot = Shot(1, Span(0, 40))
    assert choose_key_frame(info, shot, samples=40) != 10
    damage(tmp_path / "film.mkv", set(range(40)) - {10})
    assert choose_key_frame(info, shot, samples=40) == 10
    with pytest.raises(MediaError, match="frame"):
        choose_key_frame(info, Shot(1, Span(20, 40)))
