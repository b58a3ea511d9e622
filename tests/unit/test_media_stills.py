from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import av
import fsspec
import numpy as np
import pytest

from dvcp.colour import ColourSpec, chroma_to_unit
from dvcp.errors import ReferenceError
from dvcp.media.pixels import packed_view
from dvcp.media.probe import probe
from dvcp.media.reader import FrameReader
from dvcp.media.stills import fit_still, frame_to_rgb, read_still, reference_from_still, write_still
from dvcp.timing import Span
from tests.unit.media_clips import make_film, noise, ramp


def _picture(height: int, width: int, dtype: type = np.uint8) -> np.ndarray:  # type: ignore[type-arg]
    y, x = np.mgrid[:height, :width] / max(height, width)
    rgb = np.stack([x, y, 0.5 + 0.5 * np.sin(7 * x * y)], axis=-1)
    return np.rint(rgb * np.iinfo(dtype).max).astype(dtype)


def _encode(path: Path, codec: str, frame: av.VideoFrame, options: dict[str, str] | None = None) -> str:
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.framerate = frame.width, frame.height, frame.format.name, 1
    encoder.options = options or {}
    encoder.qmin, encoder.qmax = 1, 2
    path.write_bytes(b"".join(bytes(p) for p in [*encoder.encode(frame), *encoder.encode(None)]))
    return str(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("colour", [True, False])
def test_png_round_trip_is_exact(tmp_path: Path, dtype: type, colour: bool) -> None:
    picture = _picture(33, 47, dtype) if colour else _picture(33, 47, dtype)[..., 0].copy()
    path = str(tmp_path / "100% a.png")
    write_still(path, picture)
    still = read_still(path)
    top = np.iinfo(dtype).max
    wanted = picture if colour else np.repeat(picture[..., None], 3, axis=-1)
    np.testing.assert_array_equal(np.rint(still.rgb.astype(np.float64) * top), wanted)
    assert still.gray is not colour and still.rgb.dtype == np.float32 and still.path == path
    assert still.digest == hashlib.sha256(Path(path).read_bytes()).hexdigest()


@pytest.mark.parametrize("codec, pix_fmt, options, tolerance", [
    ("tiff", "rgb24", {}, 0), ("png", "rgba", {}, 0), ("libwebp", "bgra", {"lossless": "1"}, 0),
    ("mjpeg", "yuvj444p", {}, 0.03), ("libwebp", "yuv420p", {"quality": "100"}, 0.08),
])  # fmt: skip
def test_the_other_formats(tmp_path: Path, codec: str, pix_fmt: str, options: dict[str, str], tolerance: float) -> None:
    picture = _picture(32, 48)
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pix_fmt)
    still = read_still(_encode(tmp_path / "picture", codec, frame, options))
    assert np.abs(still.rgb - picture / np.float32(255)).max() <= tolerance + 1e-6 and not still.gray


def test_16_bit_tiff_keeps_its_depth(tmp_path: Path) -> None:
    picture, frame = _picture(32, 48, np.uint16), av.VideoFrame(48, 32, "rgb48le")
    packed_view(frame, 0, np.dtype("<u2"))[:, :144] = picture.reshape(32, 144)
    np.testing.assert_array_equal(np.rint(read_still(_encode(tmp_path / "a.tiff", "tiff", frame)).rgb.astype(float) * 65535), picture)


def test_what_was_seen_of_a_still_is_passed_on(tmp_path: Path) -> None:
    info = probe(make_film(tmp_path / "in.mkv", ramp(1, 32, 48)))
    frame = av.VideoFrame.from_ndarray(np.full((32, 48, 4), 100, np.uint8), format="rgba")
    still = read_still(_encode(tmp_path / "a.png", "png", frame))
    assert still.warnings == (f"{tmp_path}/a.png: is transparent in 100 % of it: that is taken as unpainted, without colour",)
    assert reference_from_still(still, info, None)[1][0] == still.warnings[0]


def test_a_film_is_no_picture(tmp_path: Path) -> None:
    film = tmp_path / "film.png"
    with film.open("wb") as file:
        file.truncate(3 << 30)  # sparse: takes no room
    with pytest.raises(ReferenceError, match="is too large for a picture"):
        read_still(str(film))


@pytest.mark.parametrize(
    ("codec", "pix_fmt"),
    [("png", "rgb24"), ("png", "rgb48be"), ("png", "gray"), ("png", "pal8"), ("png", "rgba"), ("tiff", "rgb48le"), ("tiff", "gray16le"),
     ("mjpeg", "yuvj420p"), ("mjpeg", "yuvj444p"), ("libwebp", "yuva420p")],
)  # fmt: skip
def test_a_small_look_shows_the_same_picture(tmp_path: Path, codec: str, pix_fmt: str) -> None:
    picture = np.asarray(np.kron(_picture(6, 9), np.ones((20, 20, 1))), np.uint8)
    if pix_fmt == "pal8":
        palette = np.concatenate([np.full((54, 1), 255), _picture(6, 9).reshape(54, 3)], axis=1).astype(np.uint8)
        palette = np.concatenate([palette, np.zeros((202, 4), np.uint8)])
        numbers = np.kron(np.arange(54, dtype=np.uint8).reshape(6, 9), np.ones((20, 20), np.uint8))
        frame = av.VideoFrame.from_ndarray((numbers, palette), format="pal8")
    else:
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pix_fmt)
    path = _encode(tmp_path / "still", codec, frame)
    whole, look, untouched = read_still(path), read_still(path, 60 * 90), read_still(path, 120 * 180)
    assert look.rgb.shape == (60, 90, 3) and look.digest == whole.digest and look.gray == whole.gray
    blocks = whole.rgb.reshape(60, 2, 90, 2, 3).mean((1, 3))
    assert np.abs(look.rgb - blocks).mean() < 0.02
    assert np.array_equal(untouched.rgb, whole.rgb)


