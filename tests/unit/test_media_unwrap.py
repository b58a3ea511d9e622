from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from dvcp.cli import app
from dvcp.colour import ColourSpec, rgb_to_ycbcr, unit_to_chroma, unit_to_luma
from dvcp.errors import ConfigError, StoreError
from dvcp.media.dpx import read_header
from dvcp.media.picture import read_picture
from dvcp.media.probe import probe
from dvcp.media.profiles import MASTER
from dvcp.media.rgb import rgb_of
from dvcp.media.siting import Siting, upsample
from dvcp.media.unwrap import UnwrapSettings, unwrap
from dvcp.media.wrap import Gaps, WrapSettings, wrap
from dvcp.media.writer import SegmentWriter
from tests.unit.media_clips import deliver, make_film, noise
from tests.unit.sequence_pictures import codes, ffmpeg_samples, ffprobe, gray_dpx, gray_tiffs


def soft_rgb(count: int, height: int, width: int) -> np.ndarray:
    """Moving colours well inside RGB, float ``[T, H, W, 3]``."""
    y, x = np.mgrid[:height, :width]
    frames = [np.stack([np.sin(x / 9 + k), np.cos(y / 7 + k), np.sin((x + y) / 11)], axis=-1) for k in range(count)]
    return np.stack(frames) * 0.3 + 0.5


def colour_film(path: Path, spec: ColourSpec, rgb: np.ndarray) -> tuple[str, Any, Any]:
    """An FFV1 film of these colours and its native planes."""
    gray = noise(len(rgb), *rgb.shape[1:3], spec.depth)
    tags = {"colorspace": {"bt601": 6, "bt709": 1, "bt2020": 9}[spec.matrix], "color_range": 2 if spec.full_range else 1}
    suffix = "" if spec.depth == 8 else f"{spec.depth}le"
    template = make_film(path.with_suffix(".t.mkv"), gray, f"gray{suffix}", tags=tags, timecode="01:00:00:00")
    info = replace(probe(template), colour=spec)
    ycc = rgb_to_ycbcr(rgb, spec.matrix)
    step = [1 << s for s in spec.subsample]
    luma = unit_to_luma(ycc[..., 0], spec)
    chroma = unit_to_chroma(np.moveaxis(ycc[:, :: step[1], :: step[0], 1:], -1, 1), spec)
    with SegmentWriter(str(path), info, MASTER) as writer:
        writer.write(luma, chroma)
    return str(path), luma, chroma


def back_to_luma(rgb: np.ndarray, spec: ColourSpec) -> np.ndarray:
    """Y' on the scale of 16 bits, 0 = black."""
    return rgb_to_ycbcr(rgb.astype(np.float64), spec.matrix)[..., 0]


@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("depth", [8, 10])
def test_luma_of_16_bit_tiff_is_within_one_code(tmp_path: Path, matrix: Any, full: bool, depth: int) -> None:
    spec = ColourSpec(matrix, full, depth)
    film, luma, _ = colour_film(tmp_path / "film.mkv", spec, soft_rgb(2, 48, 64))
    done = unwrap(UnwrapSettings(film, str(tmp_path / "out.#.tif")))
    black, white = spec.luma_scale()
    for k in range(2):
        found = tifffile.imread(tmp_path / f"out.{k + 1}.tif")
        wanted = (luma[k].astype(np.float64) - black) / (white - black) * 65535
        assert np.abs(back_to_luma(found, spec) - wanted).max() <= 1
    assert done.clipped == 0 and 0 < done.luma_error <= 1


@pytest.mark.parametrize("grid", [(1, 1), (1, 0), (0, 0)])
def test_colours_come_back(tmp_path: Path, grid: tuple[int, int]) -> None:
    spec, rgb = ColourSpec("bt709", False, 10, grid), soft_rgb(1, 48, 64)
    film, _, _ = colour_film(tmp_path / "film.mkv", spec, rgb)
    unwrap(UnwrapSettings(film, str(tmp_path / "a.####.dpx"), siting=Siting.TOPLEFT))
    found = read_picture(str(tmp_path / "a.0001.dpx"))
    # 4:4:4 strays by the rounding of 10-bit chroma; with less chroma by the curve between its samples, and more beyond the last of them
    error = np.abs(found.samples / 1023 - rgb[0])[:-1, :-1].max()
    assert error < (0.003 if grid == (0, 0) else 0.012)


