"""What holds for every film, shot list, plane and key: tried with many, the same ones each time the same modules are loaded."""

from __future__ import annotations

import json
import tempfile
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from av.video.frame import VideoFrame
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dvcp.colour import (
    COEFFICIENTS,
    ColourSpec,
    chroma_to_unit,
    luma_to_unit,
    rgb_to_ycbcr,
    subsample_chroma,
    unit_to_chroma,
    unit_to_luma,
    upsample_chroma,
    ycbcr_to_rgb,
)
from dvcp.errors import DvcpError, ShotListError
from dvcp.media.pixels import GRIDS, layout_of, plane_view, yuv_name
from dvcp.media.probe import VideoInfo, probe
from dvcp.media.profiles import MASTER
from dvcp.media.reader import FrameReader
from dvcp.media.writer import SegmentWriter
from dvcp.shots import formats
from dvcp.shots.names import place_of, still_name
from dvcp.shots.timeline import Shot, ShotList, from_cuts, read_shots, write_shots
from dvcp.store.ledger import SegmentIdentity
from dvcp.timing import FrameTable, Span
from tests.unit.media_clips import make_film, ramp

settings.register_profile("dvcp", max_examples=60, deadline=None, derandomize=True)
settings.load_profile("dvcp")

NUMBERS = st.integers(0, 1 << 40)
RATES = st.builds(Fraction, st.integers(1, 240_000), st.integers(1, 1001))
HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
#: names that archives give to films
TITLES = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters="/\\"), min_size=1, max_size=20)

#: what an editor's hand or program leaves in a list
WORDS = (b"-1", b"1e9", b"NaN", b"null", b"\xff\xfe", b'"', b",,,", b"9" * 30, b"\n", "é".encode(), b"{}", b"[]", b"00:00:00:99")


@st.composite
def spans(draw: st.DrawFn) -> Span:
    first = draw(NUMBERS)
    return Span(first, first + draw(st.integers(1, 1 << 20)))


@st.composite
def tables(draw: st.DrawFn) -> FrameTable:
    steps = draw(st.lists(st.integers(1, 1 << 30), min_size=0, max_size=40))
    pts = draw(st.integers(-(1 << 40), 1 << 40)) + np.cumsum([0, *steps])
    timebase = draw(st.builds(Fraction, st.integers(1, 1001), st.integers(1, 1_000_000_000)))
    return FrameTable(timebase, pts.astype(np.int64), draw(st.integers(1, 1 << 30)))


@st.composite
def shot_lists(draw: st.DrawFn) -> ShotList:
    count = draw(st.integers(1, 2_000_000))
    cuts = sorted(draw(st.sets(st.integers(1, count - 1), max_size=12))) if count > 1 else []
    plain = from_cuts("reels/" + draw(TITLES) + ".mkv", draw(RATES), count, cuts)
    keys = [draw(st.none() | st.integers(s.span.first, s.span.stop - 1)) for s in plain.shots]
    return replace(plain, shots=tuple(replace(shot, key=key) for shot, key in zip(plain.shots, keys, strict=True)))


@st.composite
def specs(draw: st.DrawFn) -> ColourSpec:
    grid = draw(st.sampled_from(sorted(GRIDS.values())))
    return ColourSpec(draw(st.sampled_from(sorted(COEFFICIENTS))), draw(st.booleans()), draw(st.integers(8, 16)), grid)  # type: ignore[arg-type]


def samples(spec: ColourSpec, seed: int, *shape: int) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, 1 << spec.depth, shape).astype(spec.dtype)


# Time


@given(spans(), st.integers(-3, 1 << 41))
def test_a_span_holds_its_frames_and_no_other(span: Span, frame: int) -> None:
    assert len(span) == span.stop - span.first >= 1
    assert (frame in span) == (span.first <= frame < span.stop)
    assert span.first in span and span.stop not in span and span.stop - 1 in span
    if len(span) < 1000:
        assert list(span) == list(range(span.first, span.stop))