def test_unreadable_stills_say_so(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n but no picture")
    (tmp_path / "b.png").write_bytes(b"")
    for name, message in (("a.png", "cannot be read as a picture"), ("b.png", "is empty"), ("c.png", "no such file")):
        with pytest.raises(ReferenceError, match=message) as caught:
            read_still(str(tmp_path / name))
        assert "\n" not in str(caught.value) and caught.value.hint


def test_stills_live_on_urls_too() -> None:
    picture = _picture(8, 8)
    write_still("memory://stills/a.png", picture)
    assert fsspec.filesystem("memory").exists("/stills/a.png")
    np.testing.assert_array_equal(np.rint(read_still("memory://stills/a.png").rgb * 255), picture)


def test_fitting(tmp_path: Path) -> None:
    write_still(str(tmp_path / "a.png"), _picture(40, 60))
    still = read_still(str(tmp_path / "a.png"))
    same, warning = fit_still(still, 40, 60)
    assert same is still.rgb and warning is None
    half, warning = fit_still(still, 20, 30)
    assert half.shape == (20, 30, 3) and warning and "scaled to 30x20" in warning
    np.testing.assert_allclose(half, still.rgb.reshape(20, 2, 30, 2, 3).mean(axis=(1, 3)), atol=0.02)
    wide, warning = fit_still(still, 20, 50)
    assert wide.shape == (20, 50, 3) and warning and "another aspect" in warning
    np.testing.assert_array_equal(wide[:, 10:40], half)
    np.testing.assert_array_equal(wide[:, :10], np.repeat(half[:, :1], 10, axis=1))
    assert wide.min() >= 0 and wide.max() <= 1


@pytest.mark.parametrize("matrix, full_range, depth, grid", [
    ("bt601", False, 8, (1, 1)), ("bt709", True, 10, (1, 0)), ("bt2020", False, 10, (1, 1)), ("bt709", False, 8, (0, 0)),
])  # fmt: skip
def test_an_exported_frame_comes_back_as_the_chroma_it_was(tmp_path: Path, matrix, full_range: bool, depth: int, grid) -> None:  # type: ignore[no-untyped-def]
    info = probe(make_film(tmp_path / "in.mkv", ramp(1, 33, 47)))
    info = replace(info, colour=ColourSpec(matrix=matrix, full_range=full_range, depth=depth, subsample=grid))
    luma = np.full((33, 47), 120 << (depth - 8), info.colour.dtype)
    chroma = np.full((2, *info.colour.chroma_shape(33, 47)), 128 << (depth - 8), info.colour.dtype)
    chroma[0, : chroma.shape[1] // 2] += 20 << (depth - 8)
    chroma[1, :, chroma.shape[2] // 2 :] -= 12 << (depth - 8)
    write_still(str(tmp_path / "s.png"), frame_to_rgb(luma, chroma, info.colour))
    reference, warnings = reference_from_still(read_still(str(tmp_path / "s.png")), info, luma)
    assert warnings == [] and reference.in_shot and reference.luma is luma and reference.chroma.dtype == np.float32
    np.testing.assert_allclose(reference.chroma, chroma_to_unit(chroma, info.colour), atol=1.2 / 255)
    np.testing.assert_array_equal(
        frame_to_rgb(luma, chroma_to_unit(chroma, info.colour), info.colour), frame_to_rgb(luma, chroma, info.colour)
    )


def test_a_picture_from_elsewhere_brings_its_own_luma(tmp_path: Path) -> None:
    info = probe(make_film(tmp_path / "in.mkv", noise(1, 32, 48, 10), pix_fmt="gray10le", tags={"color_range": 1}))
    write_still(str(tmp_path / "s.png"), np.full((32, 48, 3), 255, np.uint8))
    reference, warnings = reference_from_still(read_still(str(tmp_path / "s.png")), info, None)
    assert not reference.in_shot and reference.luma.dtype == np.uint16 and (reference.luma == 940).all()
    np.testing.assert_allclose(reference.chroma, 0, atol=1e-6)
    assert reference.chroma.shape == (2, 16, 24) and warnings == [f"{tmp_path}/s.png: the picture has no colour"]


def test_frame_to_rgb_of_known_colours() -> None:
    colour = ColourSpec(matrix="bt709", full_range=False, depth=8, subsample=(0, 0))
    luma = np.array([[16, 235, 63]], np.uint8)
    chroma = np.array([[[128, 128, 102]], [[128, 128, 240]]], np.uint8)  # black, white, 100 % red of BT.709
    np.testing.assert_allclose(frame_to_rgb(luma, chroma, colour)[0].astype(int), [[0, 0, 0], [255, 255, 255], [255, 0, 0]], atol=1)


def test_a_film_frame_is_exported_at_its_own_size(tmp_path: Path) -> None:
    info = probe(make_film(tmp_path / "in.mkv", ramp(2, 33, 47)))
    with FrameReader(info) as reader:
        luma, chroma = reader.planes(Span(1, 2))
    assert frame_to_rgb(luma[0], chroma[0], info.colour).shape == (33, 47, 3)
