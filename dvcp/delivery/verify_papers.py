"""The papers of a bag: provenance, PREMIS, read me, shot lists and references, each against the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from dvcp.delivery import names
from dvcp.delivery.bag import Digests
from dvcp.delivery.deliver import shot_list
from dvcp.delivery.mark import DIGITAL_SOURCE_TYPE, STATEMENT
from dvcp.delivery.premis import facts, premis
from dvcp.errors import DvcpError
from dvcp.shots.timeline import read_shots
from dvcp.store import files
from dvcp.store.ledger import AS_IT_IS, BY_FIELDS, SegmentIdentity


def check_papers(url: str, provenance: Mapping[str, Any], payload: Mapping[str, Digests]) -> Iterator[str]:
    """Problems, one line each.

    Raises:
        KeyError, TypeError, ValueError: a provenance with a field missing or of another kind.
    """
    told = payload.get(names.PROVENANCE)
    if told is not None and facts(files.get_bytes(_data(url, names.PREMIS)) or b"") != facts(premis(provenance, told.sha256, told.size)):
        yield f"data/{names.PREMIS}: does not agree with {names.PROVENANCE}"
    for paper in provenance["delivery"]["papers"]:
        found = payload.get(paper["file"])
        if found is None or (found.sha256, found.size) != (paper["sha256"], paper["bytes"]):
            yield f"data/{paper['file']}: {'missing' if found is None else f'is not that of {names.PROVENANCE} (sha256 differs)'}"
    text = (files.get_bytes(_data(url, names.README)) or b"").decode(errors="replace")
    if provenance["source"]["sha256"] not in text or DIGITAL_SOURCE_TYPE not in text:
        yield f"data/{names.README}: does not say that the colour is synthetic, or of which source"
    info = (files.get_bytes(files.join(url, "bag-info.txt")) or b"").decode(errors="replace").splitlines()
    for line in (f"Source-SHA256: {provenance['source']['sha256']}", f"Master-SHA256: {provenance['output']['sha256']}"):
        if line not in info:
            yield f"bag-info.txt: does not say {line}"
    if " ".join(STATEMENT.split()) not in " ".join(" ".join(info).split()):
        yield "bag-info.txt: does not say that the colour is synthetic"
    yield from _segments(provenance)
    yield from _references(provenance, payload)
    yield from _lists(url, provenance)
    yield from _surplus(provenance, payload)


def _segments(provenance: Mapping[str, Any]) -> Iterator[str]:
    """Each segment's key is worked out again from what it is said to be made of."""
    where, stop = f"data/{names.PROVENANCE}", 0
    pictures = {picture["sha256"] for picture in provenance["references"]}
    shots = {(shot["first"], shot["stop"]): shot for shot in provenance["shots"]}
    for segment in provenance["segments"]:
        identity = SegmentIdentity.from_json(segment["identity"])
        at = f"{where}: segment at frame {segment['first']}"
        if identity.key != segment["key"]:
            yield f"{at}: its key is not that of what it is said to be made of"
        if (identity.span.first, identity.span.stop) != (segment["first"], segment["stop"]) or segment["first"] != stop:
            yield f"{at}: frames do not join"
        stop = segment["stop"]
        method = provenance["method"]["digest"] if identity.method == AS_IT_IS else identity.method.removesuffix(BY_FIELDS)
        facts = (identity.source, method, identity.profile)
        if facts != (provenance["source"]["sha256"], provenance["method"]["digest"], provenance["output"]["profile"]):
            yield f"{at}: source, method or profile is not that of the whole"
        if not {digest for _, digest in identity.references} <= pictures:
            yield f"{at}: was coloured from a picture that is not named"
        shot = shots.get((identity.shot.first, identity.shot.stop))
        if shot is None:
            yield f"{at}: belongs to no shot"
        elif (shot["method"], shot["method_digest"], shot["weights"]) != _method(identity.method, provenance["method"]) or (
            identity.engine not in shot["engine"]
        ):
            yield f"{where}: shot {shot['number']}: method, weights or engine is not that of its segments"
    if stop != provenance["delivery"]["verified"]["frames"]:
        yield f"{where}: segments end at frame {stop}"


def _method(made: str, whole: Mapping[str, Any]) -> tuple[str, str, str | None]:
    """Name, digest and weights that a shot must have whose segments say they were ``made`` so."""
    if made == AS_IT_IS:
        return AS_IT_IS, made, None
    return whole["name"] + (BY_FIELDS if made.endswith(BY_FIELDS) else ""), made, whole["weights"]


def _references(provenance: Mapping[str, Any], payload: Mapping[str, Digests]) -> Iterator[str]:
    where = f"data/{names.PROVENANCE}"
    kept = {picture["sha256"]: picture for picture in provenance["delivery"]["references"]}
    for digest in {picture["sha256"] for picture in provenance["references"]} ^ set(kept):
        yield f"{where}: the picture with sha256 {digest} was used and not kept, or kept and not used"
    for digest, picture in kept.items():
        found = payload.get(picture["file"])
        if found is None or found.sha256 != digest:
            yield f"data/{picture['file']}: {'missing' if found is None else 'is not the picture the film was coloured from'}"
    for shot in provenance["shots"]:
        own = [(p["frame"], p["sha256"]) for p in provenance["references"] if p["shot"] == shot["number"]]
        if own != [(p["frame"], p["sha256"]) for p in shot["references"]]:
            yield f"{where}: shot {shot['number']}: its references are not those of the whole"


def _lists(url: str, provenance: Mapping[str, Any]) -> Iterator[str]:
    wanted = [shot.span for shot in shot_list(provenance).shots]
    rate, frames = Fraction(provenance["delivery"]["rate"]), wanted[-1].stop
    for name in names.LISTS:
        try:
            found = [shot.span for shot in read_shots(_data(url, name), frames, rate, provenance["source"]["url"]).shots]
        except DvcpError as error:
            yield f"data/{name}: {error.message}"
            continue
        if found != wanted:
            yield f"data/{name}: its shots are not those of {names.PROVENANCE}"


def _surplus(provenance: Mapping[str, Any], payload: Mapping[str, Digests]) -> Iterator[str]:
    """A file that no paper names, whatever the manifests say."""
    films = [film["file"] for film in provenance["delivery"]["files"]]
    known = {film + suffix for film in films for suffix in ("", names.LUMA, names.EVERYTHING, names.MARK)}
    known |= {picture["file"] for picture in provenance["delivery"]["references"]}
    known |= {names.PROVENANCE, names.PREMIS, names.PTS, names.README, *names.LISTS}
    yield from (f"data/{name}: no paper names it" for name in sorted(set(payload) - known))
    yield from (f"data/{name}: missing" for name in sorted(known - set(payload)))


def _data(url: str, name: str) -> str:
    return files.join(url, "data", name)
