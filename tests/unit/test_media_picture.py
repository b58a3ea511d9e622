from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from dvcp.errors import ConfigError, MediaError
from dvcp.media import dpx
from dvcp.media.dpx import DpxFacts, dpx_of
from dvcp.media.picture import png_of, read_picture, tiff_of
from tests.unit.sequence_pictures import codes, ffmpeg_dpx, ffmpeg_samples, ffprobe, gray_dpx, png, tiff, tool

PLANAR = {10: "gbrp10le", 12: "gbrp12le"}


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("width", [48, 49, 50])
@pytest.mark.parametrize("depth", [8, 10, 12, 16])
def test_gray_dpx_is_read_sample_by_sample(tmp_path: Path, depth: int, width: int, order: str) -> None:
    gray = codes(32, width, depth)
    gray_dpx(tmp_path / "a.dpx", gray, depth, order)
    found = read_picture(str(tmp_path / "a.dpx"))
    assert found.depth == depth
    assert np.array_equal(found.samples, gray)


@pytest.mark.parametrize("depth", [8, 10, 12, 16])
def test_debian_ffmpeg_sees_the_same_gray(tmp_path: Path, depth: int) -> None:
    gray_dpx(tmp_path / "a.dpx", codes(32, 49, depth), depth)
    samples = ffmpeg_samples(tmp_path / "a.dpx", "gray" if depth == 8 else f"gray{depth}le")
    assert samples == read_picture(str(tmp_path / "a.dpx")).samples.tobytes()


@pytest.mark.parametrize(
    ("depth", "pix_fmt", "channels"),
    [(8, "gray", None), (16, "gray16le", None), (8, "rgb24", 3), (10, "gbrp10le", 3), (12, "gbrp12le", 3), (16, "rgb48be", 3)],
)
def test_dpx_that_ffmpeg_wrote(tmp_path: Path, depth: int, pix_fmt: str, channels: int | None) -> None:
    picture = codes(32, 48, depth, channels=channels)
    swapped = picture.byteswap() if pix_fmt.endswith("be") else picture
    ffmpeg_dpx(tmp_path / "a.dpx", swapped, pix_fmt)
    found = read_picture(str(tmp_path / "a.dpx"))
    assert found.depth == depth
    assert np.array_equal(found.samples, picture)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [None, 3])
@pytest.mark.parametrize(
    "options", [{}, {"byteorder": ">"}, {"compression": "zlib"}, {"compression": "zlib", "predictor": True}, {"rowsperstrip": 5}]
)
def test_tiff_is_read_as_tifffile_wrote_it(tmp_path: Path, depth: int, channels: int | None, options: dict[str, Any]) -> None:
    picture = codes(32, 49, depth, channels=channels)
    tiff(tmp_path / "a.tif", picture, **options)
    found = read_picture(str(tmp_path / "a.tif"))
    assert found.depth == depth
    assert np.array_equal(found.samples, picture)
    assert found.header["photometric"] == ("BlackIsZero" if channels is None else "RGB")


@pytest.mark.parametrize("depth", [8, 16])
def test_tiff_with_a_plane_for_each_channel(tmp_path: Path, depth: int) -> None:
    picture = codes(32, 49, depth, channels=3)
    tiff(tmp_path / "a.tif", np.ascontiguousarray(np.moveaxis(picture, -1, 0)), photometric="rgb", planarconfig="separate")
    assert np.array_equal(read_picture(str(tmp_path / "a.tif")).samples, picture)


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits"])
def test_compressed_tiff(tmp_path: Path, compression: str) -> None:
    gray = codes(32, 49, 8)
    Image.fromarray(gray).save(tmp_path / "a.tif", compression=compression)
    assert np.array_equal(read_picture(str(tmp_path / "a.tif")).samples, gray)


@pytest.mark.parametrize("depth", [8, 16])
def test_white_is_zero_is_turned_over(tmp_path: Path, depth: int) -> None:
    gray = codes(32, 49, depth)
    tiff(tmp_path / "a.tif", gray, photometric="miniswhite")
    found = read_picture(str(tmp_path / "a.tif"))
    assert np.array_equal(found.samples, (1 << depth) - 1 - gray)
    assert found.header["photometric"] == "WhiteIsZero"


@pytest.mark.parametrize("depth", [8, 16])
def test_png(tmp_path: Path, depth: int) -> None:
    gray = codes(32, 49, depth)
    png(tmp_path / "a.png", gray)
    assert np.array_equal(read_picture(str(tmp_path / "a.png")).samples, gray)