@given(st.integers(-100, 100), st.integers(-100, 100))
def test_a_span_is_never_empty_nor_negative(first: int, stop: int) -> None:
    if 0 <= first < stop:
        assert Span(first, stop) < Span(first, stop + 1) < Span(first + 1, stop + 1)
    else:
        with pytest.raises(ValueError, match="empty or negative"):
            Span(first, stop)


@given(tables(), st.data())
def test_a_frame_is_found_by_its_pts_alone(table: FrameTable, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(table) - 1))
    pts = int(table.pts[number])
    assert table.frame_at(pts) == number
    other = data.draw(st.integers(int(table.pts[0]) - 2, int(table.pts[-1]) + 2))
    if other in table.pts:
        assert int(table.pts[table.frame_at(other)]) == other
    else:
        with pytest.raises(KeyError):
            table.frame_at(other)


@given(tables(), st.integers(-(1 << 40), 1 << 40))
def test_durations_and_rates_are_exact_and_move_with_no_clock(table: FrameTable, shift: int) -> None:
    assert table.rate() * table.duration() == len(table)
    parts = [*np.diff(table.pts).tolist(), table.last_duration]
    assert table.duration() == sum((part * table.timebase for part in parts), Fraction(0))
    moved = FrameTable(table.timebase, table.pts + shift, table.last_duration)
    assert moved.duration() == table.duration() and moved.rate() == table.rate()


# Shots


@pytest.mark.parametrize("kind", ["json", "csv", "edl", "otio"])
@settings(max_examples=25)
@given(shots=shot_lists())
def test_a_shot_list_comes_back_as_it_was(kind: str, shots: ShotList) -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = f"{folder}/list.{kind}"
        write_shots(shots, url)
        back = read_shots(url, shots.frames, shots.rate, shots.source)
        assert back == shots and back.digest() == shots.digest()
        write_shots(back, f"{folder}/again.{kind}")
        assert Path(url).read_bytes() == Path(f"{folder}/again.{kind}").read_bytes()


@given(shot_lists(), st.data())
def test_every_frame_lies_in_the_shot_that_is_told(shots: ShotList, data: st.DataObject) -> None:
    frame = data.draw(st.integers(0, shots.frames - 1))
    assert frame in shots.shot_at(frame).span
    for outside in (-1, shots.frames):
        with pytest.raises(ShotListError):
            shots.shot_at(outside)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=0, max_size=4), st.integers(1, 30))
def test_a_list_with_gaps_or_overlaps_is_never_taken(ranges: list[tuple[int, int]], frames: int) -> None:
    covered = [frame for first, last in ranges for frame in range(first, last + 1)]
    sound = covered == list(range(frames)) and all(first <= last for first, last in ranges)
    try:
        made = ShotList("a", Fraction(25), frames, tuple(Shot(k, Span(*sorted((a, b + 1)))) for k, (a, b) in enumerate(ranges, 1)))
    except (ShotListError, ValueError):
        assert not sound
    else:
        assert [frame for shot in made.shots for frame in shot.span] == list(range(frames))


@pytest.mark.parametrize("kind", ["json", "csv", "edl", "otio"])
@settings(max_examples=60)
@given(shots=shot_lists(), cut=st.tuples(st.floats(0, 1), st.integers(0, 30)), put=st.binary(max_size=9) | st.sampled_from(WORDS))
def test_a_damaged_shot_list_is_read_or_an_error_of_one_line(kind: str, shots: ShotList, cut: tuple[float, int], put: bytes) -> None:
    film = formats.Film(shots.source, shots.rate, shots.frames)
    rows = [formats.Row(shot.span.first, shot.span.stop - 1, shot.key) for shot in shots.shots]
    data = formats.of(f"a.{kind}").encode(rows, film)
    at = round(cut[0] * len(data))
    try:
        formats.of(f"a.{kind}").decode(data[:at] + put + data[at + cut[1] :], f"a.{kind}", film)
    except DvcpError as error:
        assert str(error).startswith(f"a.{kind}") and "\n" not in str(error)


