from __future__ import annotations

import json
import struct
import wave
from fractions import Fraction
from pathlib import Path

import fsspec
import numpy as np
import pytest
from typer.testing import CliRunner

from dvcp.cli import app
from dvcp.errors import ConfigError, MediaError, StoreError, VerifyError
from dvcp.media.gray import Luma
from dvcp.media.probe import probe
from dvcp.media.reader import FrameReader
from dvcp.media.wrap import Gaps, WrapSettings, wrap
from dvcp.timing import Span
from tests.unit.sequence_pictures import codes, ffmpeg_dpx, ffmpeg_samples, ffprobe, gray_dpx, gray_tiffs, png, tiff

RATE = Fraction(24)


def luma_of(film: str) -> np.ndarray:
    info = probe(film)
    with FrameReader(info) as reader:
        return reader.luma(Span(0, len(info.frames)))


@pytest.mark.parametrize("depth", [8, 10, 12, 16])
def test_gray_dpx_goes_in_sample_by_sample(tmp_path: Path, depth: int) -> None:
    pictures = [codes(32, 50, depth, k) for k in range(3)]
    for k, gray in enumerate(pictures):
        gray_dpx(tmp_path / f"reel.{1001 + k}.dpx", gray, depth)
    done = wrap(WrapSettings(str(tmp_path), str(tmp_path / "reel.mkv"), RATE))
    assert np.array_equal(luma_of(done.out), np.stack(pictures))
    name = "gray" if depth == 8 else f"gray{depth}le"
    assert ffmpeg_samples(done.out, name) == np.stack(pictures).tobytes()
    info = probe(done.out)
    assert (info.pix_fmt, info.colour.full_range, info.average_rate, info.field_order) == (name, True, RATE, "progressive")
    assert ffprobe(done.out, "stream=color_range").split() == ["pc"]
    assert done.told.origins() == {"gray": 3}


@pytest.mark.parametrize("depth", [8, 16])
def test_gray_tiff_and_png(tmp_path: Path, depth: int) -> None:
    pictures = gray_tiffs(tmp_path / "tiff", [1, 2, 3], depth)
    (tmp_path / "png").mkdir()
    for k, picture in enumerate(pictures):
        png(tmp_path / "png" / f"{k:03d}.PNG", picture)
    for kind in ("tiff", "png"):
        done = wrap(WrapSettings(str(tmp_path / kind), str(tmp_path / f"{kind}.mkv"), RATE))
        assert np.array_equal(luma_of(done.out), np.stack(pictures))


@pytest.mark.parametrize(("depth", "pix_fmt"), [(8, "rgb24"), (10, "gbrp10le"), (12, "gbrp12le"), (16, "rgb48le")])
def test_three_equal_channels_are_gray(tmp_path: Path, depth: int, pix_fmt: str) -> None:
    pictures = [codes(32, 48, depth, k) for k in range(2)]
    for k, gray in enumerate(pictures):
        ffmpeg_dpx(tmp_path / f"reel.{k:04d}.dpx", np.repeat(gray[..., None], 3, axis=-1), pix_fmt)
    done = wrap(WrapSettings(str(tmp_path), str(tmp_path / "reel.mkv"), RATE))
    assert np.array_equal(luma_of(done.out), np.stack(pictures))
    assert done.told.origins() == {"equal": 2}
    assert probe(done.out).colour.depth == depth


def test_channels_that_differ_are_refused_by_name(tmp_path: Path) -> None:
    gray_rgb = np.repeat(codes(32, 48, 16)[..., None], 3, axis=-1)
    tiff(tmp_path / "a.1.tif", gray_rgb)
    stained = gray_rgb.copy()
    stained[3, 4, 2] ^= 8
    tiff(tmp_path / "a.2.tif", stained)
    with pytest.raises(MediaError, match=r"a\.2\.tif: R, G and B differ by up to 8 codes .*--luma bt709") as caught:
        wrap(WrapSettings(str(tmp_path), str(tmp_path / "a.mkv"), RATE))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a.mkv").exists()


