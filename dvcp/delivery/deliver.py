"""A finished master with its copies, its proof and its papers, as a bag on any store. Run again after an interruption to complete it."""

from __future__ import annotations

import json
import logging
import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

from dvcp.delivery import names
from dvcp.delivery.bag import BagWriter, Digests, local_copy
from dvcp.delivery.derive import derive
from dvcp.delivery.framemd5 import write_framemd5
from dvcp.delivery.mark import SOFTWARE, STATEMENT, Mark, read_mark, recipe
from dvcp.delivery.premis import premis
from dvcp.delivery.readme import readme
from dvcp.delivery.sidecar import read_sidecar
from dvcp.delivery.sound import sound_digests
from dvcp.errors import ConfigError, StoreError, VerifyError
from dvcp.media.compare import Comparison, compare
from dvcp.media.probe import VideoInfo, probe
from dvcp.media.profiles import MASTER, Profile, profile_of
from dvcp.media.source import content_digest
from dvcp.shots.timeline import ShotList, from_cuts, write_shots
from dvcp.store import files
from dvcp.store.output import Output
from dvcp.store.provenance import damaged_frames, encode_pts

log = logging.getLogger(__name__)
Tell = Callable[[str], None]
#: what provenance has to have; earlier runs wrote less
NEEDED_FORMAT = 2


@dataclass(frozen=True)
class Delivery:
    """A bag that is complete.

    Attributes:
        url: of the bag.
        files: payload names.
        seal: sha256 of ``tagmanifest-sha256.txt``: kept elsewhere, it proves that nobody wrote the whole bag anew.
        warnings: one line each.
        made: False when the bag was complete before.
    """

    url: str
    files: tuple[str, ...]
    seal: str
    warnings: tuple[str, ...]
    made: bool = True


@dataclass(frozen=True, eq=False)
class _Film:
    master: VideoInfo
    source: VideoInfo
    provenance: dict[str, Any]
    mark: Mark
    name: str


def deliver_bag(
    master_url: str, source_url: str, bag_url: str, profiles: Sequence[str] = names.DEFAULT, tell: Tell | None = None
) -> Delivery:
    """Verify the master against its source, derive the other profiles from it, and write everything as a BagIt 1.0 bag.

    Args:
        master_url: output of ``dvcp colorize`` with profile master, its ``.dvcp`` folder beside it.
        source_url: the film it was made from.
        bag_url: folder of the bag, any fsspec URL; empty, or an interrupted bag of the same delivery.
        profiles: names of those to deliver; the master is always among them.
        tell: called with what is being done, a line each.

    Raises:
        VerifyError: the master is not what it claims to be.
        StoreError: no provenance beside the master, a reference is gone or changed, or the bag's folder holds something else.
        ConfigError: an unknown profile, or an output that is no master.
    """
    tell = tell or log.info
    wanted = [MASTER, *(profile_of(name) for name in dict.fromkeys(profiles) if name != MASTER.name)]
    output = Output(files.absolute(master_url))
    provenance = _provenance(output)
    bag = BagWriter(files.absolute(bag_url))
    claim = {
        "master_sha256": provenance["output"]["sha256"], "source_sha256": provenance["source"]["sha256"],
        "profiles": [profile.name for profile in wanted],
    }  # fmt: skip
    if bag.begin(claim):
        return Delivery(bag.url, (), "", (), made=False)
    with ExitStack() as stack:
        master_file = stack.enter_context(local_copy(output.file_url))
        source_file = stack.enter_context(local_copy(source_url))
        tell("comparing the master with its source")
        film, compared = _checked(str(master_file), str(source_file), source_url, provenance, output)
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="dvcp-", dir=_room(bag.url)))
        warnings, delivered = list[str](), list[dict[str, Any]]()
        for profile in wanted:
            tell(f"profile {profile.name}")
            delivered.append(_put_film(bag, film, profile, Path(scratch), warnings))
        stills = _put_references(bag, provenance)
        _put_papers(bag, film, delivered, stills, compared)
    tell("manifests")
    seal = bag.seal(_info(provenance, film.name))
    return Delivery(bag.url, tuple(sorted(bag.payload)), seal, tuple(warnings))


def _provenance(output: Output) -> dict[str, Any]:
    url = output.report_url(names.PROVENANCE)
    found = read_sidecar(url)
    if found is None:
        raise StoreError("no provenance beside it", file=output.file_url, hint="deliver the output of dvcp colorize where it lies")
    if found.get("format", 0) < NEEDED_FORMAT:
        hint = "run dvcp colorize again: nothing is computed anew, only joined"
        raise StoreError(f"was written by an earlier dvcp (format {found.get('format')})", file=url, hint=hint)
    if found["output"]["profile"] != MASTER.name:
        raise ConfigError(f"is a {found['output']['profile']} file", file=output.file_url, hint="a delivery is made from a master")
    return found


def _checked(
    master: str, source: str, source_url: str, provenance: dict[str, Any], output: Output
) -> tuple[_Film, Comparison]:
    for path, part, url in ((master, "output", output.file_url), (source, "source", source_url)):
        if content_digest(path) != provenance[part]["sha256"]:
            raise VerifyError("its bytes are not those of the provenance (sha256 differs)", file=url, hint="is it the right file?")
    info = probe(master)
    mark = Mark(provenance["source"]["sha256"], recipe(s["key"] for s in provenance["segments"]))
    found = read_mark(info.metadata)
    if found is None or (found.source, found.recipe) != (mark.source, mark.recipe):
        hint = "run dvcp colorize again: nothing is computed anew, only joined"
        raise VerifyError("carries no mark of synthetic colour, or another film's", file=output.file_url, hint=hint)
    damaged = damaged_frames(provenance)
    compared = compare(master, source, MASTER, damaged)
    if compared.problems:
        raise VerifyError(compared.problems[0], file=output.file_url, hint="it is not what it should be; keep it apart")
    return _Film(info, replace(probe(source), damaged=damaged), provenance, found, output.name), compared


