from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from dvcp.errors import ConfigError, MediaError
from dvcp.media.sequence import find_sequence, find_sequences, number_range, parse_pattern


def fill(folder: Path, *names: str) -> str:
    for name in names:
        (folder / name).write_bytes(b"x")
    return str(folder)


def test_numbers_padding_and_gaps_are_found_and_other_files_passed_over(tmp_path: Path) -> None:
    clutter = (".DS_Store", "._reel.1001.dpx", "Thumbs.db", "slate.png", "reel.1001.xml", "notes.txt")
    folder = fill(tmp_path, "reel.1001.dpx", "reel.1002.DPX", "reel.1005.Dpx", "reel.1009.dpx", *clutter)
    (found,) = find_sequences(folder)
    assert found.notation == "reel.1001-1002,1005,1009####.dpx"
    assert found.gaps == "1003-1004,1006-1008"
    assert (found.pattern, found.padding, found.numbers) == ("reel.####.dpx", 4, (1001, 1002, 1005, 1009))
    assert found.url(1) == f"{tmp_path}/reel.1002.DPX"


@pytest.mark.parametrize(
    ("names", "notation"),
    [
        (("reel-0001.tif", "reel-0002.tif"), "reel-1-2####.tif"),
        (("86400.dpx", "86401.dpx"), "86400-86401#####.dpx"),
        (("r.9999.png", "r.10000.png"), "r.9999-10000####.png"),
        (("2019-05-01.0001.tiff", "2019-05-01.0002.tiff"), "2019-05-01.1-2####.tiff"),
        (("a_1.dpx", "a_2.dpx", "a_10.dpx"), "a_1-2,10#.dpx"),
    ],
)
def test_names_that_archives_use(tmp_path: Path, names: tuple[str, ...], notation: str) -> None:
    found = find_sequence(fill(tmp_path, *names))
    assert found.notation == notation
    assert sorted(found.names) == sorted(names)
    assert all(n >= 0 for n in found.numbers)


@pytest.mark.parametrize("pattern", ["reel.####.dpx", "reel.%04d.dpx", "reel.@@@@.dpx"])
def test_a_pattern_picks_one_of_several_sequences(tmp_path: Path, pattern: str) -> None:
    folder = fill(tmp_path, "reel.0001.dpx", "reel.0003.dpx", "other.0001.dpx")
    found = find_sequence(f"{folder}/{pattern}")
    assert (found.numbers, found.gaps) == ((1, 3), "0002")


def test_a_pattern_may_name_the_numbers(tmp_path: Path) -> None:
    folder = fill(tmp_path, *(f"reel.{n:04d}.dpx" for n in (1, 2, 4, 5, 6)))
    found = find_sequence(f"{folder}/reel.2-5####.dpx")
    assert (found.numbers, found.gaps) == ((2, 4, 5), "0003")


def test_a_pattern_of_one_digit_means_numbers_without_padding(tmp_path: Path) -> None:
    folder = fill(tmp_path, "99.dpx", "100.dpx")
    assert find_sequence(f"{folder}/#.dpx").numbers == (99, 100)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("a.0001.dpx", "b.0001.dpx"), ("2 sequences", "a.1####.dpx", "b.1####.dpx", "name one")),
        (("a.0001.dpx", "a.0002.dpx", "a.1.dpx"), ("number 1 is there twice", "a.0001.dpx", "a.1.dpx", "a.####.dpx")),
        (("a.0001.dpx", "a.0001.DPX"), ("there twice", "a.0001.DPX", "keep one")),
        (("notes.txt", "slate.png"), ("holds no numbered pictures",)),
        ((), ("holds no numbered pictures",)),
    ],
)
def test_folders_that_are_refused(tmp_path: Path, names: tuple[str, ...], words: tuple[str, ...]) -> None:
    with pytest.raises(MediaError) as caught:
        find_sequence(fill(tmp_path, *names))
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)


def test_a_pattern_that_matches_nothing_says_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"there are a\.1####\.dpx"):
        find_sequence(f"{fill(tmp_path, 'a.0001.dpx')}/b.####.dpx")


@pytest.mark.parametrize("pattern", ["reel.dpx", "reel_####_v2.dpx", "reel.####.exr", "####"])
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"reel\.####\.dpx"):
        parse_pattern(pattern)


def test_a_folder_in_an_object_store() -> None:
    store = fsspec.filesystem("memory")
    for number in (7, 8):
        store.pipe_file(f"/found/reel.{number:06d}.tif", b"x")
    found = find_sequence("memory://found")
    assert (found.numbers, found.url(0)) == ((7, 8), "memory://found/reel.000007.tif")
    assert find_sequence("memory://found/reel.######.tif").numbers == (7, 8)


def test_number_ranges() -> None:
    assert number_range([1006, 1004, 1005, 1010]) == "1004-1006,1010"
    assert number_range([]) == ""
