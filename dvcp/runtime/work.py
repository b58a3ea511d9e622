"""What the driver tells the actors, and how they read a reference."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from dvcp.colour import ColourSpec, chroma_to_unit
from dvcp.errors import ReferenceError
from dvcp.media.probe import VideoInfo
from dvcp.media.reader import FrameReader
from dvcp.media.stills import read_still, reference_from_still
from dvcp.methods.base import Reference
from dvcp.runtime.plan import ReferenceSource
from dvcp.store.secrets import Secrets
from dvcp.timing import Span


@dataclass(frozen=True)
class Recipe:
    """How colour is made: what goes with every window, so it is small.

    Attributes:
        method, options: of :func:`dvcp.methods.create`.
        colour: of the film's samples.
        fields: frames are woven of two fields, each to be coloured by itself.
        secrets: what opens the stores, which the nodes of a cluster may not have.
    """

    method: str
    options: tuple[tuple[str, Any], ...]
    colour: ColourSpec
    fields: bool = False
    secrets: Secrets = field(default_factory=Secrets)


@dataclass(frozen=True)
class Work:
    """What every actor of a job needs to know, sent with each segment.

    Attributes:
        info: the film.
        method, options: of :func:`dvcp.methods.create`.
        ledger: URL of the ledger's folder.
        ahead: windows decoded and matched ahead of propagation, so that open work is bounded in bytes.
        fields: frames are woven of two fields, each to be coloured by itself.
        shot: the frames of the shot in hand.
        secrets: what opens the stores, which the nodes of a cluster may not have.
    """

    info: VideoInfo
    method: str
    options: tuple[tuple[str, Any], ...]
    ledger: str
    ahead: int
    fields: bool = False
    shot: Span | None = None
    secrets: Secrets = field(default_factory=Secrets)

    @property
    def recipe(self) -> Recipe:
        return Recipe(self.method, self.options, self.info.colour, self.fields, self.secrets)


#: pixels of a picture from elsewhere that are read, for each of the film's
_USEFUL = 4


@dataclass(frozen=True)
class Progress:
    """Frames coloured since the last report."""

    frames: int


def load_reference(info: VideoInfo, source: ReferenceSource, fields: bool = False) -> Reference:
    """Read a still, and the film's own frame it paints; or, where the film itself is named, that frame's own colour.

    Raises:
        ReferenceError: unreadable still, or one that is not what it was when the job was planned.
        MediaError: unreadable frame.
    """
    luma = None
    if source.frame is not None and source.frame in info.damaged and source.url != info.url:
        # What was painted over cannot be decoded any more: the painting's own light has to do.
        return replace(reference_from_still(read_still(source.url), info, None, fields)[0], in_shot=True)
    if source.frame is not None:
        with FrameReader(info) as reader:
            luma, chroma = (planes[0] for planes in reader.planes(Span(source.frame, source.frame + 1)))
        if source.url == info.url:
            return Reference(luma, chroma_to_unit(chroma, info.colour), True, source.digest)
    # A picture from elsewhere may be of any size, and only so many of its pixels can be of use.
    still = read_still(source.url, None if source.frame is not None else _USEFUL * info.height * info.width)
    if still.digest != source.digest:
        raise ReferenceError("changed since the run began", file=source.url, hint="run the same command again")
    return reference_from_still(still, info, luma, fields)[0]


@dataclass(frozen=True)
class Lane:
    """Actors that work on one segment at a time: a writer, the propagator and the decoder it pulls from, and the matchers all lanes share.

    Handles travel with every call: as constructor arguments they would lie in the object store, and a restart fails once they are evicted.

    Attributes:
        name: tells it from others.
        writer, propagator, decoder, matchers: handles of actors.
    """

    name: str
    writer: Any
    propagator: Any
    decoder: Any
    matchers: tuple[Any, ...]