@pytest.mark.parametrize(("luma", "weights"), [("bt709", (0.2126, 0.7152, 0.0722)), ("bt601", (0.299, 0.587, 0.114)), ("green", (0, 1, 0))])
def test_luma_is_computed_only_when_asked_and_marked(tmp_path: Path, luma: str, weights: tuple[float, ...]) -> None:
    picture, gray = codes(32, 48, 16, channels=3), codes(32, 48, 16, 1)
    tiff(tmp_path / "a.1.tif", picture)
    tiff(tmp_path / "a.2.tif", np.repeat(gray[..., None], 3, axis=-1))
    done = wrap(WrapSettings(str(tmp_path), str(tmp_path / "a.mkv"), RATE, luma=Luma(luma)))
    found = luma_of(done.out)
    assert np.array_equal(found[0], np.rint(picture @ np.array(weights)))
    assert np.array_equal(found[1], gray)
    told = json.loads((tmp_path / "a.sequence.json").read_text())
    assert told["luma"] == {"computed": 1, "equal": 1} and not told["luma_is_original"]
    assert luma in probe(done.out).metadata["DVCP_LUMA"]
    assert any("computed, not original" in warning for warning in done.warnings)


def test_video_range_in_the_header_is_kept_as_a_tag(tmp_path: Path) -> None:
    gray = codes(32, 48, 10)
    gray_dpx(tmp_path / "a.1.dpx", gray, 10)
    data = bytearray((tmp_path / "a.1.dpx").read_bytes())
    struct.pack_into(">f", data, 1952, 64)
    struct.pack_into(">f", data, 1964, 940)
    (tmp_path / "a.1.dpx").write_bytes(data)
    done = wrap(WrapSettings(str(tmp_path), str(tmp_path / "a.mkv"), RATE))
    assert not probe(done.out).colour.full_range and done.told.limited
    assert np.array_equal(luma_of(done.out)[0], gray)


def test_gaps_are_an_error_until_they_are_kept(tmp_path: Path) -> None:
    pictures = gray_tiffs(tmp_path, [1001, 1002, 1005, 1006, 1008])
    out = str(tmp_path / "reel.mkv")
    with pytest.raises(MediaError, match=r"missing 1003-1004,1007 .*--gaps keep"):
        wrap(WrapSettings(str(tmp_path), out, RATE))
    done = wrap(WrapSettings(str(tmp_path), out, RATE, gaps=Gaps.KEEP))
    info = probe(out)
    assert [round(int(p) * info.frames.timebase * RATE) for p in info.frames.pts] == [0, 1, 4, 5, 7]
    assert info.announced_frames == 5
    assert np.array_equal(luma_of(out), np.stack(pictures))
    told = json.loads((tmp_path / "reel.sequence.json").read_text())
    assert (told["missing"], told["notation"], told["first"]) == ("1003-1004,1007", "reel.1001-1002,1005-1006,1008####.tif", 1001)
    assert info.metadata["DVCP_SEQUENCE_FIRST"] == "1001"
    assert done.told.missing == "1003-1004,1007"


def test_headers_give_rate_timecode_and_what_else_they_say(tmp_path: Path) -> None:
    for k in range(3):
        gray_dpx(tmp_path / f"reel.{k:04d}.dpx", codes(32, 48, 10, k), 10, timecode=0x01000000 + k, rate=23.976)
    done = wrap(WrapSettings(str(tmp_path), str(tmp_path / "reel.mkv")))
    info = probe(done.out)
    assert info.timecode == "01:00:00:00"
    assert info.average_rate == Fraction(24000, 1001)
    told = json.loads((tmp_path / "reel.sequence.json").read_text())
    assert told["header"]["key_code"] == "01 07 123456 0042 00"
    assert [p["header"] for p in told["pictures"]] == [{}, {"timecode": "01:00:00:01"}, {"timecode": "01:00:00:02"}]
    assert "printing density" in done.warnings[0]


def test_a_timecode_that_stands_still_is_not_used_and_one_that_jumps_is_told(tmp_path: Path) -> None:
    for folder, words in {"still": (0, 0, 0), "none": (0x30999999,), "jump": (0x01000000, 0x01000001, 0x01000009)}.items():
        (tmp_path / folder).mkdir()
        for k, word in enumerate(words):
            gray_dpx(tmp_path / folder / f"reel.{k}.dpx", codes(32, 48, 8, k), 8, timecode=word, rate=24)
    still = wrap(WrapSettings(str(tmp_path / "still"), str(tmp_path / "still.mkv")))
    assert probe(still.out).timecode is None and any("does not run on" in w for w in still.warnings)
    none = wrap(WrapSettings(str(tmp_path / "none"), str(tmp_path / "none.mkv")))
    assert probe(none.out).timecode is None and any("30:99:99:99" in w for w in none.warnings)
    jump = wrap(WrapSettings(str(tmp_path / "jump"), str(tmp_path / "jump.mkv")))
    assert probe(jump.out).timecode == "01:00:00:00"
    assert any("reel.2.dpx: its header says timecode 01:00:00:09, its number 01:00:00:02" in w for w in jump.warnings)