def lzw(path: Path) -> None:
    Image.fromarray(codes(32, 49, 8)).save(path, format="TIFF", compression="tiff_lzw")


@pytest.mark.parametrize(
    "write",
    [
        lambda path: gray_dpx(path, codes(32, 49, 8), 8),
        lambda path: gray_dpx(path, codes(32, 49, 10), 10),
        lambda path: tiff(path, codes(32, 49, 16)),
        lambda path: tiff(path, codes(32, 49, 16), compression="zlib", rowsperstrip=8),
        lzw,
        lambda path: path.write_bytes(tiff_of(codes(32, 49, 16, channels=3))),
        lambda path: png(path.with_suffix(".png"), codes(32, 49, 16)) or path.with_suffix(".png").rename(path),
    ],
    ids=["dpx8", "dpx10", "tiff", "tiff-zlib", "tiff-lzw", "tiff-rgb", "png"],
)
def test_a_truncated_picture_is_never_read(tmp_path: Path, write: Callable[[Path], None]) -> None:
    path = tmp_path / "a.dpx"
    write(path)
    whole = path.read_bytes()
    assert read_picture(str(path)).samples.shape[:2] == (32, 49)
    for missing in (1, 3, 20, 100, len(whole) // 4, len(whole) // 2, len(whole) - 1700, len(whole) - 100):
        path.write_bytes(whole[:-missing])
        with pytest.raises(MediaError, match=r"a\.dpx: .*(truncated|damaged)"):
            read_picture(str(path))


def test_damage_inside_compressed_pictures_is_found(tmp_path: Path) -> None:
    tiff(tmp_path / "a.tif", codes(32, 49, 16), compression="zlib")
    png(tmp_path / "a.png", codes(32, 49, 16))
    for name in ("a.tif", "a.png"):
        data = bytearray((tmp_path / name).read_bytes())
        data[len(data) // 2] ^= 0x55
        (tmp_path / name).write_bytes(data)
        with pytest.raises(MediaError, match="damaged"):
            read_picture(str(tmp_path / name))


@pytest.mark.parametrize("kind", ["dpx", "tif", "png"])
def test_any_bytes_give_a_picture_or_one_line(tmp_path: Path, kind: str) -> None:
    path, rng = tmp_path / f"a.{kind}", np.random.default_rng(3)
    {"dpx": lambda: gray_dpx(path, codes(8, 9, 10), 10, rate=24), "tif": lambda: tiff(path, codes(8, 9, 16)),
     "png": lambda: png(path, codes(8, 9, 16))}[kind]()  # fmt: skip
    whole, refused_ones = path.read_bytes(), 0
    for _ in range(400):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), 4):
            data[place] = rng.choice([0, 1, 127, 255, rng.integers(256)])
        path.write_bytes(data[: rng.integers(1, 2 * len(data))])
        try:
            read_picture(str(path))
        except MediaError as error:
            refused_ones += 1
            assert str(path) in str(error) and "\n" not in str(error)
    assert refused_ones > 100


def test_pictures_that_cannot_be_kept_are_refused(tmp_path: Path) -> None:
    path, gray = tmp_path / "a.tif", codes(32, 48, 16)
    path.write_bytes(b"")
    refused(path, "is empty")
    path.write_bytes(b"this is text")
    refused(path, "no DPX, TIFF or PNG")
    tiff(path, gray, bigtiff=True)
    refused(path, "BigTIFF")
    # FFmpeg reads the tiles as strips: every sample would be wrong
    tiff(path, gray, tile=(16, 16))
    refused(path, "tiled")
    with tifffile.TiffWriter(path) as writer:
        writer.write(gray, metadata=None)
        writer.write(gray, metadata=None)
    refused(path, "holds 2 pictures")
    Image.fromarray(codes(32, 48, 8, channels=4), "RGBA").save(path)
    refused(path, "rgba")
    tiff(path, gray.astype(np.float16))
    refused(path, "no unsigned integers")
    tiff(path, gray.astype(np.int16))
    refused(path, "no unsigned integers")
    tiff(path, codes(32, 48, 8, channels=4), photometric="separated")
    refused(path, "CMYK")
    Image.fromarray(codes(32, 48, 8, channels=3)).convert("LAB").save(path)
    refused(path, "CIELab")
    Image.fromarray(codes(32, 48, 8, channels=3)).convert("P").save(path)
    refused(path, "palette")
    for place, value, words in ((771, 2, "2 image elements"), (815, 4, "padding after its rows"), (811, 4, "where its samples begin")):
        gray_dpx(path, gray, 16)
        data = bytearray(path.read_bytes())
        data[812:816] = bytes(4)
        data[place] = value
        path.write_bytes(data)
        refused(path, words)