def _put_film(bag: BagWriter, film: _Film, profile: Profile, scratch: Path, warnings: list[str]) -> dict[str, Any]:
    name, master = names.film_name(film.name, profile), film.provenance["output"]["sha256"]
    kept = _kept(bag, film, name, profile)
    if kept is not None:
        with local_copy(bag.data(name)) as stored:
            sound = sound_digests(probe(str(stored)))
    else:
        path = Path(film.master.url)
        if profile is not MASTER:
            path = scratch / name
            warnings += derive(film.master, film.source, profile, path, film.mark)
        info = film.master if profile is MASTER else probe(str(path))
        sound = sound_digests(info)
        luma, everything = scratch / "luma", scratch / "everything"
        write_framemd5(info, luma, everything)
        kept = bag.put(path, name)
        bag.put(luma, name + names.LUMA)
        bag.put(everything, name + names.EVERYTHING)
        # last: it says that the three before it are whole
        bag.put_bytes(as_json(film.mark.to_json(name, kept.sha256, kept.size, profile.name, master)), name + names.MARK)
        if profile is not MASTER:
            path.unlink()
    return {"file": name, "profile": profile.name, "bytes": kept.size, "sha256": kept.sha256, "sound": sound}


def _kept(bag: BagWriter, film: _Film, name: str, profile: Profile) -> Digests | None:
    """What an interrupted run left whole, so that a long transcode is not done again."""
    sidecar = files.get_bytes(bag.data(name + names.MARK))
    if sidecar is None:
        return None
    parts = [name, name + names.LUMA, name + names.EVERYTHING]
    if any(files.size(bag.data(part)) is None for part in parts):
        return None
    digests = bag.keep(name)
    wanted = film.mark.to_json(name, digests.sha256, digests.size, profile.name, film.provenance["output"]["sha256"])
    if sidecar != as_json(wanted):
        return None
    for part in (*parts[1:], name + names.MARK):
        bag.keep(part)
    return digests


def _put_references(bag: BagWriter, provenance: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The pictures colour was taken from, each once, under names of their own."""
    stills: dict[str, dict[str, Any]] = {}
    for picture in provenance["references"]:
        if picture["sha256"] in stills:
            continue
        name = names.still_name(len(stills) + 1, picture["file"])
        with local_copy(picture["file"]) as path:
            digests = bag.put(path, name)
        if digests.sha256 != picture["sha256"]:
            raise StoreError("is not the picture the film was coloured from any more", file=picture["file"], hint="bring the old one back")
        stills[picture["sha256"]] = {"file": name, "sha256": digests.sha256, "bytes": digests.size, "original": picture["file"]}
    return list(stills.values())


def _put_papers(
    bag: BagWriter, film: _Film, delivered: list[dict[str, Any]], stills: list[dict[str, Any]], compared: Comparison
) -> None:
    delivery = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"), "host": socket.gethostname(), "software": SOFTWARE,
        "files": delivered, "references": stills, "sound": sound_digests(film.master),
        "timecode": film.source.timecode, "rate": str(film.source.average_rate),
        "verified": {"frames": compared.frames, "differing_luma_samples": compared.differing_luma_samples},
    }  # fmt: skip
    provenance = film.provenance | {"delivery": delivery}
    bag.put_bytes(encode_pts(film.source.frames), names.PTS)
    bag.put_bytes(readme(provenance), names.README)
    for name in names.LISTS:
        write_shots(shot_list(provenance), bag.data(name), film.source.timecode)
        bag.keep(name)
    papers = (names.PTS, names.README, *names.LISTS)
    delivery["papers"] = [{"file": name, "sha256": bag.payload[name].sha256, "bytes": bag.payload[name].size} for name in papers]
    told = bag.put_bytes(as_json(provenance), names.PROVENANCE)
    bag.put_bytes(premis(provenance, told.sha256, told.size), names.PREMIS)


def shot_list(provenance: Mapping[str, Any]) -> ShotList:
    """The shots a provenance names. Raises ShotListError, KeyError or TypeError when they are none."""
    shots = provenance["shots"]
    cuts = [shot["first"] for shot in shots[1:]]
    return from_cuts(provenance["source"]["url"], Fraction(provenance["delivery"]["rate"]), shots[-1]["stop"], cuts)


def as_json(data: Mapping[str, Any]) -> bytes:
    """JSON as the files of a delivery are written."""
    return (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode()


def _info(provenance: Mapping[str, Any], name: str) -> dict[str, str]:
    """``bag-info.txt``, in order."""
    return {
        "Bagging-Date": datetime.now(UTC).date().isoformat(),
        "Bag-Software-Agent": SOFTWARE,
        "External-Identifier": name,
        "External-Description": STATEMENT,
        "Source-SHA256": provenance["source"]["sha256"],
        "Master-SHA256": provenance["output"]["sha256"],
    }


def _room(bag_url: str) -> str | None:
    """Where transcodes are made: the disk the bag lies on where it is local, as the system's own folder is often small."""
    local = files.local_path(bag_url)
    return str(Path(local).parent) if local else None
