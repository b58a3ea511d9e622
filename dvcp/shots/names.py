"""Names of exported and painted stills: ``<stem>_s0003_f000123.png`` is shot 3, frame 123 of the film ``<stem>``."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: file extensions taken for pictures, lower case
IMAGES = frozenset({"png", "tif", "tiff", "jpg", "jpeg", "webp"})

_PLACE = r"(?:s(?P<shot>\d+)[_\- .])?f(?P<frame>\d+)(?![a-z0-9])"


@dataclass(frozen=True)
class Place:
    """Where a still belongs as its name says: the film's stem ("" when the name starts with the shot or frame), shot, frame."""

    stem: str
    shot: int | None
    frame: int


def still_name(stem: str, shot: int, frame: int) -> str:
    """Name of the exported still of ``frame`` in ``shot``."""
    return f"{stem}_s{shot:04d}_f{frame:06d}.png"


def place_of(name: str, stem: str) -> Place | None:
    """What ``name`` says, any case, with or without shot, with anything behind (``_painted``, ``_v2``); None when it says no frame.

    ``stem`` is the film looked for: a stem that itself holds something like ``_f2`` would be cut there otherwise.
    """
    own = re.match(rf"{re.escape(stem)}[_\- .]{_PLACE}", name, re.IGNORECASE)
    found = own or re.search(rf"(?:^|[_\- .]){_PLACE}", name, re.IGNORECASE)
    if found is None:
        return None
    shot = found["shot"]
    return Place(stem if own else name[: found.start()], None if shot is None else int(shot), int(found["frame"]))


def extension(name: str) -> str:
    """Lower-case extension without the dot, "" when there is none."""
    return name.rpartition("/")[2].rpartition(".")[2].lower() if "." in name.rpartition("/")[2] else ""
