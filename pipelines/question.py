"""What is asked of each film, as a digest: when it changes the film is to do again, and only that film."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from dvcp.media.source import stem
from dvcp.runtime.job import JobSettings
from dvcp.shots.names import IMAGES, extension, place_of, still_name
from dvcp.store import files
from dvcp.store.listing import listing
from dvcp.store.remote import Facts

_SHOTS = "_shots.json"


def questions(settings: JobSettings) -> Callable[[str], str]:
    """A digest (32 hex digits) by film URL of method, options, profile and the pictures that may serve the film.

    Pictures count as a listing shows them, so that one listing of the folder serves all films. Weights are told by their listing too. The
    version of dvcp does not count: an update alone colours no archive anew.

    Raises:
        StoreError: pictures or weights cannot be listed.
    """
    own: dict[str, list[Any]] = defaultdict(list)
    loose: list[Any] = []
    for url, file in _pictures(settings.references).items():
        film = _film(files.split(url)[1])
        (loose if film is None else own[film]).append((url, file.size, file.tag))
    # By the end of the name: generators and flow networks have files of their own.
    weights = [url for name, url in sorted(settings.options.items()) if name.endswith("weights") and isinstance(url, str)]
    asked = {
        "method": settings.method, "options": settings.options, "profile": settings.profile, "missing": settings.missing.value,
        "take": settings.take, "weights": [(f.size, f.tag) for url in weights for f in listing(url).values()], "loose": loose,
    }  # fmt: skip
    common = _digest(asked)

    def digest(source: str) -> str:
        name = stem(source)
        # A stem with a frame's number in it ("reel_f2") is cut there by whoever does not know it: both count.
        mine = {name.casefold(), _film(still_name(name, 1, 0)) or ""}
        return _digest([common, *(own[film] for film in sorted(mine) if film in own)])[:32]

    return digest


def _pictures(references: str | None) -> Mapping[str, Facts]:
    if references is None:
        return {}
    if extension(references) in ("csv", "json"):
        # What a manifest names usually lies beside it.
        return listing([references, files.split(files.absolute(references))[0]])
    return listing(references)


def _film(name: str) -> str | None:
    """Stem, in lower case, of the film that a file beside the stills is for; None when it may serve any."""
    if name.lower().endswith(_SHOTS):
        return name[: -len(_SHOTS)].casefold()
    place = place_of(name, "") if extension(name) in IMAGES else None
    return place.stem.casefold() if place and place.stem else None


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
