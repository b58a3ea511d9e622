from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dvcp.errors import MediaError
from dvcp.media import reader as reader_module
from dvcp.media.probe import probe
from dvcp.media.reader import FrameReader, windows
from dvcp.timing import Span
from tests.unit.media_clips import damage, make_film, noise, packet_places, ramp

B_FRAMES = {"bf": "3", "b-adapt": "0", "b-pyramid": "normal", "g": "24"}


@pytest.mark.parametrize("pix_fmt, depth, size", [
    ("yuv420p", 8, (48, 854)), ("yuv420p", 8, (33, 47)), ("yuv422p10le", 10, (33, 47)), ("gray", 8, (33, 47)),
    ("gray10le", 10, (33, 47)), ("yuv444p16le", 16, (8, 9)), ("yuv411p", 8, (9, 21)),
])  # fmt: skip
def test_luma_is_native_and_exact(tmp_path: Path, pix_fmt: str, depth: int, size: tuple[int, int]) -> None:
    wanted = noise(3, *size, depth)
    info = probe(make_film(tmp_path / "a.mkv", wanted, pix_fmt=pix_fmt))
    with FrameReader(info) as reader:
        found = reader.luma(Span(0, 3))
        luma, chroma = reader.planes(Span(0, 3))
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(luma, wanted)
    assert found.flags.c_contiguous and found.flags.owndata and found.dtype == wanted.dtype
    assert chroma.shape == (3, 2, *info.colour.chroma_shape(*size))
    if info.gray:
        assert (chroma == 1 << (depth - 1)).all()
    else:
        assert len(np.unique(chroma)) > 1


@pytest.mark.parametrize("full", [1, 2])
def test_range_tags_never_change_samples(tmp_path: Path, full: int) -> None:
    wanted = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    info = probe(make_film(tmp_path / "r.mkv", wanted, pix_fmt="gray", tags={"color_range": full}))
    with FrameReader(info) as reader:
        np.testing.assert_array_equal(reader.luma(Span(0, 1)), wanted)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "h264"])
def test_any_order_gives_what_sequential_reading_gives(tmp_path: Path, suffix: str) -> None:
    info = probe(make_film(tmp_path / f"b.{suffix}", ramp(90, 48, 64), codec="libx264", options=B_FRAMES))
    with FrameReader(info) as reader:
        whole = reader.luma(Span(0, 90))
    assert len({frame.tobytes() for frame in whole}) == 90, "frames look alike, so order is not tested"
    with FrameReader(info) as reader:
        for first in [70, 3, 89, 40, 41, 0, 55, 24, 23, 25]:
            stop = min(first + 4, 90)
            np.testing.assert_array_equal(reader.luma(Span(first, stop)), whole[first:stop], err_msg=f"span from {first}")


def test_vfr_frames_are_found_by_pts(tmp_path: Path) -> None:
    pts = list(itertools.accumulate([0, 1, 100, 2, 3000, 1, 1, 40, 90000, 7]))
    wanted = noise(10, 32, 32)
    info = probe(make_film(tmp_path / "v.mp4", wanted, codec="libx264", pix_fmt="yuv444p", options={"qp": "0"}, pts=pts,
                           timebase=Fraction(1, 90000)))  # fmt: skip
    with FrameReader(info) as reader:
        for k in (9, 4, 0, 7):
            np.testing.assert_array_equal(reader.luma(Span(k, k + 1))[0], wanted[k])