@pytest.mark.parametrize("siting", list(Siting))
@pytest.mark.parametrize("grid", [(1, 1), (1, 0), (2, 0)])
def test_a_slope_of_chroma_stays_a_slope(siting: Siting, grid: tuple[int, int]) -> None:
    height, width, spec = 24, 32, ColourSpec(subsample=grid)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    plane = x / 100 + y / 200
    across, down = 1 << grid[0], 1 << grid[1]
    if siting is Siting.CENTER:
        small = plane.reshape(height // down, down, width // across, across).mean(axis=(1, 3))
    elif siting is Siting.LEFT:
        small = plane[:, ::across].reshape(height // down, down, -1).mean(axis=1)
    else:
        small = plane[::down, ::across]
    full = upsample(np.stack([small, -small]).astype(np.float32), height, width, spec, siting)
    inner = slice(4, -4)
    assert np.abs(full[0] - plane)[inner, inner].max() < 1e-6
    assert np.array_equal(full[1], -full[0])


def test_fields_do_not_share_chroma() -> None:
    chroma = np.zeros((2, 12, 8), np.float32)
    chroma[:, 1::2] = 1
    full = upsample(chroma, 24, 16, ColourSpec(), Siting.LEFT, fields=True)
    assert (full[:, ::2] == 0).all() and (full[:, 1::2] == 1).all()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (2, 7)])
def test_odd_sizes(height: int, width: int) -> None:
    spec = ColourSpec()
    luma, chroma = codes(height, width, 8), np.stack([codes(*spec.chroma_shape(height, width), 8, k) for k in (1, 2)])
    for fields in (False, True):
        assert rgb_of(luma, chroma, spec, 16, Siting.LEFT, fields).samples.shape == (height, width, 3)


def test_colours_outside_rgb_are_counted() -> None:
    luma, chroma = np.full((4, 4), 235, np.uint8), np.full((2, 2, 2), 128, np.uint8)
    assert rgb_of(luma, chroma, ColourSpec(), 16, Siting.CENTER).clipped == 0
    chroma[:, 0, 0] = 240
    picture = rgb_of(luma, chroma, ColourSpec(), 16, Siting.CENTER)
    assert 0 < picture.clipped <= 1 and picture.samples.max() == 65535


@pytest.mark.parametrize("depth", [8, 10, 12, 16])
def test_scans_to_film_to_pictures_to_film(tmp_path: Path, depth: int) -> None:
    (tmp_path / "scans").mkdir()
    for number in (1001, 1002, 1005):
        path = tmp_path / "scans" / f"reel.{number:06d}.dpx"
        gray_dpx(path, codes(32, 50, depth, number), depth, timecode=0x01000000 + number - 1001, rate=24)
    film = wrap(WrapSettings(str(tmp_path / "scans"), str(tmp_path / "reel.mkv"), gaps=Gaps.KEEP)).out
    done = unwrap(UnwrapSettings(film, f"{tmp_path}/graded/reel.######.dpx", depth=depth))
    assert (done.notation, done.missing) == ("reel.1001-1002,1005######.dpx", "001003-001004")
    for number in (1001, 1002, 1005):
        name = f"reel.{number:06d}.dpx"
        found = read_picture(f"{tmp_path}/graded/{name}")
        scan = read_picture(f"{tmp_path}/scans/{name}")
        assert np.array_equal(found.samples, np.repeat(scan.samples[..., None], 3, axis=-1))
        assert ffprobe(tmp_path / "graded" / name, "frame_tags=timecode").strip() == f"01:00:00:{number - 1001:02d}"
        kept = {key: found.header[key] for key in ("rate", "transfer", "colorimetric")}
        assert kept == {"rate": "24", "transfer": 1, "colorimetric": 1}
    again = wrap(WrapSettings(f"{tmp_path}/graded", str(tmp_path / "again.mkv"), gaps=Gaps.KEEP))
    name = "gray" if depth == 8 else f"gray{depth}le"
    assert ffmpeg_samples(again.out, name) == ffmpeg_samples(film, name)


def test_numbers_survive_the_coloured_master(tmp_path: Path) -> None:
    gray_tiffs(tmp_path / "scans", [86400, 86401, 86404], 8, "r.{}.tif")
    film = wrap(WrapSettings(str(tmp_path / "scans"), str(tmp_path / "r.mkv"), Fraction(16), gaps=Gaps.KEEP)).out
    coloured, _ = deliver(film, tmp_path, MASTER, cuts=(0, 2))
    done = unwrap(UnwrapSettings(coloured, f"{tmp_path}/o/r.#####.png", depth=8))
    assert done.notation == "r.86400-86401,86404#####.png"
    moved = unwrap(UnwrapSettings(coloured, f"{tmp_path}/o/s.#.png", start=10))
    assert moved.notation == "s.10-11,14#.png"


