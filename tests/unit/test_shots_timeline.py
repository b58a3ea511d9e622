from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path

import opentimelineio as otio
import pytest

from dvcp.errors import ShotListError
from dvcp.shots.timeline import Shot, ShotList, from_cuts, read_shots, write_shots
from dvcp.store import files
from dvcp.timing import Span

FORMATS = ("otio", "edl", "csv", "json")
RATES = (Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(60000, 1001), Fraction(18), Fraction(28734177, 1000003))


def random_list(seed: int) -> ShotList:
    draw = random.Random(seed)
    frames = draw.choice([1, 7, 500, 200_000, 3_000_000])
    cuts = sorted(draw.sample(range(1, frames), min(frames - 1, draw.randrange(40))))
    plain = from_cuts("s3://vault/reel 1/fílm.mov", draw.choice(RATES), frames, cuts)
    keyed = tuple(Shot(s.number, s.span, draw.choice([None, draw.randrange(s.span.first, s.span.stop)])) for s in plain.shots)
    return ShotList(plain.source, plain.rate, plain.frames, keyed)


def small(rate: Fraction = Fraction(30000, 1001)) -> ShotList:
    return from_cuts("film.mov", rate, 3000, [100, 1830, 2000])


def reread(text: str | bytes, path: Path, frames: int = 3000, rate: Fraction = Fraction(30000, 1001)) -> ShotList:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_shots(str(path), frames, rate, "film.mov")


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("seed", range(25))
def test_every_format_gives_back_the_list_it_was_given(tmp_path: Path, extension: str, seed: int) -> None:
    shots = random_list(seed)
    url = str(tmp_path / "new folder" / f"film.{extension.upper() if seed % 2 else extension}")
    write_shots(shots, url)
    assert read_shots(url, shots.frames, shots.rate, shots.source) == shots


@pytest.mark.parametrize("extension", FORMATS)
def test_lists_live_on_object_stores(store_url: str, extension: str) -> None:
    url = files.join(store_url, f"film.{extension}")
    write_shots(small(), url)
    assert read_shots(url, 3000, small().rate, "film.mov") == small()


@pytest.mark.parametrize("extension", FORMATS)
def test_byte_order_mark_crlf_and_blank_lines_change_nothing(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"film.{extension}"
    write_shots(small(), str(path))
    text = path.read_text().rstrip().replace("\n", "  \r\n") + "\r\n\r\n"
    assert reread(b"\xef\xbb\xbf" + text.encode(), path) == small()


@pytest.mark.parametrize("extension", FORMATS)
def test_a_list_for_another_film_is_refused(tmp_path: Path, extension: str) -> None:
    url = str(tmp_path / f"film.{extension}")
    write_shots(small(), url)
    for frames in (2999, 3001):
        with pytest.raises(ShotListError, match=f"ends with frame 2999.*last frame is {frames - 1}") as caught:
            read_shots(url, frames, small().rate, "film.mov")
        assert caught.value.file == url and caught.value.shot == 4


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([(0, 10), (12, 20)], r"shot 2: starts with frame 12, which leaves frames 10 to 11 in no shot \(end shot 1 with frame 11"),
        ([(0, 10), (8, 20)], r"shot 2: starts with frame 8, which overlaps .*start shot 2 with frame 10"),
        ([(1, 20)], r"shot 1: starts with frame 1"),
        ([(0, 19)], r"last frame is 19"),
        ([], r"holds no shot"),
    ],
)
def test_a_list_that_does_not_cover_the_film_says_which_shot(spans: list[tuple[int, int]], message: str) -> None:
    with pytest.raises(ShotListError, match=message):
        ShotList("film.mov", Fraction(25), 20, tuple(Shot(k, Span(*span)) for k, span in enumerate(spans, 1)))


def test_a_key_frame_outside_its_shot_is_refused_and_wrong_numbers_too() -> None:
    with pytest.raises(ShotListError, match="key frame 20"):
        ShotList("film.mov", Fraction(25), 20, (Shot(1, Span(0, 20), 20),))
    with pytest.raises(ShotListError, match="number 2 where 1"):
        ShotList("film.mov", Fraction(25), 20, (Shot(2, Span(0, 20)),))


def test_shot_at_agrees_with_the_spans() -> None:
    shots = small()
    for frame in (0, 99, 100, 1829, 1830, 1999, 2000, 2999):
        assert frame in shots.shot_at(frame).span
    for frame in (-1, 3000):
        with pytest.raises(ShotListError, match="0 to 2999"):
            shots.shot_at(frame)


def test_digest_follows_the_cuts_only() -> None:
    moved = from_cuts("s3://elsewhere/film.mov", Fraction(25), 3000, [100, 1830, 2000])
    keyed = ShotList("film.mov", small().rate, 3000, (Shot(1, Span(0, 100), 7), *small().shots[1:]))
    assert moved.digest() == keyed.digest() == small().digest()
    assert from_cuts("film.mov", small().rate, 3000, [101, 1830, 2000]).digest() != small().digest()
    assert from_cuts("film.mov", small().rate, 3001, [100, 1830, 2000]).digest() != small().digest()