def refused(path: Path, words: str) -> None:
    with pytest.raises(MediaError, match=words) as caught:
        read_picture(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_dpx_with_a_wrong_size_in_its_header_is_read_when_its_samples_are_there(tmp_path: Path) -> None:
    gray = codes(32, 49, 8)
    gray_dpx(tmp_path / "a.dpx", gray, 8)
    data = bytearray((tmp_path / "a.dpx").read_bytes())
    data[16:20] = (len(data) + 8192).to_bytes(4, "big")
    (tmp_path / "a.dpx").write_bytes(data)
    assert np.array_equal(read_picture(str(tmp_path / "a.dpx")).samples, gray)


def test_a_preview_beside_the_picture_is_no_second_picture(tmp_path: Path) -> None:
    gray = codes(32, 48, 16)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(gray, metadata=None)
        writer.write(gray[::4, ::4], metadata=None, subfiletype=1)
    found = read_picture(str(tmp_path / "a.tif"))
    assert np.array_equal(found.samples, gray)
    assert found.header["pages"] == 1


def test_what_a_scanner_wrote_into_the_header(tmp_path: Path) -> None:
    gray_dpx(tmp_path / "a.dpx", codes(32, 48, 10), 10, timecode=0x01020304, rate=23.976)
    header = read_picture(str(tmp_path / "a.dpx")).header
    assert header["key_code"] == "01 07 123456 0042 00"
    assert (header["timecode"], header["rate"]) == ("01:02:03:04", "24000/1001")
    assert (header["transfer"], header["transfer_name"], header["input_device"]) == (1, "printing density", "Scanner")
    assert "pixel_aspect" not in header and "slate" not in header


@pytest.mark.parametrize("depth", [8, 10, 12, 16])
def test_dpx_pictures_written_here_are_read_by_ffmpeg(tmp_path: Path, depth: int) -> None:
    rgb = codes(32, 49, depth, channels=3)
    facts = DpxFacts("a.dpx", 3, Fraction(30000, 1001), "01:02:03;04", 6, 6, Fraction(59, 54))
    (tmp_path / "a.dpx").write_bytes(dpx_of(rgb, depth, facts))
    if depth in PLANAR:
        expected, name = np.moveaxis(rgb[..., [1, 2, 0]], -1, 0).tobytes(), PLANAR[depth]
    else:
        expected, name = rgb.tobytes(), "rgb24" if depth == 8 else "rgb48le"
    assert ffmpeg_samples(tmp_path / "a.dpx", name) == expected
    assert np.array_equal(read_picture(str(tmp_path / "a.dpx")).samples, rgb)


def test_the_header_of_a_written_dpx_as_ffprobe_sees_it(tmp_path: Path) -> None:
    rgb = codes(32, 48, 10, channels=3)
    path = tmp_path / "a.dpx"
    path.write_bytes(dpx_of(rgb, 10, DpxFacts("a.dpx", 3, Fraction(30000, 1001), "01:02:03;04", 6, 6, Fraction(59, 54))))
    seen = ffprobe(path, "frame=sample_aspect_ratio,color_range,color_transfer,color_primaries:frame_tags=timecode").split()
    assert seen == ["59:54", "pc", "bt709", "bt709", "01:02:03;04"]
    found = dpx.read_header(path.read_bytes())
    assert (found["rate"], found["timecode"], found["frame_position"]) == ("30000/1001", "01:02:03;04", 3)
    wanted = "--Output=Image;%Width%x%Height% %BitDepth% %ColorSpace%"
    assert tool(["mediainfo", wanted, str(path)]).decode().strip() == "48x32 10 RGB"


@pytest.mark.parametrize("depth", [8, 16])
def test_tiff_and_png_written_here(tmp_path: Path, depth: int) -> None:
    rgb = codes(32, 49, depth, channels=3)
    (tmp_path / "a.tif").write_bytes(tiff_of(rgb))
    assert np.array_equal(tifffile.imread(tmp_path / "a.tif"), rgb)
    (tmp_path / "a.png").write_bytes(png_of(rgb))
    assert ffmpeg_samples(tmp_path / "a.png", "rgb24" if depth == 8 else "rgb48le") == rgb.tobytes()


def test_dpx_of_an_odd_depth() -> None:
    with pytest.raises(ConfigError, match="--depth 8, 10, 12, 16"):
        dpx_of(codes(32, 48, 14, channels=3), 14, DpxFacts("a.dpx", 0, Fraction(24), None))