def test_rate_and_timecode_that_make_no_sense(tmp_path: Path) -> None:
    gray_tiffs(tmp_path, [1, 2])
    with pytest.raises(ConfigError, match="--rate 24"):
        wrap(WrapSettings(str(tmp_path), str(tmp_path / "a.mkv")))
    with pytest.raises(ConfigError, match="01:00:00:24: no such timecode"):
        wrap(WrapSettings(str(tmp_path), str(tmp_path / "a.mkv"), RATE, "01:00:00:24"))
    with pytest.raises(ConfigError, match="too fast"):
        wrap(WrapSettings(str(tmp_path), str(tmp_path / "a.mkv"), Fraction(1200)))
    with pytest.raises(ConfigError, match=r"\.mkv"):
        wrap(WrapSettings(str(tmp_path), str(tmp_path / "a.mp4"), RATE))


def test_pictures_unlike_the_first_are_named(tmp_path: Path) -> None:
    gray_tiffs(tmp_path, [1, 2])
    tiff(tmp_path / "reel.0003.tif", codes(32, 48, 16))
    failing(tmp_path, r"reel\.0003\.tif: 48x32, 16 bit instead of 49x32, 16 bit")
    tiff(tmp_path / "reel.0003.tif", codes(32, 49, 8))
    failing(tmp_path, r"reel\.0003\.tif: 49x32, 8 bit instead of 49x32, 16 bit")
    (tmp_path / "reel.0003.tif").write_bytes(b"")
    failing(tmp_path, r"reel\.0003\.tif: is empty")
    whole = (tmp_path / "reel.0002.tif").read_bytes()
    (tmp_path / "reel.0003.tif").write_bytes(whole[:-500])
    failing(tmp_path, r"reel\.0003\.tif: is truncated")


def failing(folder: Path, words: str) -> None:
    with pytest.raises(MediaError, match=words):
        wrap(WrapSettings(str(folder), str(folder / "reel.mkv"), RATE))
    assert sorted(p.suffix for p in folder.iterdir()) == [".tif"] * 3


def test_sound_is_copied_and_bytes_repeat(tmp_path: Path) -> None:
    gray_tiffs(tmp_path, [1, 2, 3])
    samples = np.random.default_rng(0).integers(-999, 999, (6000, 2)).astype("<i2").tobytes()
    with wave.open(str(tmp_path / "reel.wav"), "wb") as sound:
        sound.setnchannels(2), sound.setsampwidth(2), sound.setframerate(48000)
        sound.writeframes(samples)
    settings = WrapSettings(str(tmp_path), str(tmp_path / "a.mkv"), RATE, "10:00:00:00", str(tmp_path / "reel.wav"))
    first = wrap(settings)
    second = wrap(WrapSettings(str(tmp_path), str(tmp_path / "b.mkv"), RATE, "10:00:00:00", str(tmp_path / "reel.wav")))
    assert Path(first.out).read_bytes() == Path(second.out).read_bytes()
    # 6000 samples are 3 frames; a rate of 48 makes them 6
    assert not any("sound" in warning for warning in first.warnings)
    fast = wrap(WrapSettings(str(tmp_path), str(tmp_path / "c.mkv"), Fraction(48), audio=str(tmp_path / "reel.wav")))
    assert any("sound ends 3 frames after the picture" in warning for warning in fast.warnings)
    assert [(t.codec, t.channels, t.rate) for t in probe(first.out).audio] == [("pcm_s16le", 2, 48000)]
    assert ffprobe(first.out, "stream_tags=TIMECODE").strip() == "10:00:00:00"


