"""Key frames that nobody painted: coloured once, kept, used again, and never written over a person's work."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dvcp.errors import ReferenceError
from dvcp.media.picture import png_of
from dvcp.media.probe import VideoInfo, probe
from dvcp.media.stills import read_still
from dvcp.runtime import guess
from dvcp.runtime.guess import fill, is_guess, marked
from dvcp.runtime.plan import ReferenceSource
from dvcp.runtime.references import Assignment, Missing, assign
from dvcp.shots.references import find_references
from dvcp.shots.timeline import ShotList, from_cuts
from dvcp.store import files
from dvcp.store.output import Output
from tests.films import make_film
from tests.trail import Trail


class Colorizer(Trail):
    """Stands in for the one that ships."""

    version = "d"

    def digest(self) -> str:
        return self.version * 64


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory) -> VideoInfo:
    return probe(str(make_film(tmp_path_factory.mktemp("guess"), lengths=(9, 7), painted=((4,), ()), size=(32, 48)).gray))


@pytest.fixture
def colorizer(monkeypatch: pytest.MonkeyPatch) -> Colorizer:
    """The one that is used: its calls are those of all guesses."""
    one = Colorizer()
    monkeypatch.setattr(guess, "create", lambda name: one if name == "colorizer" else None)
    return one


def shots(*cuts: int, key: int | None = None) -> ShotList:
    made = from_cuts("reel", Fraction(24), 16, list(cuts))
    return made if key is None else replace(made, shots=(*made.shots[:-1], replace(made.shots[-1], key=key)))


def bare(listed: ShotList) -> list[Assignment]:
    return [Assignment(shot.number, ()) for shot in listed.shots]


def test_a_guess_is_kept_and_used_again(info: VideoInfo, store_url: str, colorizer: Colorizer) -> None:
    output = Output(files.join(store_url, "film.mkv"))
    own = Assignment(1, (ReferenceSource("painted.png", "a" * 64, 4),))
    first, warnings = fill(info, shots(9), [own, Assignment(2, ())], output)
    assert first[0] is own and len(colorizer.calls) == 1
    (still,) = first[1].sources
    assert first[1].guessed and not own.guessed and still.frame in range(9, 16)
    assert still.url == output.report_url(f"guessed/reel_s0002_f{still.frame:06d}.png")
    line = f"{info.url}, shot 2: no painted still, colours guessed ({still.url}); paint over it and give it as a reference to correct them"
    assert warnings == [line]
    picture = read_still(still.url)
    assert (picture.digest, picture.rgb.shape, picture.gray) == (still.digest, (32, 48, 3), False)
    assert fill(info, shots(9), [own, Assignment(2, ())], output) == (first, warnings)
    assert len(colorizer.calls) == 1, "made once"
    files.remove(still.url)
    assert fill(info, shots(9), [own, Assignment(2, ())], output)[0] == first, "the same bits again"


def test_other_cuts_another_key_frame_and_another_colorizer_make_another_guess(
    info: VideoInfo, tmp_path: Path, colorizer: Colorizer
) -> None:
    output = Output(str(tmp_path / "film.mkv"))

    def there() -> list[str]:
        return sorted(path.name for path in (tmp_path / "film.dvcp" / "guessed").iterdir())

    fill(info, shots(9), bare(shots(9)), output)
    assert len(colorizer.calls) == 2
    fill(info, shots(9, key=10), bare(shots(9)), output)
    assert len(colorizer.calls) == 3 and there()[2:] == ["reel_s0002_f000010.json", "reel_s0002_f000010.png"]
    fill(info, shots(9), bare(shots(9)), output)
    assert len(colorizer.calls) == 3, "a guess for a frame that somebody chose once is as good"
    fill(info, shots(), bare(shots()), output)
    assert len(colorizer.calls) == 4 and len(there()) == 2, "guesses for cuts that are no more are gone"
    colorizer.version = "e"
    fill(info, shots(), bare(shots()), output)
    assert len(colorizer.calls) == 5 and len(there()) == 2


def test_what_a_person_painted_over_is_used_and_never_touched(info: VideoInfo, tmp_path: Path, colorizer: Colorizer) -> None:
    output = Output(str(tmp_path / "film.mkv"))
    (guessed,), _ = fill(info, shots(), bare(shots()), output)
    painted = png_of(np.full((32, 48, 3), (200, 90, 40), np.uint8))
    path = Path(guessed.sources[0].url)
    path.write_bytes(painted)
    for version in "de":
        colorizer.version = version
        (found,), warnings = fill(info, shots(), bare(shots()), output)
        assert found == Assignment(1, (replace(guessed.sources[0], digest=hashlib.sha256(painted).hexdigest()),))
        assert warnings == [f"{info.url}, shot 1: {path} was painted over and is used"]
    assert path.read_bytes() == painted and len(colorizer.calls) == 1
    path.write_bytes(b"half a picture")
    with pytest.raises(ReferenceError, match="cannot be read as a picture"):
        fill(info, shots(), bare(shots()), output)
    assert path.read_bytes() == b"half a picture"


def test_a_guess_given_as_a_reference_is_still_a_guess_until_it_is_painted_over(
    info: VideoInfo, tmp_path: Path, colorizer: Colorizer
) -> None:
    output = Output(str(tmp_path / "film.mkv"))
    (first, second), _ = fill(info, shots(9), bare(shots(9)), output)
    path = Path(second.sources[0].url)
    path.write_bytes(png_of(np.round(255 * read_still(str(path)).rgb[..., ::-1]).astype(np.uint8)))
    pictures, _ = find_references(str(path.parent), shots(9), "reel")
    found, _ = assign(info, shots(9), pictures, Missing.GRAY, method=Trail())
    assert [a.guessed for a in found] == [False, False]
    told, warnings = marked(info, found)
    assert [a.guessed for a in told] == [True, False] and told[0].sources[0] == first.sources[0]
    assert len(warnings) == 1 and f"shot 1: no painted still, colours guessed ({first.sources[0].url})" in warnings[0]


def test_a_damaged_record_makes_the_still_a_persons(info: VideoInfo, tmp_path: Path, colorizer: Colorizer) -> None:
    output = Output(str(tmp_path / "film.mkv"))
    ((source,),) = (a.sources for a in fill(info, shots(), bare(shots()), output)[0])
    record = Path(source.url).with_suffix(".json")
    assert is_guess(source) and json.loads(record.read_text())["shot"] == [0, 16]
    for data in ("[]", "{"):
        record.write_text(data)
        assert not is_guess(source)


def test_sixteen_bits_for_a_deep_film(tmp_path: Path, colorizer: Colorizer) -> None:
    film = make_film(tmp_path, lengths=(6,), painted=((),), size=(32, 48), depth=10)
    listed = from_cuts("reel", Fraction(24), 6, [])
    ((source,),) = (a.sources for a in fill(probe(str(film.gray)), listed, bare(listed), Output(str(tmp_path / "film.mkv")))[0])
    assert Path(source.url).read_bytes()[24] == 16, "PNG's bit depth"
