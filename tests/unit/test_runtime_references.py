"""What each shot is coloured from: its own stills, what a person gave it, what fits, what is nearest, or nothing, and what is said."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dvcp.errors import ReferenceError
from dvcp.media.probe import VideoInfo, probe
from dvcp.media.stills import read_still, write_still
from dvcp.methods import create
from dvcp.runtime.references import Assignment, Missing, assign
from dvcp.shots.references import find_references
from dvcp.shots.timeline import ShotList, from_cuts
from tests.films import make_film, texture
from tests.trail import Trail

Reel = tuple[VideoInfo, ShotList, Path]
NEAREST, GRAY, ERROR = Missing.NEAREST, Missing.GRAY, Missing.ERROR


@pytest.fixture(scope="module")
def reel(tmp_path_factory: pytest.TempPathFactory) -> Reel:
    """A film of three shots, a folder of its painted stills (frame 4 of each shot), and one of other pictures: of each scene one.png,
    two.png and three.png, prints of another size and the other way round, and stripes.png of nothing in the film."""
    folder = tmp_path_factory.mktemp("reel")
    film = make_film(folder, lengths=(9, 9, 9), painted=((4,), (4,), (4,)), scenes=texture)
    (folder / "art").mkdir()
    for name, still in zip(("one", "two", "three"), sorted(film.stills.glob("*.png")), strict=True):
        write_still(str(folder / "art" / f"{name}.png"), to_bytes(read_still(str(still)).rgb[:, ::-1].repeat(2, 0).repeat(2, 1)))
    stripes = np.where((np.mgrid[0:96, 0:128][1] // 4 % 2)[..., None] == 0, (250, 20, 20), (20, 20, 120))
    write_still(str(folder / "art" / "stripes.png"), stripes.astype(np.uint8))
    return probe(str(film.gray)), from_cuts(str(film.gray), Fraction(24), 27, [9, 18]), folder


def to_bytes(rgb: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(rgb * 255).astype(np.uint8)


def pick(folder: Path, target: Path, *names: str) -> Path:
    """A folder with some of the pictures; names of painted stills too."""
    target.mkdir()
    for name in names:
        source = folder / "art" / f"{name}.png"
        shutil.copy(source if source.exists() else folder / "reel_painted" / f"reel_{name}.png", target / source.name)
        if not source.exists():
            (target / source.name).rename(target / f"reel_{name}.png")
    return target


def decide(reel: Reel, where: Path, missing: Missing, take: int = 1, method: str = "copy") -> tuple[list[Assignment], list[str]]:
    info, shots, _ = reel
    pictures, warnings = find_references(str(where), shots, "reel")
    assignments, more = assign(info, shots, pictures, missing, take, method=create(method))
    return assignments, warnings + more


def names(assignments: list[Assignment]) -> list[list[str]]:
    return [[source.url.rpartition("/")[2].removesuffix(".png") for source in a.sources] for a in assignments]


@pytest.mark.parametrize("missing", [NEAREST, ERROR])
def test_each_shot_takes_the_loose_picture_of_its_scene(reel: Reel, missing: Missing) -> None:
    assignments, warnings = decide(reel, reel[2] / "art", missing)
    assert names(assignments) == [["one"], ["two"], ["three"]]
    for assignment, line in zip(assignments, warnings, strict=True):
        assert assignment.sources[0].frame is None and len(assignment.sources[0].digest) == 64
        (similarity,) = assignment.borrowed
        assert line.endswith(f"borrows {assignment.sources[0].url} (similarity {similarity:.2f})")
        assert f"shot {assignment.shot}: no painted still" in line


def test_painted_stills_come_first_and_serve_other_shots_only_as_the_nearest(reel: Reel, tmp_path: Path) -> None:
    where = pick(reel[2], tmp_path / "refs", "s0001_f000004", "one", "two")
    assignments, _ = decide(reel, where, NEAREST)
    assert names(assignments)[:2] == [["reel_s0001_f000004"], ["two"]]
    assert assignments[0].sources[0].frame == 4 and assignments[0].borrowed == ()
    where = pick(reel[2], tmp_path / "still", "s0001_f000004")
    assert names(decide(reel, where, NEAREST)[0]) == [["reel_s0001_f000004"]] * 3
    assignments, warnings = decide(reel, where, GRAY)
    assert names(assignments) == [["reel_s0001_f000004"], [], []]
    assert [line.rpartition(", ")[2] for line in warnings] == ["stays gray"] * 2
    with pytest.raises(ReferenceError, match=r"no painted still for shot 2, 3"):
        decide(reel, where, ERROR)


def test_nothing_fits(reel: Reel, tmp_path: Path) -> None:
    where = pick(reel[2], tmp_path / "refs", "stripes")
    assignments, warnings = decide(reel, where, NEAREST)
    assert names(assignments) == [["stripes"]] * 3
    assert all("borrows" in line and "nothing fits: paint a frame of it" in line for line in warnings)
    assignments, warnings = decide(reel, where, GRAY)
    assert names(assignments) == [[]] * 3
    assert all("stays gray, the nearest is" in line and "stripes.png (similarity 0." in line for line in warnings)
    with pytest.raises(ReferenceError, match=r"no picture that fits, for shot 1, 2, 3"):
        decide(reel, where, ERROR)


def test_several_pictures_only_when_they_fit_nearly_as_well(reel: Reel, tmp_path: Path) -> None:
    where = pick(reel[2], tmp_path / "refs", "one", "stripes")
    rgb = read_still(str(where / "one.png")).rgb
    write_still(str(where / "again.png"), to_bytes(rgb[10:-10, 14:-14]))
    shutil.copy(where / "one.png", where / "second copy.png")
    first = decide(reel, where, NEAREST, take=4)[0][0]
    assert sorted(names([first])[0]) == ["again", "one"], "the copy is the same picture, the stripes do not fit"
    assert len(first.borrowed) == 2 and first.borrowed[0] >= first.borrowed[1]
    assert len(decide(reel, where, NEAREST)[0][0].sources) == 1


def test_a_person_may_choose(reel: Reel, tmp_path: Path) -> None:
    folder = reel[2]
    rows = f"{folder}/art/three.png,,1\n{folder}/art/stripes.png,,1\n{folder}/art/none.png,,2\n{folder}/art/two.png,,3\n"
    still = folder / "reel_painted" / "reel_s0003_f000022.png"
    (tmp_path / "refs.csv").write_text(f"image,frame,shot\n{rows}{still},,\n")
    assignments, warnings = decide(reel, tmp_path / "refs.csv", GRAY)
    assert names(assignments) == [["three", "stripes"], [], ["reel_s0003_f000022"]]
    assert assignments[0].borrowed == () and [source.frame for source in assignments[0].sources] == [None, None]
    assert any("two.png: not used, shot 3 has a painted still" in line for line in warnings)
    assert any("none.png" in line and "left out" in line for line in warnings)
    assert names(decide(reel, tmp_path / "refs.csv", NEAREST)[0])[1] != [], "pictures given elsewhere are at hand for other shots too"


def test_one_picture_without_a_word_paints_the_first_frame_only_if_it_looks_like_it(reel: Reel, tmp_path: Path) -> None:
    info, shots, folder = reel
    photograph = folder / "art" / "two.png"
    assignments, warnings = decide(reel, photograph, NEAREST)
    assert names(assignments) == [["two"]] * 3 and assignments[0].sources[0].frame is None
    assert sum("does not look like frame 0" in line and "used as a loose picture; --at 0" in line for line in warnings) == 1
    pictures, _ = find_references(str(photograph), shots, "reel", at=0)
    told, doubts = assign(info, shots, pictures, GRAY, method=create("copy"))
    assert told[0].sources[0].frame == 0 and any("its colours may land anywhere" in line for line in doubts)
    first = make_film(tmp_path, lengths=(9, 9, 9), painted=((0,), (), ()), scenes=texture)
    shutil.copy(next(first.stills.glob("*.png")), tmp_path / "painting.png")
    assert decide(reel, tmp_path / "painting.png", GRAY)[0][0].sources[0].frame == 0


def test_a_picture_that_cannot_be_used_is_named_and_the_rest_goes_on(reel: Reel, tmp_path: Path) -> None:
    where = pick(reel[2], tmp_path / "refs", "two")
    (where / "broken.png").write_bytes(b"not a picture")
    gray = to_bytes(read_still(str(where / "two.png")).rgb.mean(2))
    write_still(str(where / "gray.png"), gray)
    assignments, warnings = decide(reel, where, NEAREST)
    assert names(assignments) == [["two"]] * 3
    broken, colourless = (line for line in warnings if "left out" in line)
    assert "broken.png" in broken and "gray.png" in colourless and "put a picture in colour there" in colourless
    (where / "two.png").unlink()
    with pytest.raises(ReferenceError, match=r"no picture can be used\. left out: .*broken\.png"):
        decide(reel, where, NEAREST)


def test_a_method_that_takes_painted_frames_only_says_so_of_every_other_picture(reel: Reel, tmp_path: Path) -> None:
    info, shots, _ = reel
    pictures, _ = find_references(str(pick(reel[2], tmp_path / "refs", "s0002_f000013", "one", "stripes")), shots, "reel")
    assignments, warnings = assign(info, shots, pictures, NEAREST, method=Trail())
    assert names(assignments) == [[], ["reel_s0002_f000013"], []]
    assert [a.guessed for a in assignments] == [True, False, True]
    unused = "not used: trail takes painted frames of the shot only; --method exemplar takes colours from other pictures"
    assert [line.rpartition("/")[2] for line in warnings[:2]] == [f"{name}.png: {unused}" for name in ("one", "stripes")]
    assert warnings[2:] == [f"{info.url}, shot {number}: no painted still, colours guessed by trail" for number in (1, 3)]
    for missing in Missing:
        assert assign(info, shots, pictures, missing, method=Trail()) == (assignments, warnings), "nothing is ever missing"


def test_without_any_picture_an_automatic_method_guesses_all(reel: Reel) -> None:
    info, shots, _ = reel
    assignments, warnings = assign(info, shots, [], NEAREST, method=Trail())
    assert assignments == [Assignment(number, (), guessed=True) for number in (1, 2, 3)]
    assert warnings == [f"{info.url}: no painted stills, colours of 3 shots guessed by trail"]


def test_what_no_picture_serves_is_left_to_be_guessed(reel: Reel, tmp_path: Path) -> None:
    where = pick(reel[2], tmp_path / "refs", "s0002_f000013", "one")
    assignments, warnings = decide(reel, where, Missing.AUTO)
    assert names(assignments) == [["one"], ["reel_s0002_f000013"], []]
    assert len(warnings) == 1 and "shot 1: no painted still, borrows" in warnings[0]
    info, shots, _ = reel
    assert assign(info, shots, [], Missing.AUTO, method=create("copy")) == ([Assignment(number, ()) for number in (1, 2, 3)], [])