def test_a_film_that_never_was_a_sequence_counts_from_one(tmp_path: Path) -> None:
    film = make_film(tmp_path / "f.mkv", noise(3, 32, 48), timecode="10:00:00:00")
    done = unwrap(UnwrapSettings(film, f"{tmp_path}/o.####.dpx"))
    assert done.notation == "o.1-3####.dpx"
    header = read_header((tmp_path / "o.0003.dpx").read_bytes())
    assert (header["timecode"], header["rate"]) == ("10:00:00:02", "25")


def test_only_what_is_missing_is_written_again(tmp_path: Path) -> None:
    film = make_film(tmp_path / "f.mkv", noise(4, 32, 48))
    settings = UnwrapSettings(film, f"{tmp_path}/o/a.####.tif")
    assert unwrap(settings).written == 4
    manifest = json.loads((tmp_path / "o/a.tif.pictures.json").read_text())
    wanted = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in (tmp_path / "o").glob("*.tif")}
    assert {p["file"]: p["sha256"] for p in manifest["pictures"]} == wanted
    untouched = (tmp_path / "o/a.0001.tif").stat().st_mtime_ns
    (tmp_path / "o/a.0003.tif").unlink()
    done = unwrap(settings)
    assert (done.written, done.kept) == (1, 3)
    assert (tmp_path / "o/a.0001.tif").stat().st_mtime_ns == untouched
    # a crash before the manifest: pictures that are right are kept, by their bytes
    (tmp_path / "o/a.tif.pictures.json").unlink()
    assert (unwrap(settings).written, (tmp_path / "o/a.0001.tif").stat().st_mtime_ns) == (0, untouched)
    assert {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in (tmp_path / "o").glob("*.tif")} == wanted


def test_other_pictures_are_not_overwritten(tmp_path: Path) -> None:
    film = make_film(tmp_path / "f.mkv", noise(2, 32, 48))
    settings = UnwrapSettings(film, f"{tmp_path}/o/a.####.tif")
    unwrap(settings)
    (tmp_path / "o/a.0002.tif").write_bytes(b"painted over")
    with pytest.raises(StoreError, match=r"a\.0002\.tif: exists and is another picture .*--overwrite"):
        unwrap(settings)
    assert (tmp_path / "o/a.0002.tif").read_bytes() == b"painted over"
    with pytest.raises(StoreError, match="tells of other pictures"):
        unwrap(replace(settings, depth=8))
    assert unwrap(replace(settings, overwrite=True)).written == 1
    assert tifffile.imread(tmp_path / "o/a.0002.tif").dtype == np.uint16


def test_to_an_object_store(tmp_path: Path) -> None:
    film = make_film(tmp_path / "f.mkv", noise(2, 32, 48))
    settings = UnwrapSettings(film, "memory://graded/a.####.png")
    assert unwrap(settings).written == 2
    assert unwrap(settings).kept == 2
    store = fsspec.filesystem("memory")
    assert sorted(Path(p).name for p in store.ls("/graded", detail=False)) == ["a.0001.png", "a.0002.png", "a.png.pictures.json"]
    assert read_picture("memory://graded/a.0002.png").depth == 16


def test_what_makes_no_sense(tmp_path: Path) -> None:
    film = make_film(tmp_path / "f.mkv", noise(1, 32, 48))
    for out, more, words in (
        ("a.dpx", {}, "no pattern"), ("a.####.tif", {"depth": 12}, "not written with 12 bits"),
        ("a.####.tif", {"format": "dpx"}, "tiff pictures, not dpx"), ("a.1-4####.tif", {}, "names numbers of its own"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=words):
            unwrap(UnwrapSettings(film, str(tmp_path / out), **more))


def test_the_command(tmp_path: Path) -> None:
    film = make_film(tmp_path / "f.mkv", noise(2, 32, 48))
    done = CliRunner().invoke(app, ["unwrap", film, "--out", f"{tmp_path}/a.####.dpx", "--start", "7"])
    assert done.exit_code == 0 and "a.7-8####.dpx: 2 written, 0 kept; luma within" in done.output
    again = json.loads(CliRunner().invoke(app, ["unwrap", film, "--out", f"{tmp_path}/a.####.dpx", "--start", "7", "--json"]).stdout)
    assert (again["written"], again["kept"]) == (0, 2)
    assert CliRunner().invoke(app, ["unwrap", film, "--out", f"{tmp_path}/a.####.dpx", "--format", "exr"]).exit_code == 2
