"""The painted stills that come back from the colourist: which picture colours which frame."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from dvcp.errors import DvcpError, ReferenceError, ShotListError
from dvcp.media.stills import read_still
from dvcp.shots.formats import read_json, read_table
from dvcp.shots.names import IMAGES, extension, place_of
from dvcp.shots.timeline import ShotList
from dvcp.store import files


@dataclass(frozen=True)
class PaintedStill:
    """A painted still and its place in the film.

    Attributes:
        url: the picture.
        frame: number of the film's frame it paints; None for a picture that paints no frame of the film.
        shot: number of the shot it colours.
    """

    url: str
    frame: int | None
    shot: int


@dataclass(frozen=True)
class _Claim:
    """A picture with the frame and shot that a name or a manifest gives it."""

    url: str
    frame: int
    shot: int | None


def find_references(where: str, shots: ShotList, stem: str, *, at: int | None = None) -> tuple[list[PaintedStill], list[str]]:
    """Painted stills for a film, in film order, and one line for each picture that is not used or not as its name says.

    Args:
        where: a folder of pictures whose names carry a frame (``_f000123``), one picture, or a manifest ``.csv`` or ``.json`` with
            columns image, frame and perhaps shot, paths relative to the manifest. Any fsspec URL.
        shots: the film's shots.
        stem: the film's file name without extension; pictures named for another film are left alone.
        at: the frame a single picture paints (default: what its name says, else the first frame of the film).

    Several stills a shot are fine. A shot number that disagrees with the list (cuts were edited) gives way to the frame number.

    Raises:
        ReferenceError: nothing usable; names the first picture and why.
        StoreError: the store cannot be reached.
    """
    warnings: list[str] = []
    kind = extension(where)
    if kind in IMAGES:
        claims = [_single(where, stem, at)]
    elif kind in ("csv", "json"):
        claims = _manifest(where, kind, stem, warnings)
    else:
        claims = _folder(where, stem, warnings)
    by_frame: dict[int, PaintedStill] = {}
    for claim in sorted(claims, key=lambda claim: _natural(claim.url)):
        try:
            still = _placed(claim, shots, warnings)
        except DvcpError as error:
            warnings.append(str(error))
            continue
        frame = claim.frame
        if frame in by_frame:
            warnings.append(f"{by_frame[frame].url}: not used, {_name(still.url)} paints the same frame {frame}")
        by_frame[frame] = still
    if not by_frame:
        first = warnings[0] if warnings else f"{where}: no picture here carries a frame number"
        raise ReferenceError(
            f"no painted still can be used. {first}", hint=f"name them {stem}_s0001_f000000.png with the frame's number, and paint them"
        )
    return [by_frame[frame] for frame in sorted(by_frame)], warnings


def _single(where: str, stem: str, at: int | None) -> _Claim:
    place = place_of(_name(where), stem)
    if at is not None or place is None:
        return _Claim(where, at or 0, None)
    return _Claim(where, place.frame, place.shot)


def _folder(where: str, stem: str, warnings: list[str]) -> list[_Claim]:
    names = files.list_names(where)
    if not names and not files.exists(where):
        raise ReferenceError("no such folder", file=where, hint="a folder of painted stills, one picture, or a .csv or .json manifest")
    claims = []
    for name in names:
        # macOS leaves "._" files beside every picture on a foreign disk.
        if extension(name) not in IMAGES or name.startswith("."):
            continue
        url, place = files.join(where, name), place_of(name, stem)
        if place is None:
            warnings.append(f"{url}: skipped, its name carries no frame number such as _f000123")
        elif place.stem and place.stem.casefold() != stem.casefold():
            warnings.append(f"{url}: skipped, it is named for {place.stem}, not {stem}")
        else:
            claims.append(_Claim(url, place.frame, place.shot))
    return claims


def _manifest(where: str, kind: str, stem: str, warnings: list[str]) -> list[_Claim]:
    data = files.get_bytes(where)
    if data is None:
        raise ReferenceError("no such manifest", file=where, hint="check the name")
    claims = []
    for line, cells in _rows(data, where, kind):
        image, frame, shot = (str(cells.get(name) if cells.get(name) is not None else "").strip() for name in ("image", "frame", "shot"))
        place = place_of(_name(image), stem)
        if image and not frame and place is not None:
            frame = str(place.frame)
        if not image or not frame.isdecimal() or not (shot.isdecimal() or not shot):
            warnings.append(f"{where}: row {line} skipped, image {image!r}, frame {frame!r}, shot {shot!r} names no frame")
            continue
        claims.append(_Claim(_relative(where, image), int(frame), int(shot) if shot else None))
    return claims


def _rows(data: bytes, where: str, kind: str) -> Iterable[tuple[int, dict[str, object]]]:
    try:
        if kind == "csv":
            return [(line, dict(cells)) for line, cells in read_table(data, where, ("image", "frame"))]
        content = read_json(data, where)
    except ShotListError as error:
        raise ReferenceError(error.message, file=where, hint=error.hint) from None
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise ReferenceError("not a manifest", file=where, hint='[{"image": "a.png", "frame": 123}, ...]')
    return list(enumerate(content, 1))


def _relative(manifest: str, image: str) -> str:
    image = image.replace("\\", "/")
    if "://" in image or image.startswith("/") or re.match(r"[A-Za-z]:/", image):
        return image
    folder = manifest.rpartition("/")[0]
    return files.join(folder, image) if folder else image


def _placed(claim: _Claim, shots: ShotList, warnings: list[str]) -> PaintedStill:
    """The still in its shot. Raises ReferenceError when the film has no such frame or the picture is unreadable or unpainted."""
    if claim.frame >= shots.frames:
        raise ReferenceError(
            f"paints frame {claim.frame}, but the film ends with frame {shots.frames - 1}", file=claim.url, hint="is it of another film?"
        )
    if files.size(claim.url) is None:
        raise ReferenceError("no such picture", file=claim.url, hint="check the name")
    if read_still(claim.url).gray:
        raise ReferenceError("skipped, it is still gray", file=claim.url, hint="paint it, or leave it")
    shot = shots.shot_at(claim.frame)
    if claim.shot is not None and claim.shot != shot.number:
        warnings.append(f"{claim.url}: named for shot {claim.shot}, but frame {claim.frame} lies in shot {shot.number} now; used there")
    return PaintedStill(claim.url, claim.frame, shot.number)


def _name(url: str) -> str:
    return url.rpartition("/")[2]


def _natural(url: str) -> list[tuple[int, str]]:
    """Sort key in which _v10 comes after _v2."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", url)]
