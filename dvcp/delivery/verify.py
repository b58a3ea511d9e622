"""A whole bag, checked by decoding everything in it.

**What the bag alone proves**: that it is complete and as it was packed; that every film decodes, frame by frame and packet by packet, to
what was written down; that all films of it show the same pictures at the same times with the same sound; that the layer is the master's
colour; that the papers agree with each other, with the references and with the marks inside the films, down to the ledger keys, which are
worked out again from what the provenance says each segment was made of.

**What only the source proves** (``--source``): that luma, times and sound are the source's. Somebody who changes the master, makes every
copy, list, paper and manifest anew and puts the right marks into them has made another bag, and no bag can tell that it is not the first
one. Against that there is the source, and the seal of the bag (the sha256 of ``tagmanifest-sha256.txt``) that ``dvcp deliver`` and
``dvcp verify`` print: write it down elsewhere. The colours themselves are invented; that they are the ones dvcp computed is proven only by
computing them again. Facts that no key covers (confidence, digest of the weights alone, host, dates, which track a copy's container
refused) rest on manifests and PREMIS; subtitles and attachments on the sha256 of the films.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dvcp.delivery import names
from dvcp.delivery.bag import Digests, local_copy
from dvcp.delivery.bag_check import check_shell
from dvcp.delivery.verify_films import Film, check_copy, check_film, open_film
from dvcp.delivery.verify_papers import check_papers
from dvcp.errors import DvcpError
from dvcp.media.compare import compare
from dvcp.media.profiles import MASTER
from dvcp.media.source import content_digest
from dvcp.store import files
from dvcp.store.provenance import damaged_frames, decode_pts
from dvcp.timing import FrameTable


@dataclass(frozen=True)
class Verdict:
    """What came of it.

    Attributes:
        films: names of the films that were decoded.
        frames: of the master.
        seal: sha256 (hex) of ``tagmanifest-sha256.txt``.
        against_source: whether the source was at hand.
        problems: one line each; empty when the bag is what it should be.
    """

    films: tuple[str, ...]
    frames: int
    seal: str
    against_source: bool
    problems: tuple[str, ...]


def verify_bag(url: str, source_url: str | None = None) -> Verdict:
    """Check a bag that :func:`dvcp.delivery.deliver.deliver_bag` wrote; see the module for what that proves.

    Args:
        url: of the bag, any fsspec URL; films on an object store are fetched one by one.
        source_url: the film it was made from, where it is at hand.

    Raises:
        StoreError: the store cannot be reached.
        MediaError: the source cannot be read.
    """
    url = files.absolute(url)
    shell = check_shell(url)
    problems = list(shell.problems)
    provenance = _provenance(url, problems)
    if provenance is None:
        return Verdict((), 0, shell.seal, source_url is not None, tuple(problems))
    with ExitStack() as stack:
        source = stack.enter_context(local_copy(source_url)) if source_url else None
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="dvcp-")))
        try:
            problems += _guarded(names.PROVENANCE, check_papers(url, provenance, shell.payload))
            films, frames = _films(url, provenance, shell.payload, source, scratch, problems)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError) as error:
            # Edited by hand: a field is gone or of another kind. What it stood for cannot be checked any more.
            problems.append(f"data/{names.PROVENANCE}: damaged or edited: {type(error).__name__} {error}")
            films, frames = (), 0
    return Verdict(films, frames, shell.seal, source is not None, tuple(dict.fromkeys(problems)))


def _provenance(url: str, problems: list[str]) -> dict[str, Any] | None:
    data = files.get_bytes(files.join(url, "data", names.PROVENANCE))
    try:
        told = json.loads(data or b"")
        if isinstance(told, dict) and isinstance(told["delivery"]["files"], list):
            return told
    except (ValueError, KeyError, TypeError):
        pass
    problems.append(f"data/{names.PROVENANCE}: missing or damaged, so nothing more can be proven")
    return None


def _films(
    url: str, provenance: Mapping[str, Any], payload: Mapping[str, Digests], source: Path | None, scratch: Path, problems: list[str]
) -> tuple[tuple[str, ...], int]:
    told = provenance["delivery"]["files"]
    clock = _clock(url, problems)
    masters = [film for film in told if film["profile"] == MASTER.name]
    if len(masters) != 1 or masters[0]["file"] not in payload:
        problems.append(f"data/{names.PROVENANCE}: names no master that is there")
        return (), 0
    if masters[0]["sha256"] != provenance["output"]["sha256"]:
        problems.append(f"data/{masters[0]['file']}: is not the master of the provenance (sha256 differs)")
    done = []
    with ExitStack() as stack:
        master = _open(stack, url, masters[0], problems)
        for entry in told:
            if entry["file"] not in payload:
                problems.append(f"data/{entry['file']}: missing, named in {names.PROVENANCE}")
                continue
            with ExitStack() as own:
                film = master if entry is masters[0] else _open(own, url, entry, problems)
                if film is None:
                    continue
                done.append(film.name)
                problems += _guarded(film.name, check_film(film, provenance, payload[film.name], clock, scratch))
                if master is not None and film is not master:
                    problems += _guarded(film.name, check_copy(film, master))
        if master is not None and source is not None:
            problems += _against(master, source, provenance, clock)
        return tuple(done), len(master.info.frames) if master else 0


def _open(stack: ExitStack, url: str, entry: Mapping[str, Any], problems: list[str]) -> Film | None:
    try:
        return open_film(stack, url, entry)
    except DvcpError as error:
        problems.append(f"data/{entry['file']}: {error.message}")
        return None


def _guarded(name: str, problems: Iterable[str]) -> list[str]:
    """All problems, and last that which kept the rest from being looked at."""
    found = []
    try:
        for problem in problems:
            found.append(problem)
    except DvcpError as error:
        found.append(f"data/{name}: {error.message}")
    return found


def _clock(url: str, problems: list[str]) -> FrameTable | None:
    where = files.join(url, "data", names.PTS)
    try:
        return decode_pts(files.get_bytes(where) or b"", where)
    except DvcpError as error:
        problems.append(f"data/{names.PTS}: {error.message}")
        return None


def _compared(master: Film, source: Path, damaged: Sequence[int]) -> Iterator[str]:
    yield from (f"data/{master.name}: {problem}" for problem in compare(str(master.path), str(source), MASTER, damaged).problems)


def _against(master: Film, source: Path, provenance: Mapping[str, Any], clock: FrameTable | None) -> list[str]:
    if content_digest(str(source)) != provenance["source"]["sha256"]:
        return [f"{source}: not the film this bag was made from (sha256 differs)"]
    problems = _guarded(master.name, _compared(master, source, damaged_frames(provenance)))
    problems += [] if clock is None or master.exact(clock, str(source)) else [f"data/{names.PTS}: not the clock of the source"]
    return problems
