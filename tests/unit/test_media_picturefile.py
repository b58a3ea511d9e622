from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from dvcp.errors import ReferenceError
from dvcp.media.picturefile import decode_picture
from tests.broken_pictures import colours, png, saved, tiff, with_orientation

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def wide_gamut_profile() -> bytes:
    """Linear curves on wide primaries (ICC.1, matrix and curves): no screen's, and surely not sRGB."""

    def fixed(*values: float) -> bytes:
        return struct.pack(f">{len(values)}i", *(round(v * 65536) for v in values))

    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"wide\0" + bytes(78),
        b"wtpt": b"XYZ \0\0\0\0" + fixed(0.9642, 1.0, 0.8249),
        b"rXYZ": b"XYZ \0\0\0\0" + fixed(0.7, 0.28, 0.0),
        b"gXYZ": b"XYZ \0\0\0\0" + fixed(0.16, 0.67, 0.03),
        b"bXYZ": b"XYZ \0\0\0\0" + fixed(0.1042, 0.05, 0.7949),
        b"rTRC": b"curv\0\0\0\0" + struct.pack(">IH", 1, 256) + b"\0\0",
    }
    tags[b"gTRC"] = tags[b"bTRC"] = tags[b"rTRC"]
    place, table, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", place + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = 128 + len(table) + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"\0\0\0\0", 0x02400000, b"mntr", b"RGB ", b"XYZ ") + bytes(12) + b"acsp"
    return (head + bytes(28) + fixed(0.9642, 1.0, 0.8249)).ljust(128, b"\0") + table + body


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "GIF", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P"])
def test_eight_bits_and_less_are_what_pillow_sees(kind: str, mode: str) -> None:
    image = Image.fromarray(colours()).convert(mode)
    data = saved(image, kind, **({"lossless": True} if kind == "WEBP" else {}))
    pixels, warnings = decode_picture(data, "a")
    with Image.open(io.BytesIO(data)) as written:
        np.testing.assert_array_equal(pixels, np.asarray(written.convert("RGB")))
    assert pixels.dtype == np.uint8 and warnings == ()
    if mode == "P" and kind != "WEBP":
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 8


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
def test_sixteen_bit_tiff_keeps_every_bit(compression: str | None, byteorder: str, planarconfig: str) -> None:
    wanted = colours(dtype=np.uint16)
    stored = wanted if planarconfig == "contig" else np.moveaxis(wanted, -1, 0)
    pixels, warnings = decode_picture(tiff(stored, compression=compression, byteorder=byteorder, planarconfig=planarconfig), "a")
    np.testing.assert_array_equal(pixels, wanted)
    assert pixels.dtype == np.uint16 and warnings == ()


