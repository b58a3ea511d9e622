from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from dvcp.colour import ColourSpec
from dvcp.errors import ConfigError
from dvcp.media.probe import probe
from dvcp.media.reader import FrameReader
from dvcp.timing import Span
from dvcp.training.clips import Clip, hold_out, load_clips, select_files, to_working
from tests.unit.media_clips import make_film, noise, ramp

FULL = {"color_range": 2}


@pytest.mark.parametrize("subsample", [(1, 1), (1, 0), (0, 0)])
def test_planes_are_averaged_to_half_size(subsample: tuple[int, int]) -> None:
    spec = ColourSpec("bt601", True, 10, subsample)
    rng = np.random.default_rng(0)
    luma = rng.integers(0, 1024, (2, 8, 12)).astype(np.uint16)
    chroma = rng.integers(0, 1024, (2, 2, *spec.chroma_shape(8, 12))).astype(np.uint16)
    found = to_working(luma, chroma, spec).numpy()
    assert found.shape == (2, 3, 4, 6) and found.dtype == np.float32
    np.testing.assert_allclose(found[:, 0], luma.reshape(2, 4, 2, 6, 2).mean((2, 4)) / 1023, atol=1e-5)
    down, across = chroma.shape[2] // 4, chroma.shape[3] // 6
    np.testing.assert_allclose(found[:, 1:], (chroma.reshape(2, 2, 4, down, 6, across).mean((3, 5)) - 512) / 1023, atol=1e-5)


def test_a_clip_is_decoded_once_and_mapped(tmp_path: Path) -> None:
    luma = noise(35, 16, 24)  # more than one block of reading
    path = Path(make_film(tmp_path / "a.mkv", luma, tags=FULL))
    [clip] = load_clips([path], tmp_path / "cache")
    assert (clip.name, clip.path, len(clip)) == ("a", str(path), 35)
    assert isinstance(clip.planes, np.memmap) and clip.planes.dtype == np.uint8 and clip.planes.shape == (35, 3, 8, 12)
    np.testing.assert_allclose(clip.planes[:, 0], luma.reshape(35, 8, 2, 12, 2).mean((2, 4)), atol=0.51)
    with FrameReader(probe(str(path))) as reader:
        _, chroma = reader.planes(Span(0, 35))
    np.testing.assert_array_equal(clip.planes[:, 1:], chroma)
    [cached] = (tmp_path / "cache").iterdir()
    before = cached.stat().st_mtime_ns
    load_clips([path], tmp_path / "cache")
    assert [p.stat().st_mtime_ns for p in (tmp_path / "cache").iterdir()] == [before]


def test_a_changed_file_or_height_is_decoded_anew(tmp_path: Path) -> None:
    path = Path(make_film(tmp_path / "a.mkv", ramp(3, 32, 48)))
    [whole] = load_clips([path], tmp_path / "cache")
    [small] = load_clips([path], tmp_path / "cache", max_height=16)
    assert (whole.planes.shape, small.planes.shape) == ((3, 3, 16, 24), (3, 3, 8, 12))
    make_film(path, ramp(5, 32, 48))
    [changed] = load_clips([path], tmp_path / "cache")
    assert len(changed) == 5


def test_an_unreadable_clip_is_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = Path(make_film(tmp_path / "good.mkv", ramp(3, 16, 16)))
    bad = tmp_path / "bad.mkv"
    bad.write_bytes(b"no film")
    with caplog.at_level(logging.WARNING):
        assert [c.name for c in load_clips([bad, good], tmp_path / "cache")] == ["good"]
    assert "left out" in caplog.text and "bad.mkv" in caplog.text
    assert not list((tmp_path / "cache").glob("*.part"))


def test_files_are_selected_by_licence_and_split(tmp_path: Path) -> None:
    folder = tmp_path / "train"
    folder.mkdir()
    for name in ("c.mp4", "a.MKV", "b.mov", "notes.txt"):
        (folder / name).touch()
    assert [p.name for p in select_files(str(folder))] == ["a.MKV", "b.mov", "c.mp4"]
    with pytest.raises(ConfigError, match=r"no clips\.csv"):
        select_files(str(folder), licences=["open"])
    (tmp_path / "clips.csv").write_text("slug,split,licence_class\na,train,open\nb,train,closed\nc,dev,open\n")
    assert [p.name for p in select_files(str(folder), licences=["open"])] == ["a.MKV", "c.mp4"]
    assert [p.name for p in select_files(str(folder), "train", ["open", "closed"])] == ["a.MKV", "b.mov"]
    for nothing in ([str(tmp_path / "nowhere")], [str(folder), None, ["secret"]]):
        with pytest.raises(ConfigError, match="no video files"):
            select_files(*nothing)  # type: ignore[arg-type]


def test_every_ninth_clip_is_held_out() -> None:
    clips = [Clip(str(k), "", np.zeros((1, 3, 2, 2), np.uint8)) for k in range(20)]
    chosen, held = hold_out(clips)
    assert [c.name for c in held] == ["4", "13"] and len(chosen) == 18 and not set(map(id, chosen)) & set(map(id, held))
    assert hold_out(clips[:4]) == (clips[:4], clips[:4]), "too few to keep one back"
