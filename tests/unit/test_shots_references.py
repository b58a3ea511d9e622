from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dvcp.errors import ReferenceError
from dvcp.media.stills import write_still
from dvcp.shots.names import Place, place_of, still_name
from dvcp.shots.references import Picture, find_references
from dvcp.shots.timeline import from_cuts
from dvcp.store import files

SHOTS = from_cuts("film.mkv", Fraction(25), 300, [100, 200])


def paint(folder: Path, *names: str, gray: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    picture = np.full((12, 16, 3), 90, np.uint8) if gray else np.full((12, 16, 3), (200, 40, 40), np.uint8)
    for name in names:
        # The reader goes by content, so a painter's TIFF may as well be a PNG here.
        write_still(str(folder / name), picture)


def found(where: Path | str, stem: str = "film", at: int | None = None) -> tuple[list[tuple[str, int | None, int | None]], list[str]]:
    stills, warnings = find_references(str(where), SHOTS, stem, at=at)
    return [(still.url.rpartition("/")[2], still.frame, still.shot) for still in stills], warnings


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("film_s0003_f000123.png", Place("film", 3, 123)),
        ("FILM_S3_F123_painted.PNG", Place("film", 3, 123)),
        ("film_f7.tif", Place("film", None, 7)),
        ("film_s0001_f000010_v2.jpg", Place("film", 1, 10)),
        ("film_s0001_f000010 (1).png", Place("film", 1, 10)),
        ("f000010.png", Place("", None, 10)),
        ("s2_f110-copy.png", Place("", 2, 110)),
        ("other_s0001_f000010.png", Place("other", 1, 10)),
        ("film2_s0001_f000010.png", Place("film2", 1, 10)),
        ("shelf12.png", None),
        ("film_f12a.png", None),
        ("film.png", None),
    ],
)
def test_names(name: str, place: Place | None) -> None:
    assert place_of(name, "film") == place


@pytest.mark.parametrize("stem", ["film", "take_f2", "a (b)+[c].v1", "s0001_f000002", "ünï"])
def test_a_written_name_is_read_back_whatever_the_stem(stem: str) -> None:
    assert place_of(still_name(stem, 12, 1_234_567), stem) == Place(stem, 12, 1_234_567)


def test_a_folder_gives_every_still_its_frame_and_shot(tmp_path: Path) -> None:
    paint(tmp_path, "film_s0002_f000150_painted.png", "FILM_f000020.TIF", "film_s0001_f000003.png", "f000299.png")
    (tmp_path / "film_shots.json").write_text("{}")
    (tmp_path / "._film_s0001_f000004.png").write_bytes(b"x")
    assert found(tmp_path) == (
        [
            ("film_s0001_f000003.png", 3, 1),
            ("FILM_f000020.TIF", 20, 1),
            ("film_s0002_f000150_painted.png", 150, 2),
            ("f000299.png", 299, 3),
        ],
        [],
    )


def test_what_is_not_used_is_said(tmp_path: Path) -> None:
    paint(tmp_path, "film_f000010.png", "other_s0001_f000011.png", "film_f000300.png", "film_s0003_f000150.png")
    paint(tmp_path, "film_s0003_f000250.png", gray=True)
    (tmp_path / "film_f000060.png").write_bytes(b"not a picture")
    stills, warnings = found(tmp_path)
    assert stills == [("film_f000010.png", 10, 1), ("film_s0003_f000150.png", 150, 2)]
    expected = {
        "other_s0001_f000011.png": "named for other",
        "film_f000300.png": "the film ends with frame 299",
        "film_s0003_f000150.png": "lies in shot 2 now",
        "film_s0003_f000250.png": "still gray",
        "film_f000060.png": "cannot be read",
    }
    assert len(warnings) == len(expected)
    for name, message in expected.items():
        assert any(name in line and message in line for line in warnings), (name, warnings)


def test_pictures_without_a_frame_number_are_loose_and_stand_behind_the_stills(tmp_path: Path) -> None:
    paint(tmp_path, "museum 10.jpg", "film_s0001_f000003.png", "museum 9.jpg", "other_f000001.png")
    paint(tmp_path, "old_photograph.tif", gray=True)
    stills, warnings = found(tmp_path)
    assert stills[0] == ("film_s0001_f000003.png", 3, 1)
    assert stills[1:] == [("museum 9.jpg", None, None), ("museum 10.jpg", None, None), ("old_photograph.tif", None, None)]
    assert len(warnings) == 1 and "named for other" in warnings[0]
    paint(tmp_path / "only", "museum.jpg")
    assert found(tmp_path / "only") == ([("museum.jpg", None, None)], [])


def test_the_last_version_of_a_frame_wins(tmp_path: Path) -> None:
    paint(tmp_path, "film_f000010_v2.png", "film_f000010_v10.png", "film_f000010.png")
    stills, warnings = found(tmp_path)
    assert stills == [("film_f000010_v10.png", 10, 1)]
    assert len(warnings) == 2 and all("paints the same frame 10" in line for line in warnings)


def test_an_unpainted_export_beside_its_painted_copy_does_no_harm(tmp_path: Path) -> None:
    paint(tmp_path, "film_s0001_f000010.png")
    paint(tmp_path, "film_s0001_f000010_zz.png", gray=True)
    assert found(tmp_path)[0] == [("film_s0001_f000010.png", 10, 1)]