def test_sixteen_bit_gray_of_every_kind_keeps_every_bit() -> None:
    gray = colours(dtype=np.uint16)[..., 0].copy()
    for data in (tiff(gray, photometric="minisblack"), saved(Image.fromarray(gray), "PNG")):
        np.testing.assert_array_equal(decode_picture(data, "a")[0], np.repeat(gray[..., None], 3, axis=-1))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_stands_upright(kind: str, orientation: int) -> None:
    upright = colours(16, 24)
    ways = {1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.swapaxes(0, 1), 6: np.rot90(upright),
            7: upright[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(upright, -1)}  # fmt: skip
    stored = Image.fromarray(np.ascontiguousarray(ways[orientation]))
    exact = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    pixels, _ = decode_picture(saved(stored, kind, exif=with_orientation(orientation), **exact), "a")
    assert pixels.shape == upright.shape
    assert np.abs(pixels.astype(int) - upright).max() <= (6 if kind == "JPEG" else 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_sixteen_bits_are_turned_too(orientation: int) -> None:
    stored = colours(16, 24, np.uint16)
    deep, _ = decode_picture(tiff(stored, extratags=[(274, 3, 1, orientation, True)]), "a")
    shallow, _ = decode_picture(tiff((stored >> 8).astype(np.uint8), extratags=[(274, 3, 1, orientation, True)]), "a")
    np.testing.assert_array_equal(deep >> 8, shallow)
    assert (deep & 255).any()


def test_cmyk_by_its_profile_or_with_a_word() -> None:
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    for kind in ("JPEG", "TIFF"):
        pixels, warnings = decode_picture(saved(cmyk, kind), "print.tif")
        assert np.abs(pixels[8, 8].astype(int) - [255, 0, 0]).max() < 12
        assert warnings == ("print.tif: is CMYK without a colour profile: its colours are approximate; save it as sRGB",)


def test_colours_of_another_profile_become_srgb() -> None:
    middle = np.full((16, 16, 3), 128, np.uint8)
    for image, kind, options in ((middle, "PNG", {}), (middle, "JPEG", {"quality": 100}), (middle, "TIFF", {})):
        pixels, warnings = decode_picture(saved(Image.fromarray(image), kind, icc_profile=wide_gamut_profile(), **options), "a")
        # a linear 0.5 is 188 in sRGB, and the white of both is the same
        assert np.abs(pixels.astype(int) - 188).max() <= 2 and warnings == ()
    green = np.zeros((16, 16, 3), np.uint8)
    green[..., 1], green[..., 0] = 100, 20
    changed, _ = decode_picture(saved(Image.fromarray(green), "PNG", icc_profile=wide_gamut_profile()), "a")
    assert changed[0, 0, 1] > 150 and changed[0, 0, 0] == 0, "more saturated than sRGB can show"


def test_srgb_by_name_changes_nothing_and_keeps_the_depth() -> None:
    shallow, _ = decode_picture(saved(Image.fromarray(colours()), "PNG", icc_profile=SRGB), "a")
    np.testing.assert_array_equal(shallow, colours())
    deep, _ = decode_picture(tiff(colours(dtype=np.uint16), iccprofile=SRGB), "a")
    np.testing.assert_array_equal(deep, colours(dtype=np.uint16))


def test_a_deep_picture_with_another_profile_says_that_it_lost_depth() -> None:
    pixels, warnings = decode_picture(tiff(np.full((16, 16, 3), 0x8000, np.uint16), iccprofile=wide_gamut_profile()), "a")
    assert pixels.dtype == np.uint8 and abs(int(pixels[0, 0, 0]) - 188) <= 2
    assert len(warnings) == 1 and "read with 8 bits" in warnings[0]


def test_a_senseless_profile_is_left_out() -> None:
    pixels, warnings = decode_picture(saved(Image.fromarray(colours()), "PNG", icc_profile=b"nonsense" * 40), "a")
    np.testing.assert_array_equal(pixels, colours())
    assert warnings == ("a: its colour profile cannot be used and is left out",)


@pytest.mark.parametrize("deep", [False, True])
def test_colours_under_what_is_transparent_do_not_show(deep: bool) -> None:
    pixels = np.zeros((8, 8, 4), np.uint16 if deep else np.uint8)
    top = np.iinfo(pixels.dtype).max
    pixels[..., 0] = top
    pixels[:2, :, 3], pixels[2:4, :, 3] = top, top // 2
    data = tiff(pixels, extrasamples=["unassalpha"]) if deep else saved(Image.fromarray(pixels), "PNG")
    seen, warnings = decode_picture(data, "layer.png")
    assert warnings == ("layer.png: is transparent in 75 % of it: that is taken as unpainted, without colour",)
    half = round(top / 2)
    for row, wanted in ((0, [top, 0, 0]), (2, [0.75 * top, top / 4, top / 4]), (6, [half, half, half])):
        assert np.abs(seen[row, 3] - np.array(wanted)).max() <= top / 128
    assert np.ptp(seen[4:], axis=-1).max() == 0


def test_alpha_multiplied_in_is_taken_out_before() -> None:
    pixels = np.full((8, 8, 4), 0x4000, np.uint16)
    seen, _ = decode_picture(tiff(pixels, extrasamples=["assocalpha"]), "a")
    assert abs(int(seen[0, 0, 0]) - round(0x4000 + 0xBFFF / 2)) <= 1


def test_other_kinds_of_transparency() -> None:
    palette = Image.fromarray(colours()).quantize(16)
    by_palette, warned = decode_picture(saved(palette, "GIF", transparency=int(np.asarray(palette)[0, 0])), "a")
    assert warned and list(by_palette[0, 0]) == [128, 128, 128]
    by_colour, warned = decode_picture(saved(Image.new("RGB", (8, 8), (9, 8, 7)), "PNG", transparency=(9, 8, 7)), "a")
    assert warned and (by_colour == 128).all()
    gray, warned = decode_picture(saved(Image.new("LA", (8, 8), (200, 0)), "PNG"), "a")
    assert warned and (gray == 128).all()
    assert decode_picture(saved(Image.new("RGBA", (8, 8), (1, 2, 3, 255)), "PNG"), "a")[1] == ()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_is_used(kind: str) -> None:
    frames = [Image.new("RGB", (16, 8), colour) for colour in ((200, 0, 0), (0, 200, 0), (0, 0, 200))]
    pixels, warnings = decode_picture(saved(frames[0], kind, save_all=True, append_images=frames[1:]), "a")
    assert np.abs(pixels.astype(int) - [200, 0, 0]).max() <= 6
    assert len(warnings) == 1 and "the first is used" in warnings[0]


def test_half_a_picture_is_an_error() -> None:
    whole = Image.effect_noise((64, 48), 60).convert("RGB")
    deep = tiff(np.random.default_rng(0).integers(0, 65535, (48, 64, 3)).astype(np.uint16))
    files = [saved(whole, kind) for kind in ("PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP")] + [deep]
    for data in files:
        for share in (0.05, 0.5, 0.9):
            with pytest.raises(ReferenceError) as caught:
                decode_picture(data[: int(len(data) * share)], "half.png")
            assert str(caught.value).startswith("half.png: cannot be read as a picture") and "\n" not in str(caught.value)


def test_a_damaged_png_is_an_error_even_where_it_can_be_decoded() -> None:
    data = bytearray(saved(Image.fromarray(colours()), "PNG", compress_level=0))
    data[-100] ^= 1
    with pytest.raises(ReferenceError, match="cannot be read as a picture"):
        decode_picture(bytes(data), "a")


def test_bombs_are_refused_without_the_memory_they_ask_for() -> None:
    zeros = zlib.compress(bytes(50 << 20), 9)
    bombs = [
        png(60000, 60000, 8, 2, (b"IDAT", zeros)),
        png(8, 8, 8, 2, (b"zTXt", b"Comment\0\0" + zeros), (b"IDAT", zlib.compress(bytes(25 * 8)))),
        png(8, 8, 8, 2, (b"iCCP", b"icc\0\0" + zeros), (b"IDAT", zlib.compress(bytes(25 * 8)))),
        png(8, 8, 8, 2, (b"iTXt", b"Comment\0\1\0\0\0" + zeros), (b"IDAT", zlib.compress(bytes(25 * 8)))),
    ]
    for bomb in bombs:
        tracemalloc.start()
        with pytest.raises(ReferenceError):
            decode_picture(bomb, "bomb.png")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 20 << 20
    with pytest.raises(ReferenceError, match="has too many pixels to be read"):
        decode_picture(bombs[0], "bomb.png")


@pytest.mark.parametrize("pixels, said", [
    (np.zeros((8, 8), np.float32), "floating point"), (np.zeros((8, 8), np.uint32), "32 bits"), (np.zeros((8, 8), np.int16), "floating"),
])  # fmt: skip
def test_samples_that_are_no_picture_for_painting(pixels: NDArray[Any], said: str) -> None:
    with pytest.raises(ReferenceError, match=said):
        decode_picture(tiff(pixels, photometric="minisblack"), "a")


def test_what_is_no_picture_at_all() -> None:
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)
    for data in (b"plain text, renamed", heic, b"<svg/>", bytes(1000), b"\xff\xd8"):
        with pytest.raises(ReferenceError, match="cannot be read as a picture") as caught:
            decode_picture(data, "a.png")
        assert caught.value.hint


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_look_at_a_large_photograph_is_quick(kind: str) -> None:
    large = Image.fromarray(colours(300, 400)).resize((4000, 3000))
    data = saved(large, kind, **({"compress_level": 1} if kind == "PNG" else {}))
    # Of this process: beside another program the same takes twice as long by the clock.
    start = time.process_time()
    look, _ = decode_picture(data, "a", 1 << 18)
    taken = time.process_time() - start
    assert abs(look.shape[0] * look.shape[1] / (1 << 18) - 1) < 0.01
    assert taken < (0.6 if kind == "JPEG" else 2.5)
    small = np.asarray(large.resize(look.shape[1::-1], Image.Resampling.BOX))
    assert np.abs(look.astype(int) - small).mean() < 2


def test_a_deep_picture_is_made_small_too() -> None:
    look, _ = decode_picture(tiff(np.kron(colours(8, 12, np.uint16), np.ones((10, 10, 1), np.uint16))), "a", 8 * 12)
    np.testing.assert_array_equal(look, colours(8, 12, np.uint16))