def test_a_timeline_that_lacks_a_field_is_an_error_of_one_line() -> None:
    film = formats.Film("a.mkv", Fraction(25), 10)
    data = formats.of("a.otio").encode([formats.Row(0, 9)], film).replace(b"active_media_reference_key", b"active_media_reference")
    with pytest.raises(ShotListError, match="not valid OTIO"):
        formats.of("a.otio").decode(data, "a.otio", film)


@given(TITLES, st.integers(0, 99_999), st.integers(0, 99_999_999), st.sampled_from(["", "_painted", "_v2", " final", ".a"]))
def test_a_still_is_found_by_its_name(stem: str, shot: int, frame: int, behind: str) -> None:
    name = still_name(stem, shot, frame).removesuffix(".png") + behind
    place = place_of(name, stem)
    assert place is not None and (place.stem, place.shot, place.frame) == (stem, shot, frame)


# Planes


@given(specs(), st.integers(0, 1 << 16), st.integers(1, 9), st.integers(1, 9))
def test_samples_survive_unit_floats(spec: ColourSpec, seed: int, height: int, width: int) -> None:
    luma = samples(spec, seed, height, width)
    np.testing.assert_array_equal(unit_to_luma(luma_to_unit(luma, spec), spec), luma)
    zero, span = spec.chroma_scale()
    low, high = int(np.ceil(zero - span / 2)), int(min(zero + span / 2, (1 << spec.depth) - 1))
    chroma = np.clip(samples(spec, seed, 2, height, width), low, high)
    np.testing.assert_array_equal(unit_to_chroma(chroma_to_unit(chroma, spec), spec), chroma)


@given(st.sampled_from(sorted(COEFFICIENTS)), st.integers(0, 1 << 16))
def test_rgb_and_back(matrix: Any, seed: int) -> None:
    rgb = np.random.default_rng(seed).random((7, 3))
    ycc = rgb_to_ycbcr(rgb, matrix)
    np.testing.assert_allclose(ycbcr_to_rgb(ycc, matrix), rgb, atol=1e-12)
    assert (ycc[:, 0] >= 0).all() and (ycc[:, 0] <= 1).all() and (np.abs(ycc[:, 1:]) <= 0.5 + 1e-12).all()
    gray = rgb_to_ycbcr(np.repeat(rgb[:, :1], 3, axis=1), matrix)
    np.testing.assert_allclose(gray[:, 1:], 0, atol=1e-12)


@given(specs(), st.integers(0, 1 << 16), st.integers(1, 33), st.integers(1, 33))
def test_a_chroma_grid_is_what_it_was_after_going_up_and_down(spec: ColourSpec, seed: int, height: int, width: int) -> None:
    grid = np.random.default_rng(seed).uniform(-0.5, 0.5, (2, *spec.chroma_shape(height, width))).astype(np.float32)
    wide = upsample_chroma(grid, height, width, spec)
    assert wide.shape == (2, height, width)
    np.testing.assert_allclose(subsample_chroma(wide, spec), grid, atol=1e-6)


def formats_of_planes() -> list[str]:
    """Pixel formats FFmpeg has for every grid and depth we claim, and gray."""
    names = []
    for depth in range(8, 17):
        for name in [*(yuv_name(depth, grid) for grid in GRIDS.values()), "gray" if depth == 8 else f"gray{depth}le"]:
            try:
                VideoFrame(16, 16, name)
            except ValueError:
                continue
            names.append(name)
    return names


FORMATS = formats_of_planes()


