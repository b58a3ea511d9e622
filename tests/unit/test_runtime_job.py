"""What a job is made of, before anything is computed: methods that need no reference, and shots whose colours are guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from dvcp.errors import ConfigError, WeightsError
from dvcp.methods import create
from dvcp.methods.base import Method
from dvcp.runtime import guess, job
from dvcp.runtime.job import JobSettings, prepare
from dvcp.runtime.references import Missing
from tests.films import Film, automatic_weights, make_film
from tests.trail import Trail


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Film:
    return make_film(tmp_path_factory.mktemp("job"), lengths=(9, 8), painted=((4,), ()), size=(32, 48))


@pytest.fixture(autouse=True)
def trail(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(name: str, **options: object) -> Method:
        return Trail() if name in ("trail", "colorizer") else create(name, **options)

    monkeypatch.setattr(job, "create", made)
    monkeypatch.setattr(guess, "create", made)


def settings(film: Film, tmp_path: Path, method: str, references: Path | None, missing: Missing = Missing.NEAREST) -> JobSettings:
    where = None if references is None else str(references)
    return JobSettings(
        str(film.gray), where, str(tmp_path / "out.mkv"), method, shots=str(film.stills / "reel_shots.json"), missing=missing
    )


def test_an_automatic_method_needs_no_references(film: Film, tmp_path: Path) -> None:
    found = prepare(settings(film, tmp_path, "trail", None))
    assert found.warnings[-1] == f"{film.gray}: no painted stills, colours of 2 shots guessed by trail"
    assert [leg.references for s in found.segments for leg in s.legs] == [(), ()] and all(a.guessed for a in found.assignments)
    with_still = prepare(settings(film, tmp_path, "trail", film.stills, Missing.ERROR))
    assert [a.guessed for a in with_still.assignments] == [False, True]
    assert with_still.warnings[-1] == f"{film.gray}, shot 2: no painted still, colours guessed by trail"
    assert {s.key for s in with_still.segments if s.shot == 2} == {s.key for s in found.segments if s.shot == 2}


def test_wrong_weights_are_told_before_anybody_looks_at_the_film(tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_text("no weights at all")
    others = automatic_weights(tmp_path / "others.safetensors")
    for weights, told in (("gone.safetensors", "cannot be read"), ("text.safetensors", "is no safetensors"), (others.name, "descriptor")):
        asked = JobSettings(f"{tmp_path}/nothing.mkv", None, f"{tmp_path}/out.mkv", "dvcp", options={"weights": f"{tmp_path}/{weights}"})
        with pytest.raises(WeightsError, match=told):
            prepare(asked)


def test_a_method_that_needs_pictures_says_what_to_do_without(film: Film, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="method copy needs pictures in colour") as caught:
        prepare(settings(film, tmp_path, "copy", None))
    assert caught.value.hint == "--references DIR, IMAGE or MANIFEST, or --missing auto"
    assert prepare(settings(film, tmp_path, "gray", None)).assignments == ()


@pytest.mark.parametrize("given", [False, True])
def test_what_is_missing_is_guessed_and_used_as_a_painted_frame(film: Film, tmp_path: Path, given: bool) -> None:
    asked = settings(film, tmp_path, "copy", film.stills if given else None, Missing.AUTO)
    found = prepare(asked)
    assert [a.guessed for a in found.assignments] == [not given, True]
    (source,) = found.assignments[1].sources
    assert source.url == f"{tmp_path}/out.dvcp/guessed/reel_s0002_f{source.frame:06d}.png" and Path(source.url).exists()
    assert [s.painted for s in found.segments if s.painted and s.shot == 2] == [source]
    assert sum("colours guessed" in line for line in found.warnings) == (1 if given else 2)
    again = prepare(asked)
    assert (again.plan, again.warnings) == (found.plan, found.warnings)
