"""What a pass over a film finds: each kind of shot told from the others, damage, and fields of different moments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dvcp.errors import MediaError, ReadFailed
from dvcp.media.probe import VideoInfo, probe
from dvcp.media.reader import FrameReader, damaged_luma
from dvcp.shots.survey import Kind, Survey, survey
from dvcp.timing import Span
from tests.films import scene, write_planes
from tests.unit.media_clips import damage, make_film, noise

FRAMES = 12
Planes = tuple[NDArray[Any], NDArray[Any]]


def neutral(luma: NDArray[Any]) -> NDArray[Any]:
    return np.full((len(luma), 2, luma.shape[1] // 2, luma.shape[2] // 2), 128, np.uint8)


def gray(seed: int = 10) -> Planes:
    luma, _ = scene(seed, FRAMES)
    return luma, neutral(luma)


def sepia(seed: int = 10) -> Planes:
    """Toned: the darker half of the scale has colour, with the noise of a tape."""
    luma, _ = scene(seed, FRAMES)
    shade = (luma[:, ::2, ::2] / 255.0) * (1 - luma[:, ::2, ::2] / 255.0)
    clean = np.stack([128 - 30 * shade, 128 + 22 * shade], axis=1)
    return luma, np.rint(clean + np.random.default_rng(1).normal(0, 3, clean.shape)).astype(np.uint8)


def leader() -> Planes:
    luma = np.full((FRAMES, 96, 128), 16, np.uint8) + np.random.default_rng(2).integers(0, 4, (FRAMES, 96, 128)).astype(np.uint8)
    return luma, neutral(luma)


def card() -> Planes:
    luma = np.full((FRAMES, 96, 128), 24, np.uint8)
    for row in (30, 48, 66):
        luma[:, row : row + 5, 20:108:2] = 210
    return luma, neutral(luma)


def woven(seed: int = 10) -> Planes:
    """Upper lines of one moment, lower lines of the next."""
    luma, _ = scene(seed, 2 * FRAMES)
    out = luma[::2].copy()
    out[:, 1::2] = luma[1::2, 1::2]
    return out, neutral(out)


def character(tmp_path: Path, planes: Planes, **changes: str) -> Any:
    info = replace(probe(str(write_planes(tmp_path / "film.mkv", *planes))), **changes)  # type: ignore[arg-type]
    return survey(info, cuts=False).character(Span(0, FRAMES), info)


def coloured() -> Planes:
    return scene(10, FRAMES)


@pytest.mark.parametrize(
    ("make", "kind"), [(gray, Kind.GRAY), (sepia, Kind.TINTED), (coloured, Kind.COLOUR), (leader, Kind.BLANK), (card, Kind.CARD)]
)
def test_kinds_of_shots(tmp_path: Path, make: Callable[[], Planes], kind: Kind) -> None:
    assert character(tmp_path, make()).kind is kind


def test_the_tint_of_a_print_is_told(tmp_path: Path) -> None:
    found = character(tmp_path, sepia())
    assert found.tint[0] < -0.01 and found.tint[1] > 0.01 and found.kind.wants_colour


@pytest.mark.parametrize("order", ["tt", "bb", "unknown"])
def test_fields_of_two_moments_are_seen_whatever_the_flag(tmp_path: Path, order: str) -> None:
    assert character(tmp_path, woven(), field_order=order).fields


def test_progressive_segments_of_interlaced_films_and_noise_stay_whole(tmp_path: Path) -> None:
    assert not character(tmp_path, gray(), field_order="tt").fields
    rough = noise(FRAMES, 96, 128)
    assert not character(tmp_path, (rough, neutral(rough)), field_order="unknown").fields


def test_what_is_flagged_progressive_is_believed(tmp_path: Path) -> None:
    assert not character(tmp_path, woven(), field_order="progressive").fields


def damaged_film(tmp_path: Path, frames: int = 20, packets: tuple[int, ...] = (4, 5, 11)) -> VideoInfo:
    luma, _ = scene(3, frames)
    path = make_film(tmp_path / "damaged.mkv", luma, options={"level": "3", "slicecrc": "1", "g": "1"})
    for packet in packets:
        damage(path, packet)
    return probe(path)


def test_damaged_frames_are_found_and_read_as_plain_gray(tmp_path: Path) -> None:
    info = damaged_film(tmp_path)
    found = survey(info)
    assert found.damaged == (4, 5, 11) and "frame 4" in found.trouble and found.cuts == ()
    with FrameReader(replace(info, damaged=found.damaged)) as reader:
        luma, chroma = reader.planes(Span(0, 20))
        bridged = reader.bridged(Span(3, 7), Span(0, 20))
        later = reader.bridged(Span(5, 6), Span(0, 20))
    assert (luma[[4, 5, 11]] == damaged_luma(info.colour)).all() and (chroma[[4, 5, 11]] == 128).all()
    assert np.array_equal(bridged[1], luma[3]) and np.array_equal(bridged[2], luma[3]) and np.array_equal(later[0], luma[3])


def test_a_first_frame_that_is_lost_is_bridged_from_behind(tmp_path: Path) -> None:
    info = replace(damaged_film(tmp_path, packets=(0,)), damaged=(0,))
    with FrameReader(info) as reader:
        assert np.array_equal(reader.bridged(Span(0, 2), Span(0, 20))[0], reader.luma(Span(1, 2))[0])


def test_nothing_is_bridged_across_a_cut(tmp_path: Path) -> None:
    info = replace(damaged_film(tmp_path), damaged=(4, 5, 11))
    with FrameReader(info) as reader:
        assert np.array_equal(reader.bridged(Span(4, 7), Span(4, 20))[0], reader.luma(Span(6, 7))[0])
        assert (reader.bridged(Span(11, 12), Span(11, 12)) == damaged_luma(info.colour)).all()


def test_combs_of_one_shot_do_not_reach_into_the_next(tmp_path: Path) -> None:
    first, second = woven(), gray(3)
    planes = np.concatenate([first[0][:9], second[0], second[0]]), np.concatenate([first[1][:9], second[1], second[1]])
    info = replace(probe(str(write_planes(tmp_path / "film.mkv", *planes))), field_order="tt")
    found = survey(info, cuts=False)
    assert found.character(Span(0, 9), info).fields and not found.character(Span(9, 33), info).fields


def test_h264_behind_damage_reads_the_same_from_everywhere_or_counts_as_damaged(tmp_path: Path) -> None:
    options = {"g": "12", "bf": "3", "b-adapt": "0", "preset": "veryfast"}
    for seed in range(6):
        path = make_film(tmp_path / f"{seed}.mp4", scene(3, 60)[0], codec="libx264", options=options)
        rng = np.random.default_rng(seed)
        for packet in rng.integers(5, 50, 2).tolist():
            damage(path, packet)
        info = probe(path)
        found = survey(info, cuts=False)
        sound = replace(info, damaged=found.damaged)
        with FrameReader(sound) as reader:
            through = reader.luma(Span(0, 60))
        for first in range(0, 60, 7):
            span = Span(first, min(60, first + 7))
            with FrameReader(sound) as reader:
                assert np.array_equal(reader.luma(span), through[span.first : span.stop]), (seed, first, found.damaged)


class Flaky:
    """A connection that breaks once, at the first read behind ``at``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        self.broken, whole = 0, FrameReader.planes

        def planes(reader: FrameReader, span: Span) -> Any:
            if not self.broken and at in span and len(span) == 1:
                self.broken += 1
                raise ReadFailed("cannot be read: connection lost", file="film", frame=at)
            if not self.broken and at in span:
                raise ReadFailed("cannot be read: connection lost", file="film", frame=at)
            return whole(reader, span)

        monkeypatch.setattr(FrameReader, "planes", planes)


def test_a_lost_connection_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = probe(str(write_planes(tmp_path / "film.mkv", *gray())))
    flaky = Flaky(monkeypatch, 5)
    assert survey(info, cuts=False).damaged == () and flaky.broken == 1


def test_a_film_of_which_little_is_left_is_refused(tmp_path: Path) -> None:
    info = damaged_film(tmp_path, 12, tuple(range(1, 12)))
    with pytest.raises(MediaError, match=r"only 1 of the first \d+ frames can be decoded"):
        survey(info)


def test_written_and_read(tmp_path: Path) -> None:
    info = damaged_film(tmp_path)
    found, url = survey(info), str(tmp_path / "survey.npz")
    found.write(url)
    again = Survey.read(url, 20)
    assert again is not None and (again.damaged, again.trouble, again.cuts) == (found.damaged, found.trouble, found.cuts)
    assert again.looks.tobytes() == found.looks.tobytes() and again.character(Span(0, 20), info) == found.character(Span(0, 20), info)
    assert Survey.read(url, 21) is None, "of another film"
    Path(url).write_bytes(Path(url).read_bytes()[:200])
    assert Survey.read(url, 20) is None
