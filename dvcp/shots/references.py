"""The pictures a film is coloured from: which still paints which frame, and which picture belongs to none."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from dvcp.errors import DvcpError, ReferenceError, ShotListError
from dvcp.media.stills import read_still
from dvcp.shots.formats import read_json, read_table
from dvcp.shots.names import IMAGES, Place, extension, place_of
from dvcp.shots.timeline import ShotList
from dvcp.store import files


@dataclass(frozen=True)
class Picture:
    """A picture and what it is to colour.

    Attributes:
        url: where it lies.
        frame: number of the film's frame it paints; None for a loose picture, which paints no frame of the film.
        shot: number of the shot it colours; None for a loose picture that goes to whichever shot it fits.
        told: False for a picture that hardly says so itself: it may paint ``frame``, or be a loose one; only a look at both tells.
    """

    url: str
    frame: int | None
    shot: int | None
    told: bool = True


def find_references(where: str, shots: ShotList, stem: str, *, at: int | None = None) -> tuple[list[Picture], list[str]]:
    """Pictures to colour a film from, and one line for each that is not used or not as its name says.

    Args:
        where: a folder of pictures: painted stills, whose names carry a frame (``_f000123``), and loose ones; or one picture; or a
            manifest ``.csv`` or ``.json`` with columns image and perhaps frame and shot, paths relative to the manifest. A row with a
            frame is a painted still, one with only a shot a loose picture for that shot (several: the best first), one with neither a
            loose picture for any shot. Any fsspec URL.
        shots: the film's shots.
        stem: the film's file name without extension; pictures named for another film's frames are left alone.
        at: the frame a single picture paints (default: what its name says, else perhaps the first frame of the film).

    Returns:
        Painted stills in film order, several a shot or none, then loose pictures in the order given, not opened yet. A shot number that
        disagrees with the list (cuts were edited) gives way to the frame number.

    Raises:
        ReferenceError: nothing usable; names the first picture and why.
        StoreError: the store cannot be reached.
    """
    warnings: list[str] = []
    kind = extension(where)
    if kind in IMAGES:
        claims = [_single(where, stem, at)]
    elif kind in ("csv", "json"):
        claims = _manifest(where, kind, stem, shots, warnings)
    else:
        claims = _folder(where, stem, warnings)
    loose = [claim for claim in claims if claim.frame is None]
    by_frame: dict[int, Picture] = {}
    for claim in sorted(claims, key=lambda claim: _natural(claim.url)):
        frame = claim.frame
        if frame is None:
            continue
        try:
            still = _placed(claim, frame, shots, warnings)
        except DvcpError as error:
            warnings.append(str(error))
            continue
        if frame in by_frame:
            warnings.append(f"{by_frame[frame].url}: not used, {_name(still.url)} paints the same frame {frame}")
        by_frame[frame] = still
    if not by_frame and not loose:
        first = warnings[0] if warnings else f"{where}: no picture here"
        hint = f"a painted still is named {stem}_s0001_f000000.png with the frame's number; any other name is a loose picture"
        raise ReferenceError(f"no painted still or other picture can be used. {first}", hint=hint)
    return [by_frame[frame] for frame in sorted(by_frame)] + loose, warnings


def _single(where: str, stem: str, at: int | None) -> Picture:
    place = place_of(_name(where), stem)
    if at is not None:
        return Picture(where, at, None)
    return Picture(where, 0, None, told=False) if place is None else Picture(where, place.frame, place.shot)


def _folder(where: str, stem: str, warnings: list[str]) -> list[Picture]:
    names = files.list_names(where)
    if not names and not files.exists(where):
        raise ReferenceError("no such folder", file=where, hint="a folder of pictures, one picture, or a .csv or .json manifest")
    claims = []
    for name in sorted(names, key=_natural):
        # macOS leaves "._" files beside every picture on a foreign disk.
        if extension(name) not in IMAGES or name.startswith("."):
            continue
        url, place = files.join(where, name), place_of(name, stem)
        if place is None:
            claims.append(Picture(url, None, None))
        elif _foreign(place, stem):
            warnings.append(f"{url}: skipped, it is named for {place.stem}, not {stem}")
        else:
            # "f12.jpg" may be a folio of an album: only a look tells, unless the film's name is there too.
            claims.append(Picture(url, place.frame, place.shot, told=bool(place.stem) or place.shot is not None))
    return claims


def _foreign(place: Place, stem: str) -> bool:
    """True when a name says a frame of another film."""
    return bool(place.stem) and place.stem.casefold() != stem.casefold()


def _manifest(where: str, kind: str, stem: str, shots: ShotList, warnings: list[str]) -> list[Picture]:
    data = files.get_bytes(where)
    if data is None:
        raise ReferenceError("no such manifest", file=where, hint="check the name")
    claims = []
    for line, cells in _rows(data, where, kind):
        image, frame, shot = (str(cells.get(name) if cells.get(name) is not None else "").strip() for name in ("image", "frame", "shot"))
        if not image or not all(cell.isdecimal() or not cell for cell in (frame, shot)):
            warnings.append(f"{where}: row {line} skipped, image {image!r}, frame {frame!r}, shot {shot!r} names no picture and place")
            continue
        url, number = _relative(where, image), int(shot) if shot else None
        if frame:
            claims.append(Picture(url, int(frame), number))
            continue
        if number is not None and not 1 <= number <= len(shots.shots):
            warnings.append(f"{where}: row {line} skipped, there is no shot {number}; the film has {len(shots.shots)}")
            continue
        place = place_of(_name(image), stem)
        named = None if place is None or _foreign(place, stem) else place.frame
        # A frame's still given to another shot than its own is to colour that one, as any other picture.
        if named is not None and (number is None or (named < shots.frames and shots.shot_at(named).number == number)):
            claims.append(Picture(url, named, number))
        else:
            claims.append(Picture(url, None, number))
    return claims


def _rows(data: bytes, where: str, kind: str) -> Iterable[tuple[int, dict[str, object]]]:
    try:
        if kind == "csv":
            return [(line, dict(cells)) for line, cells in read_table(data, where, ("image",))]
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


def _placed(claim: Picture, frame: int, shots: ShotList, warnings: list[str]) -> Picture:
    """The still in its shot. Raises ReferenceError when the film has no such frame or the picture is unreadable or unpainted."""
    if frame >= shots.frames:
        raise ReferenceError(
            f"paints frame {frame}, but the film ends with frame {shots.frames - 1}", file=claim.url, hint="is it of another film?"
        )
    if files.size(claim.url) is None:
        raise ReferenceError("no such picture", file=claim.url, hint="check the name")
    if read_still(claim.url).gray:
        raise ReferenceError("skipped, it is still gray", file=claim.url, hint="paint it, or leave it")
    shot = shots.shot_at(frame)
    if claim.shot is not None and claim.shot != shot.number:
        warnings.append(f"{claim.url}: named for shot {claim.shot}, but frame {frame} lies in shot {shot.number} now; used there")
    return replace(claim, shot=shot.number)


def _name(url: str) -> str:
    return url.rpartition("/")[2]


def _natural(url: str) -> list[tuple[int, str]]:
    """Sort key in which _v10 comes after _v2."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", url)]