def test_the_same_command_again_proves_and_keeps(tmp_path: Path) -> None:
    gray_tiffs(tmp_path, [1, 2, 3])
    settings = WrapSettings(str(tmp_path), str(tmp_path / "a.mkv"), RATE)
    wrap(settings)
    before = (tmp_path / "a.mkv").stat().st_mtime_ns
    seen: list[tuple[str, int, int]] = []
    assert wrap(settings, lambda *at: seen.append(at)).reused
    assert (tmp_path / "a.mkv").stat().st_mtime_ns == before
    assert seen == [("proved", 1, 3), ("proved", 2, 3), ("proved", 3, 3)]
    with pytest.raises(StoreError, match="in another way"):
        wrap(WrapSettings(str(tmp_path), str(tmp_path / "a.mkv"), Fraction(25)))
    tiff(tmp_path / "reel.0002.tif", codes(32, 49, 16, 99))
    with pytest.raises(VerifyError, match=r"reel\.0002\.tif: changed"):
        wrap(settings)


def test_a_film_that_is_not_ours_or_was_changed_is_left_alone(tmp_path: Path) -> None:
    gray_tiffs(tmp_path, [1, 2])
    settings = WrapSettings(str(tmp_path), str(tmp_path / "a.mkv"), RATE)
    (tmp_path / "a.mkv").write_bytes(b"somebody's")
    with pytest.raises(StoreError, match="no sidecar"):
        wrap(settings)
    assert (tmp_path / "a.mkv").read_bytes() == b"somebody's"
    (tmp_path / "a.mkv").unlink()
    wrap(settings)
    data = bytearray((tmp_path / "a.mkv").read_bytes())
    data[-100] ^= 1
    (tmp_path / "a.mkv").write_bytes(data)
    with pytest.raises(StoreError, match="not those that were written"):
        wrap(settings)


def test_a_film_with_other_samples_does_not_pass_the_proof(tmp_path: Path) -> None:
    gray_tiffs(tmp_path / "scans", [1, 2])
    settings = WrapSettings(str(tmp_path / "scans"), str(tmp_path / "a.mkv"), RATE)
    told = wrap(settings).told
    (tmp_path / "others").mkdir()
    for number, seed in ((1, 1), (2, 2)):
        picture = codes(32, 49, 16, seed)
        picture[5, 6] ^= 256 * (number - 1)
        tiff(tmp_path / "others" / f"reel.{number:04d}.tif", picture)
    forged = wrap(WrapSettings(str(tmp_path / "others"), str(tmp_path / "b.mkv"), RATE))
    (tmp_path / "a.mkv").write_bytes((tmp_path / "b.mkv").read_bytes())
    sidecar = (tmp_path / "a.sequence.json").read_text().replace(told.film_sha256, forged.told.film_sha256)
    (tmp_path / "a.sequence.json").write_text(sidecar)
    with pytest.raises(VerifyError, match=r"frame 1: 1 samples differ from .*reel\.0002\.tif"):
        wrap(settings)


def test_from_and_to_an_object_store(tmp_path: Path) -> None:
    pictures = gray_tiffs(tmp_path, [7, 8])
    store = fsspec.filesystem("memory")
    for path in tmp_path.glob("*.tif"):
        store.pipe_file(f"/scans/{path.name}", path.read_bytes())
    done = wrap(WrapSettings("memory://scans/reel.####.tif", "memory://films/reel.mkv", RATE))
    assert np.array_equal(luma_of("memory://films/reel.mkv"), np.stack(pictures))
    assert store.exists("/films/reel.sequence.json")
    assert wrap(WrapSettings("memory://scans", "memory://films/reel.mkv", RATE)).reused
    assert done.told.pictures[0].file == "reel.0007.tif"


def test_the_command(tmp_path: Path) -> None:
    gray_tiffs(tmp_path, [1, 2, 4])
    arguments = ["wrap", str(tmp_path), "--rate", "24", "--out", str(tmp_path / "a.mkv")]
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 3 and "missing 0003" in refused.output
    done = CliRunner().invoke(app, [*arguments, "--gaps", "keep"])
    assert done.exit_code == 0 and "reel.1-2,4####.tif, missing 0003: 3 frames, 16 bit, 0 differing samples" in done.output
    again = CliRunner().invoke(app, [*arguments, "--gaps", "keep", "--json"])
    assert json.loads(again.stdout)["reused"] is True