def test_csv_from_a_spreadsheet(tmp_path: Path) -> None:
    merged = "First ;LAST; Shot\r\n1830; 1999;3\r\n\r\n;;\r\n0;1829;1\r\n2000;2999;4\r\n"
    for data in (merged.encode(), merged.replace(";", "\t").encode("utf-16")):
        assert [s.span for s in reread(data, tmp_path / "a.csv").shots] == [Span(0, 1830), Span(1830, 2000), Span(2000, 3000)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shot,first,last\n1,0,99\n2,a hundred,2999\n", "row 3: first is 'a hundred'"),
        ("shot,first,last\n1,0\n", "row 2: last is ''"),
        ("shot,first\n1,0\n", "no column 'last'"),
        ("", "no column 'first'"),
        ("shot,first,last\n", "holds no shot"),
        ("first,last\n0,99\n100,50\n", "shot 2: runs from frame 100 to 50"),
    ],
)
def test_csv_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ShotListError, match=message):
        reread(text, tmp_path / "a.csv")


def test_key_left_outside_by_an_edit_is_dropped(tmp_path: Path) -> None:
    shots = reread("first,last,key\n0,49,70\n50,2999,60\n", tmp_path / "a.csv").shots
    assert [shot.key for shot in shots] == [None, 60]


@pytest.mark.parametrize("text", ["{", "[]", '{"shots": 3}', '{"shots": [{"first": 0}]}', '{"shots": [{"first": 0, "last": 9.5}]}'])
def test_json_mistakes_are_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(ShotListError, match=str(tmp_path)):
        reread(text, tmp_path / "a.json")


def test_edl_counts_timecode_at_the_nominal_rate(tmp_path: Path) -> None:
    url = tmp_path / "film.edl"
    write_shots(small(), str(url))
    lines = url.read_text().splitlines()
    assert lines[:2] == ["TITLE: film.mov", "FCM: NON-DROP FRAME"]
    assert lines[3] == "001  AX       V     C        00:00:00:00 00:00:03:10 00:00:00:00 00:00:03:10"
    assert all(len(line) < 90 for line in lines)


