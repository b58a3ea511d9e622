"""What a film is before anything is decided: its damage, its shots and the character of each. Asked once, kept beside the output."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from dvcp.media.probe import VideoInfo, probe
from dvcp.media.source import stem
from dvcp.progress import frames_bar
from dvcp.shots.survey import Character, Kind, Survey, survey
from dvcp.shots.timeline import ShotList, from_cuts, read_shots, write_shots
from dvcp.store import files
from dvcp.store.output import Output
from dvcp.store.provenance import stretches

#: damaged stretches named in one warning
_NAMED = 5


@dataclass(frozen=True, eq=False)
class Look:
    """A film, looked at.

    Attributes:
        info: the film, its damage known.
        shots: where it is cut.
        characters: what each shot is, by number.
        warnings: damage, one line each.
    """

    info: VideoInfo
    shots: ShotList
    characters: Mapping[int, Character]
    warnings: tuple[str, ...]

    @property
    def settled(self) -> frozenset[int]:
        """Numbers of the shots that want no colour."""
        return frozenset(number for number, character in self.characters.items() if not character.kind.wants_colour)


def look(info: VideoInfo, output: Output, given: str | None, references: str | None) -> Look:
    """Survey a film, unless an earlier run did, and settle its shot list.

    Args:
        given: the shot list a person named. Without it: the exporter's beside the ``references``, an earlier run's, or cuts found now.

    Raises:
        ConfigError: cuts are to be found and PySceneDetect is not installed.
        MediaError: the film cannot be opened, or more than half of it cannot be decoded.
        ShotListError: a list that does not fit the film.
        StoreError: the folder beside the output cannot be written.
    """
    kept, surveyed = output.report_url("shots.json"), output.report_url("survey.npz")
    beside = files.join(references, f"{stem(info.url)}_shots.json") if references and files.list_names(references) else None
    named = given or next((url for url in (beside, kept) if url and files.exists(url)), None)
    found = Survey.read(surveyed, len(info.frames))
    if found is None or (named is None and found.cuts is None):
        found = _survey(info, cuts=named is None)
        found.write(surveyed)
    if named is not None:
        shots = read_shots(named, len(info.frames), info.average_rate, info.url)
    else:
        shots = from_cuts(info.url, info.average_rate, len(info.frames), list(found.cuts or ()))
        write_shots(shots, kept)
    return _of(found, info, shots)


def surveyed(source: str, given: str | None = None) -> Look:
    """Probe and survey a film that has no output yet, with the shot list ``given`` or its cuts. Raises as :func:`look`."""
    info = probe(source)
    found = _survey(info, cuts=given is None)
    count, rate = len(info.frames), info.average_rate
    return _of(found, info, read_shots(given, count, rate, source) if given else from_cuts(source, rate, count, list(found.cuts or ())))


def _survey(info: VideoInfo, cuts: bool) -> Survey:
    with frames_bar(f"looking at {stem(info.url)}", len(info.frames)) as progress:
        return survey(info, cuts=cuts, progress=progress)


def _of(found: Survey, info: VideoInfo, shots: ShotList) -> Look:
    whole = replace(info, damaged=found.damaged)
    characters = {shot.number: found.character(shot.span, whole) for shot in shots.shots}
    return Look(whole, shots, characters, tuple(_damage(found, info)))


def _damage(found: Survey, info: VideoInfo) -> list[str]:
    if not found.damaged:
        return []
    runs = [str(a) if a == b else f"{a}-{b}" for a, b in stretches(found.damaged)]
    named = ", ".join(runs[:_NAMED]) + (f" and {len(runs) - _NAMED} more stretches" if len(runs) > _NAMED else "")
    count = "one frame" if len(found.damaged) == 1 else f"{len(found.damaged)} frames"
    return [f"{info.url}: {count} cannot be decoded and delivered as plain gray ({named}); the first says: {found.trouble}"]


def told(seen: Look, touched: Collection[int] = ()) -> list[str]:
    """A line for each shot that is no plain gray picture.

    Args:
        touched: numbers of the shots that are coloured whatever they are.
    """
    lines = []
    for number, character in seen.characters.items():
        where = f"{seen.info.url}, shot {number}"
        if character.kind in (Kind.COLOUR, Kind.CARD) and number in touched:
            lines.append(f"{where}: {'in colour already' if character.kind is Kind.COLOUR else 'a title card'}, coloured as asked")
        elif character.kind is Kind.COLOUR:
            lines.append(f"{where}: in colour already, passed through untouched; paint a frame of it to colour it anew")
        elif character.kind is Kind.TINTED:
            lines.append(f"{where}: tinted (mean Cb {character.tint[0]:+.3f}, Cr {character.tint[1]:+.3f}), treated as gray")
        elif character.kind is Kind.CARD:
            lines.append(f"{where}: looks like a title card, left as it is; paint a frame of it if it is a picture")
        if character.fields and (character.kind.wants_colour or number in touched):
            lines.append(f"{where}: interlaced, each field is coloured by itself")
    return lines