def test_nothing_usable_is_an_error_that_names_the_first_picture(tmp_path: Path) -> None:
    paint(tmp_path / "gray", "film_f000010.png", gray=True)
    paint(tmp_path / "far", "film_f000900.png")
    paint(tmp_path / "other", "other_f000001.png")
    (tmp_path / "empty").mkdir()
    for folder, message in (
        ("gray", r"film_f000010\.png: skipped, it is still gray"),
        ("far", r"film_f000900\.png: paints frame 900"),
        ("other", "named for other, not film"),
        ("empty", "no picture here"),
        ("missing", "no such folder"),
    ):
        with pytest.raises(ReferenceError, match=message):
            found(tmp_path / folder)


def test_one_picture_takes_the_frame_asked_for_then_its_name_then_the_first(tmp_path: Path) -> None:
    paint(tmp_path, "poster.png", "film_s0002_f000150.png")
    assert find_references(str(tmp_path / "poster.png"), SHOTS, "film")[0] == [Picture(str(tmp_path / "poster.png"), 0, 1, told=False)]
    assert found(tmp_path / "poster.png", at=210)[0] == [("poster.png", 210, 3)]
    assert found(tmp_path / "film_s0002_f000150.png")[0] == [("film_s0002_f000150.png", 150, 2)]
    for where, at, message in (("poster.png", 300, "paints frame 300"), ("none.png", None, "no such picture")):
        with pytest.raises(ReferenceError, match=message):
            found(tmp_path / where, at=at)


def test_manifests_name_any_picture(tmp_path: Path) -> None:
    paint(tmp_path / "art", "blue sky.png", "b.png", "film_f000250.png")
    (tmp_path / "refs.csv").write_bytes(
        b"\xef\xbb\xbfImage;Frame;Shot\r\nart/blue sky.png;10;1\r\nart\\b.png;110;\r\nart/film_f000250.png;;\r\n"
        b"art/gone.png;5;\r\n;7;\r\nart/b.png;ten;\r\n"
    )
    stills, warnings = found(tmp_path / "refs.csv")
    assert stills == [("blue sky.png", 10, 1), ("b.png", 110, 2), ("film_f000250.png", 250, 3)]
    assert ["gone.png" in w or "row 6" in w or "row 7" in w for w in warnings] == [True] * 3
    art = tmp_path / "art"
    (tmp_path / "refs.json").write_text(f'[{{"image": "{art}/b.png", "frame": 20, "shot": 2}}]')
    stills, warnings = found(tmp_path / "refs.json")
    assert stills == [("b.png", 20, 1)] and "lies in shot 1 now" in warnings[0]


def test_a_manifest_gives_pictures_to_shots_in_its_own_order(tmp_path: Path) -> None:
    paint(tmp_path, "b.png", "a.png", "film_f000010.png", "other_f000020.png")
    rows = "b.png,,3\na.png,,3\nfilm_f000010.png,,1\nfilm_f000010.png,,2\nother_f000020.png,,2\na.png,,\na.png,,4\na.png,,x\n"
    (tmp_path / "refs.csv").write_text("image,frame,shot\n" + rows)
    pictures, warnings = found(tmp_path / "refs.csv")
    assert pictures == [
        ("film_f000010.png", 10, 1),
        ("b.png", None, 3),
        ("a.png", None, 3),
        ("film_f000010.png", None, 2),
        ("other_f000020.png", None, 2),
        ("a.png", None, None),
    ]
    assert len(warnings) == 2 and "row 8" in warnings[0] and "no shot 4" in warnings[0] and "row 9" in warnings[1]
    (tmp_path / "short.csv").write_text("image,shot\nb.png,2\n")
    assert found(tmp_path / "short.csv") == ([("b.png", None, 2)], [])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "picture,frame\n", "no column 'image'"),
        ("a.json", "{", "line 1, column 2"),
        ("a.json", '{"shots": []}', "not a manifest"),
        ("a.csv", "image,frame\n", "no painted still"),
    ],
)
def test_manifest_mistakes_are_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ReferenceError, match=message):
        found(tmp_path / name)
    with pytest.raises(ReferenceError, match="no such manifest"):
        found(tmp_path / f"none{name}")


def test_stills_on_an_object_store(tmp_path: Path, s3_url: str) -> None:
    paint(tmp_path, "film_s0002_f000150.png")
    files.put_file(tmp_path / "film_s0002_f000150.png", f"{s3_url}/film_s0002_f000150.png")
    files.put_bytes(b"image,frame\nfilm_s0002_f000150.png,120\n", f"{s3_url}/refs.csv")
    url = f"{s3_url}/film_s0002_f000150.png"
    assert find_references(s3_url, SHOTS, "film") == ([Picture(url, 150, 2)], [])
    assert find_references(f"{s3_url}/refs.csv", SHOTS, "film") == ([Picture(url, 120, 2)], [])
    files.put_file(tmp_path / "film_s0002_f000150.png", f"{s3_url}/museum.png")
    assert find_references(s3_url, SHOTS, "film") == ([Picture(url, 150, 2), Picture(f"{s3_url}/museum.png", None, None)], [])