@pytest.mark.parametrize("pix_fmt", FORMATS)
@settings(max_examples=6)
@given(width=st.integers(1, 70), height=st.integers(1, 40), seed=st.integers(0, 1 << 16))
def test_a_plane_is_seen_without_the_padding_of_its_lines(pix_fmt: str, width: int, height: int, seed: int) -> None:
    layout = layout_of(pix_fmt)
    assert layout is not None
    spec = ColourSpec(depth=layout.depth, subsample=layout.subsample)
    frame = VideoFrame(width, height, pix_fmt)
    shapes = [(height, width)] + ([] if layout.gray else [spec.chroma_shape(height, width)] * 2)
    wanted = [samples(spec, seed + k, *shape) for k, shape in enumerate(shapes)]
    for k, plane in enumerate(wanted):
        plane_view(frame, k, layout.depth)[:] = plane
    for k, plane in enumerate(wanted):
        view = plane_view(frame, k, layout.depth)
        assert view.shape == plane.shape
        np.testing.assert_array_equal(view, plane)
        sample = np.dtype(spec.dtype).itemsize
        rows = bytes(frame.planes[k])[: plane.shape[1] * sample], plane[0].astype("<u2" if sample == 2 else np.uint8).tobytes()
        assert rows[0] == rows[1]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> VideoInfo:
    return probe(make_film(tmp_path_factory.mktemp("film") / "in.mkv", ramp(3, 16, 16)))


@pytest.mark.parametrize("depth", [8, 9, 10, 12, 14, 16])
@pytest.mark.parametrize("grid", ["420", "422", "444"])
@settings(max_examples=3)
@given(width=st.integers(8, 70), height=st.integers(8, 40), seed=st.integers(0, 1 << 16), full=st.booleans())
def test_the_master_keeps_every_bit_of_every_plane(
    film: VideoInfo, depth: int, grid: str, width: int, height: int, seed: int, full: bool
) -> None:
    spec = replace(film.colour, depth=depth, subsample=GRIDS[grid], full_range=full)
    info = replace(film, width=width, height=height, colour=spec)
    luma, chroma = samples(spec, seed, 3, height, width), samples(spec, seed + 1, 3, 2, *spec.chroma_shape(height, width))
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/out.mkv"
        with SegmentWriter(path, info, MASTER) as writer:
            writer.write(luma, chroma)
        written = probe(path)
        assert (written.colour.depth, written.colour.subsample, written.colour.full_range) == (depth, GRIDS[grid], full)
        with FrameReader(written) as reader:
            found = reader.planes(Span(0, 3))
    np.testing.assert_array_equal(found[0], luma)
    np.testing.assert_array_equal(found[1], chroma)


# Ledger keys


@st.composite
def identities(draw: st.DrawFn) -> SegmentIdentity:
    timebase = draw(st.builds(Fraction, st.integers(1, 1001), st.integers(1, 1_000_000)))
    references = draw(st.lists(st.tuples(st.none() | NUMBERS, HEX), max_size=4))
    pts, words = st.integers(-(1 << 62), 1 << 62), st.text(max_size=12)
    return SegmentIdentity(
        draw(HEX), draw(spans()), draw(spans()), draw(pts), draw(pts), timebase, tuple(references), draw(words), draw(words), draw(words)
    )


@given(identities())
def test_an_identity_comes_back_from_json_with_its_key(identity: SegmentIdentity) -> None:
    back = SegmentIdentity.from_json(json.loads(json.dumps(identity.to_json())))
    assert back == identity and back.key == identity.key


@given(identities(), identities())
def test_each_field_decides_the_key(one: SegmentIdentity, other: SegmentIdentity) -> None:
    assert (one.key == other.key) == (one == other)
    for name in (field.name for field in fields(SegmentIdentity)):
        mixed = replace(one, **{name: getattr(other, name)})
        assert (mixed.key == one.key) == (getattr(one, name) == getattr(other, name)), name


@given(identities())
def test_references_count_in_their_order(identity: SegmentIdentity) -> None:
    turned = replace(identity, references=identity.references[::-1])
    assert (turned.key == identity.key) == (turned.references == identity.references)


def test_a_key_is_the_same_in_every_version() -> None:
    references = ((None, "cd" * 32), (7, "é"))
    identity = SegmentIdentity("ab" * 32, Span(0, 99), Span(10, 20), -5, 400, Fraction(1001, 30000), references, "m", "p", "1")
    assert identity.key == "06413f64034db419ff59e2727f3ee26aae102493d1a95e4b281435f52d6642b1"