def test_edl_of_an_editing_program(tmp_path: Path) -> None:
    text = """TITLE: REEL 1
FCM: DROP FRAME

001  TAPE01 V     C        10:00:59;28 10:01:00;02 01:00:00;00 01:00:00;02
002  TAPE01 A     C        10:00:59;28 10:01:00;02 01:00:00;00 01:00:00;02
002  TAPE01 V     C        10:01:00;02 10:01:00;02 01:00:00;02 01:00:00;02
002  TAPE01 V     D    012 10:01:00;02 10:01:04;00 01:00:00;02 01:00:04;00
* FROM CLIP NAME: film.mov
003  TAPE01 AA/V  C        10:01:04;00 10:02:00;02 01:00:04;00 01:01:00;02
"""
    # 10:00:59;28 is followed by ;29 and then by 10:01:00;02, so the first source range holds 2 frames too.
    shots = reread(text, tmp_path / "a.edl", 1800)
    assert [s.span for s in shots.shots] == [Span(0, 2), Span(2, 120), Span(120, 1800)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("001  AX  V  C  00:00:00:00 00:00:00:30 00:00:00:00 00:00:00:30", "line 1: no such timecode at 30"),
        ("001  AX  V  C  00:00:00:00 00:00:01:00", "line 1 is no event"),
        ("001  AX  A  C  00:00:00:00 00:00:01:00 00:00:00:00 00:00:01:00", "no picture event"),
    ],
)
def test_edl_mistakes_are_named(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(ShotListError, match=message):
        reread(line + "\n", tmp_path / "a.edl")


def test_shots_moved_or_taken_out_are_noticed(tmp_path: Path) -> None:
    write_shots(small(), str(tmp_path / "a.edl"))
    text = (tmp_path / "a.edl").read_text()
    # Shot 2 taken out and the gap closed: the list would be the right length for a shorter film.
    first, second = "00:01:01:00 00:01:06:20 00:01:01:00 00:01:06:20", "00:01:01:00 00:01:06:20 00:00:03:10 00:00:09:00"
    assert first in text
    with pytest.raises(ShotListError, match="shot 3: shows other frames"):
        reread(text.replace(first, second), tmp_path / "a.edl")


def test_otio_edited_in_another_program(tmp_path: Path) -> None:
    path = tmp_path / "a.otio"
    write_shots(small(), str(path))
    timeline = otio.adapters.read_from_file(str(path))
    track = timeline.video_tracks()[0]
    rate = track[0].source_range.duration.rate
    assert rate == pytest.approx(30000 / 1001)
    assert track[1].media_reference.target_url == "film.mov"
    # The film gets the timecode of its tape, shots 1 and 2 are merged.
    hour = otio.opentime.RationalTime(108_000, rate)
    del track[1]
    for clip in track:
        clip.source_range = otio.opentime.TimeRange(clip.source_range.start_time + hour, clip.source_range.duration)
    track[0].source_range = otio.opentime.TimeRange(hour, otio.opentime.RationalTime(1830, rate))
    otio.adapters.write_to_file(timeline, str(path))
    shots = read_shots(str(path), 3000, small().rate, "film.mov").shots
    assert [shot.span for shot in shots] == [Span(0, 1830), Span(1830, 2000), Span(2000, 3000)]


def test_otio_with_a_hole_another_rate_or_no_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.otio"
    write_shots(small(), str(path))
    with pytest.raises(ShotListError, match="frames a second"):
        read_shots(str(path), 3000, Fraction(25), "film.mov")
    timeline = otio.adapters.read_from_file(str(path))
    track = timeline.video_tracks()[0]
    track[1] = otio.schema.Gap(source_range=track[1].source_range)
    otio.adapters.write_to_file(timeline, str(path))
    with pytest.raises(ShotListError, match="leaves frames 100 to 1829 in no shot"):
        read_shots(str(path), 3000, small().rate, "film.mov")
    for text in ("{", otio.schema.Clip("x").to_json_string(), otio.schema.Timeline("x").to_json_string()):
        with pytest.raises(ShotListError, match=r"a\.otio"):
            reread(text, path)


def test_missing_file_and_unknown_extension(tmp_path: Path) -> None:
    with pytest.raises(ShotListError, match="no such shot list"):
        read_shots(str(tmp_path / "none.csv"), 10, Fraction(25), "film.mov")
    for use in (lambda url: read_shots(url, 10, Fraction(25), "film.mov"), lambda url: write_shots(small(), url)):
        with pytest.raises(ShotListError, match=r"\.otio, \.edl, \.csv, \.json"):
            use(str(tmp_path / "list.xml"))


STARTS = {
    "01:00:00:00": Fraction(25), "10:00:00;00": Fraction(30000, 1001), "23:59:30;02": Fraction(60000, 1001), "09:58:59:23": Fraction(24),
}  # fmt: skip


@pytest.mark.parametrize("extension", ["otio", "edl"])
@pytest.mark.parametrize("start", STARTS)
def test_lists_with_the_films_own_timecode_give_back_the_same_frames(tmp_path: Path, extension: str, start: str) -> None:
    shots = from_cuts("reel.mov", STARTS[start], 200_000, [1, 1798, 1800, 1801, 17_982, 107_892])
    url = str(tmp_path / f"reel.{extension}")
    write_shots(shots, url, start)
    assert read_shots(url, shots.frames, shots.rate, shots.source) == shots


def test_edl_and_otio_begin_where_the_film_does(tmp_path: Path) -> None:
    shots = from_cuts("reel.mov", Fraction(30000, 1001), 4000, [1800])
    write_shots(shots, f"{tmp_path}/reel.edl", "00:59:00;02")
    edl = (tmp_path / "reel.edl").read_text()
    assert "FCM: DROP FRAME" in edl and "00:59:00;02 01:00:00;02 00:59:00;02 01:00:00;02" in edl
    write_shots(shots, f"{tmp_path}/reel.otio", "00:59:00;02")
    timeline = otio.adapters.read_from_file(f"{tmp_path}/reel.otio")
    assert otio.opentime.to_timecode(timeline.global_start_time, 30000 / 1001, True) == "00:59:00;02"
    clip = timeline.video_tracks()[0][1]
    assert clip.source_range.start_time.value == timeline.global_start_time.value + 1800


def test_an_edl_across_midnight(tmp_path: Path) -> None:
    shots = from_cuts("reel.mov", Fraction(25), 500, [100, 300])
    write_shots(shots, f"{tmp_path}/reel.edl", "23:59:56:00")
    assert "00:00:00:00 00:00:08:00" in (tmp_path / "reel.edl").read_text()
    assert read_shots(f"{tmp_path}/reel.edl", 500, shots.rate, "reel.mov") == shots


def test_a_timecode_the_rate_cannot_have_is_logged_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_shots(from_cuts("reel.mov", Fraction(25), 500, []), f"{tmp_path}/reel.edl", "01:00:00;00")
    assert "start timecode left out" in caplog.text
    assert "00:00:00:00 00:00:20:00" in (tmp_path / "reel.edl").read_text()


def test_an_edl_with_a_label_that_drop_frame_skips_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ShotListError, match="line 2: drop-frame skips"):
        reread("FCM: DROP FRAME\n001 AX V C 00:01:00;00 00:02:00;02 00:01:00;00 00:02:00;02\n", tmp_path / "a.edl")


@pytest.mark.parametrize(
    "damage",
    [b'{"OTIO_SCHEMA": "Timeline.1", "metadata": {],', b"{]", b'{"OTIO_SCHEMA":', b"\x00", b"",
     b'{"OTIO_SCHEMA": "Timeline.1", "tracks": null}',
     b'{"OTIO_SCHEMA": "Timeline.1", "tracks": {"OTIO_SCHEMA": "Stack.1", "children": 3}}'],
)  # fmt: skip
def test_otio_that_cannot_be_parsed_is_refused_and_does_not_end_the_process(tmp_path: Path, damage: bytes) -> None:
    with pytest.raises(ShotListError, match=r"not valid|no video track"):
        reread(damage, tmp_path / "a.otio")
