"""Key frames that nobody painted, coloured by the automatic colorizer and kept as stills beside the output, for a person to correct.

Each still has its record beside it, a JSON of the same name, written before it. So a still that is not as its record says was painted over
by a person: it is never touched, and used as any painted frame.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

from dvcp.media.picture import png_of
from dvcp.media.probe import VideoInfo
from dvcp.media.reader import FrameReader
from dvcp.media.source import stem
from dvcp.media.stills import frame_to_still, read_still
from dvcp.methods import create
from dvcp.methods.base import Method, Window
from dvcp.runtime.plan import ReferenceSource
from dvcp.runtime.references import Assignment
from dvcp.shots.keyframe import choose_key_frame
from dvcp.shots.names import place_of, still_name
from dvcp.shots.timeline import Shot, ShotList
from dvcp.store import files
from dvcp.store.output import Output
from dvcp.timing import Span

#: name of the method that colours key frames
COLORIZER = "colorizer"
#: their folder in the one beside the output
FOLDER = "guessed"


def fill(
    info: VideoInfo, shots: ShotList, assignments: Sequence[Assignment], output: Output, settled: Collection[int] = ()
) -> tuple[list[Assignment], list[str]]:
    """Give every shot without a source its key frame, coloured now or by an earlier run.

    A guess is used again as long as shot and colorizer are the same; one that a person painted over is used whatever they are.

    Args:
        settled: numbers of shots that want no colour.

    Returns:
        All assignments, and a line for each shot that had no source.

    Raises:
        MediaError: no key frame can be decoded.
        ReferenceError: a still was painted over and cannot be read.
        StoreError: the stills cannot be stored.
        WeightsError: the colorizer's weights cannot be loaded.
    """
    folder, colorizer = output.report_url(FOLDER), create(COLORIZER)
    kept = list(_stills(folder, stem(info.url))) if any(not a.sources and a.shot not in settled for a in assignments) else []
    done: list[Assignment] = []
    warnings: list[str] = []
    for shot, assignment in zip(shots.shots, assignments, strict=True):
        if not assignment.sources and shot.number not in settled:
            there = [still for still in kept if still.frame is not None and still.frame in shot.span]
            painted = [still for still in there if not is_guess(still)]
            for still in painted:
                read_still(still.url)
                warnings.append(f"{info.url}, shot {shot.number}: {still.url} was painted over and is used")
            sources = painted or [_same(there, shot, colorizer) or _made(info, shot, colorizer, folder, there)]
            assignment = Assignment(shot.number, tuple(sources), guessed=not painted)
            if not painted:
                warnings.append(_told(info, assignment))
        done.append(assignment)
    return done, warnings


def marked(info: VideoInfo, assignments: Sequence[Assignment]) -> tuple[list[Assignment], list[str]]:
    """The assignments, those that name a guess as it was made told apart from what a person painted; and a line for each of these."""
    done = [replace(a, guessed=a.guessed or any(is_guess(source) for source in a.sources)) for a in assignments]
    return done, [_told(info, now) for now, before in zip(done, assignments, strict=True) if now.guessed and not before.guessed]


def _told(info: VideoInfo, assignment: Assignment) -> str:
    what = f"no painted still, colours guessed ({assignment.sources[0].url}); paint over it and give it as a reference to correct them"
    return f"{info.url}, shot {assignment.shot}: {what}"


def is_guess(still: ReferenceSource) -> bool:
    """True for a still that this module wrote and nobody painted over."""
    return files.split(files.split(still.url)[0])[1] == FOLDER and _record(still.url).get("sha256") == still.digest


def _stills(folder: str, name: str) -> Iterator[ReferenceSource]:
    for file in files.list_names(folder):
        place, url = place_of(file, name), files.join(folder, file)
        if place is not None and file.endswith(".png"):
            yield ReferenceSource(url, hashlib.sha256(files.get_bytes(url) or b"").hexdigest(), place.frame)


def _record(url: str) -> dict[str, Any]:
    """What is written beside a still; empty when nothing readable is."""
    try:
        found = json.loads(files.get_bytes(_record_url(url)) or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _record_url(url: str) -> str:
    return url.removesuffix(".png") + ".json"


def _made_for(shot: Shot, colorizer: Method) -> dict[str, Any]:
    return {"shot": [shot.span.first, shot.span.stop], "colorizer": colorizer.digest()}


def _same(there: Sequence[ReferenceSource], shot: Shot, colorizer: Method) -> ReferenceSource | None:
    """The guess that would be made now, where an earlier run made it."""
    wanted = _made_for(shot, colorizer).items()
    return next((s for s in there if shot.key in (None, s.frame) and wanted <= _record(s.url).items()), None)


def _made(info: VideoInfo, shot: Shot, colorizer: Method, folder: str, old: Sequence[ReferenceSource]) -> ReferenceSource:
    """Colour a shot's key frame and keep it, in the place of ``old`` guesses for other cuts or of another colorizer."""
    frame = choose_key_frame(info, shot) if shot.key is None else shot.key
    with FrameReader(info) as reader:
        luma = reader.luma(Span(frame, frame + 1))
    window = Window((frame,), luma, info.colour)
    _, chroma = colorizer.propagate(None, window, colorizer.match(window, colorizer.anchor((), info.colour)))
    data = png_of(frame_to_still(luma[0], chroma.planes[0], info.colour))
    digest, url = hashlib.sha256(data).hexdigest(), files.join(folder, still_name(stem(info.url), shot.number, frame))
    # Stills go before their records and come after them: one that does not match its record is a person's.
    for still in old:
        files.remove(still.url)
        files.remove(_record_url(still.url))
    files.put_bytes(json.dumps(_made_for(shot, colorizer) | {"sha256": digest}, indent=1).encode(), _record_url(url))
    files.put_bytes(data, url)
    return ReferenceSource(url, digest, frame)