def test_sequential_spans_do_not_seek(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = probe(make_film(tmp_path / "s.mkv", noise(40, 16, 16)))
    seeks: list[int] = []
    original = FrameReader._seek
    monkeypatch.setattr(FrameReader, "_seek", lambda self, number, *a, **k: (seeks.append(number), original(self, number, *a, **k))[1])
    with FrameReader(info) as reader:
        for first in range(0, 40, 8):
            reader.luma(Span(first, first + 8))
    assert seeks == []


def test_windows_forward_and_backward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = probe(make_film(tmp_path / "w.mp4", ramp(30, 48, 64), codec="libx264", options=B_FRAMES))
    with FrameReader(info) as reader:
        whole = reader.luma(Span(0, 30))
    monkeypatch.setattr(reader_module, "BACKWARD_BYTES", 12 * 48 * 64)
    spans = [Span(0, 8), Span(8, 16), Span(16, 24), Span(24, 30)]
    forward, backward = list(windows(info, spans)), list(windows(info, spans[::-1], backward=True))
    assert [s for s, _ in forward] == spans and [s for s, _ in backward] == spans[::-1]
    np.testing.assert_array_equal(np.concatenate([w for _, w in forward]), whole)
    np.testing.assert_array_equal(np.concatenate([w for _, w in backward]), whole[::-1])
    assert all(w.flags.c_contiguous for _, w in backward)


def test_a_damaged_frame_is_named_and_the_others_still_read(tmp_path: Path) -> None:
    wanted = noise(12, 48, 64)
    path = make_film(tmp_path / "d.mkv", wanted, options={"level": "3", "g": "1", "slicecrc": "1"})
    damage(path, 5)
    info = probe(path)
    assert len(info.frames) == 12
    with FrameReader(info) as reader:
        with pytest.raises(MediaError, match="frame 5") as caught:
            reader.luma(Span(4, 8))
        assert caught.value.frame == 5 and caught.value.file == path
        np.testing.assert_array_equal(reader.luma(Span(6, 12)), wanted[6:])
        np.testing.assert_array_equal(reader.luma(Span(0, 5)), wanted[:5])


@pytest.mark.parametrize("damaged, asked", [
    ([0], 0), ([0, 1], 0), ([0, 1, 2], 1), ([5, 6, 7], 5), ([20, 21], 20), ([20, 21], 21), ([23], 23),
])  # fmt: skip
def test_ffv1_damage_is_found_wherever_reading_begins(tmp_path: Path, damaged: list[int], asked: int) -> None:
    wanted = noise(24, 48, 64)
    path = make_film(tmp_path / "d.mkv", wanted, options={"level": "3", "g": "1", "slicecrc": "1"})
    places = packet_places(path)
    with open(path, "r+b") as file:
        for number in damaged:
            position, size = places[number]
            file.seek(position + size // 2)
            file.write(b"\xa5" * 40)
    info = probe(path)
    with FrameReader(info) as reader:
        for number in (asked, *damaged, *reversed(damaged)):
            with pytest.raises(MediaError, match=f"frame {number}: .*checksum"):
                reader.luma(Span(number, number + 1))
        for number in sorted(set(range(24)) - set(damaged), key=lambda k: -k):
            np.testing.assert_array_equal(reader.luma(Span(number, number + 1))[0], wanted[number])


def test_ffv1_frames_that_build_on_a_damaged_one_are_not_returned(tmp_path: Path) -> None:
    wanted = ramp(12, 48, 64)
    path = make_film(tmp_path / "g.mkv", wanted, options={"level": "3", "g": "4", "slicecrc": "1"})
    damage(path, 5)
    with FrameReader(probe(path)) as reader:
        for number in (5, 6, 7):
            with pytest.raises(MediaError, match=f"frame {number}: "):
                reader.luma(Span(number, number + 1))
        for span in (Span(8, 12), Span(0, 5)):
            np.testing.assert_array_equal(reader.luma(span), wanted[span.first : span.stop])


def test_ffv1_without_checksums_is_read(tmp_path: Path) -> None:
    wanted = noise(4, 48, 64)
    for level in ("1", "3"):
        info = probe(make_film(tmp_path / f"{level}.mkv", wanted, options={"level": level, "slicecrc": "0"}))
        with FrameReader(info) as reader:
            np.testing.assert_array_equal(reader.luma(Span(0, 4)), wanted)


def test_a_picture_that_changes_size_is_refused(tmp_path: Path) -> None:
    small = make_film(tmp_path / "s.h264", ramp(4, 48, 64), codec="libx264")
    large = make_film(tmp_path / "l.h264", ramp(4, 64, 96), codec="libx264")
    both = tmp_path / "both.h264"
    both.write_bytes(Path(small).read_bytes() + Path(large).read_bytes())
    info = probe(str(both))
    with FrameReader(info) as reader, pytest.raises(MediaError, match="picture changes from 64x48") as caught:
        reader.luma(Span(0, len(info.frames)))
    assert caught.value.frame == 4


def test_a_span_beyond_the_film_is_a_programming_error(tmp_path: Path) -> None:
    info = probe(make_film(tmp_path / "e.mkv", noise(3, 16, 16)))
    with FrameReader(info) as reader, pytest.raises(ValueError, match="beyond the film's 3 frames"):
        reader.luma(Span(2, 4))
