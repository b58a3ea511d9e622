"""PREMIS 3 for preservation systems: objects, events and agents, worked out from the provenance alone.

The same provenance gives the same facts, so that whoever edits one of the two is found out by the other. Event types are those of the
Library of Congress (https://id.loc.gov/vocabulary/preservation/eventType.html); formats carry the PRONOM key of their container.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

NAMESPACE = "http://www.loc.gov/premis/v3"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
VOCABULARY = "http://id.loc.gov/vocabulary/preservation/eventType"
EVENT_TYPES = {
    "ing": "ingestion",
    "mod": "modification",
    "cre": "creation",
    "mig": "migration",
    "mes": "message digest calculation",
    "val": "validation",
    "ipc": "information package creation",
}
#: by suffix: name, PRONOM key
FORMATS = {
    ".mkv": ("Matroska", "fmt/569"),
    ".mov": ("QuickTime", "x-fmt/384"),
    ".mp4": ("MPEG-4", "fmt/199"),
}
CODECS = {"master": "FFV1 version 3", "layer": "FFV1 version 3", "mezzanine": "Apple ProRes 422 HQ", "access": "H.264"}

#: elements whose text is a fact and no wording
_FACTS = {
    "objectIdentifierValue", "messageDigest", "size", "formatRegistryKey", "relatedObjectIdentifierValue", "originalName",
    "eventIdentifierValue", "eventType", "eventDateTime", "eventOutcome", "eventOutcomeDetailNote", "linkingAgentIdentifierValue",
    "linkingObjectIdentifierValue", "agentIdentifierValue", "agentVersion", "agentNote",
}  # fmt: skip
#: one linked thing: identifier and its role
Link = tuple[str, str]


@dataclass(frozen=True)
class _Event:
    kind: str
    when: str
    detail: str
    outcome: str
    agents: Sequence[Link]
    objects: Sequence[Link]
    note: str = ""


def premis(provenance: Mapping[str, Any], provenance_sha256: str, provenance_bytes: int) -> bytes:
    """The PREMIS document of a delivery.

    Args:
        provenance: of format 2, with its ``delivery`` part.
        provenance_sha256, provenance_bytes: digest and size of ``provenance.json`` itself, which is one of the objects.

    Raises:
        KeyError, TypeError: a provenance that lacks what a delivery has.
    """
    root = ElementTree.Element("premis", {"xmlns": NAMESPACE, "xmlns:xsi": XSI, "version": "3.0"})
    root.set("xsi:schemaLocation", f"{NAMESPACE} https://www.loc.gov/standards/premis/premis.xsd")
    delivery, source = provenance["delivery"], provenance["source"]
    master = next(f["file"] for f in delivery["files"] if f["profile"] == "master")
    _object(root, _source(provenance), source["sha256"], None, "film", "", source["url"])
    for picture in delivery["references"]:
        _object(root, picture["file"], picture["sha256"], picture["bytes"], "still picture", "", picture["original"])
    for film in delivery["files"]:
        suffix = "." + film["file"].rpartition(".")[2]
        name, key = FORMATS.get(suffix, (suffix, ""))
        codec = f"{name} with {CODECS.get(film['profile'], film['profile'])}"
        node = _object(root, film["file"], film["sha256"], film["bytes"], codec, key, None)
        _derived(node, _source(provenance) if film["file"] == master else master)
    for paper in delivery["papers"]:
        _object(root, paper["file"], paper["sha256"], paper["bytes"], "text", "", None)
    _object(root, "provenance.json", provenance_sha256, provenance_bytes, "JSON", "", None)
    for number, event in enumerate(_events(provenance, master), 1):
        _event(root, number, event)
    _agents(root, provenance)
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, "utf-8", xml_declaration=True)) + b"\n"


def facts(document: bytes) -> frozenset[tuple[str, ...]] | None:
    """What a PREMIS document says, whatever its wording: each object with digest and size, each event with its links and note, each agent.

    None for something that is no such document.
    """
    try:
        root = ElementTree.fromstring(document)
    except ElementTree.ParseError:
        return None
    told = []
    for node in root:
        kind = node.tag.rpartition("}")[2]
        texts = [(child.tag.rpartition("}")[2], (child.text or "").strip()) for child in node.iter()]
        told.append((kind, *(text for name, text in texts if name in _FACTS)))
    return frozenset(told)


def _source(provenance: Mapping[str, Any]) -> str:
    return f"source:{provenance['source']['sha256']}"


def _events(provenance: Mapping[str, Any], master: str) -> list[_Event]:
    delivery, method = provenance["delivery"], provenance["method"]
    software, colours = ("dvcp", "executing program"), (f"method:{method['digest']}", "executing program")
    source = (_source(provenance), "source")
    kept = {picture["sha256"]: picture["file"] for picture in delivery["references"]}
    events = [
        _Event("ing", provenance["started"], "read as the source", "success", [software], [source]),
        _Event("mes", provenance["started"], "sha256 of the source", "success", [software], [source], provenance["source"]["sha256"]),
    ]
    for shot in provenance["shots"]:
        inside = [s for s in provenance["segments"] if shot["first"] <= s["first"] < shot["stop"]]
        hosts = sorted({(f"host:{m['host']}", "computer") for m in provenance["machines"] if "host" in m})
        pictures = [(kept[r["sha256"]], "reference") for r in shot["references"] if r["sha256"] in kept]
        words = [f"shot {shot['number']}, frames {shot['first']} to {shot['stop'] - 1}: colour synthesised, luma not touched"]
        words += [f"kind {shot['kind']}"] if shot["kind"] else []
        words += ["key frame coloured automatically" if shot["guessed"] else ""]
        sure = "not measured" if shot["confidence"] is None else str(shot["confidence"])
        when = max((s["created"] for s in inside if s["created"]), default=provenance["ended"])
        linked = [source, *dict.fromkeys(pictures), (master, "outcome")]
        detail = "; ".join(word for word in words if word)
        events.append(_Event("mod", when, detail, "success", [software, colours, *hosts], linked, f"mean confidence {sure}"))
    films = [film["file"] for film in delivery["files"]]
    whole = "segments joined, sound and metadata copied, marked as synthetic colour"
    events.append(_Event("cre", provenance["ended"], whole, "success", [software], [source, (master, "outcome")]))
    verified = delivery["verified"]
    checked = f"{verified['frames']} frames compared, {verified['differing_luma_samples']} luma samples differ"
    events.append(_Event("val", delivery["made"], "master against source, every frame", "success", [software], [(master, "")], checked))
    for film in delivery["files"]:
        if film["file"] != master:
            detail = f"transcoded from the master to profile {film['profile']}"
            events.append(_Event("mig", delivery["made"], detail, "success", [software], [(master, "source"), (film["file"], "outcome")]))
    papers = [paper["file"] for paper in delivery["papers"]]
    every = [(name, "") for name in [*films, *kept.values(), *papers, "provenance.json"]]
    events.append(_Event("mes", delivery["made"], "sha256 and sha512 of every file", "success", [software], every))
    events.append(_Event("ipc", delivery["made"], "BagIt 1.0", "success", [software, (f"host:{delivery['host']}", "computer")], every))
    return events


def _object(
    root: ElementTree.Element, name: str, sha256: str, size: int | None, format_name: str, pronom: str, original: str | None
) -> ElementTree.Element:
    node = _add(root, "object")
    node.set("xsi:type", "file")
    _identifier(node, "object", name)
    facts = _add(node, "objectCharacteristics")
    fixity = _add(facts, "fixity")
    _add(fixity, "messageDigestAlgorithm", "SHA-256")
    _add(fixity, "messageDigest", sha256)
    if size is not None:
        _add(facts, "size", str(size))
    kind = _add(facts, "format")
    _add(_add(kind, "formatDesignation"), "formatName", format_name)
    if pronom:
        registry = _add(kind, "formatRegistry")
        _add(registry, "formatRegistryName", "PRONOM")
        _add(registry, "formatRegistryKey", pronom)
    if original is not None:
        _add(node, "originalName", original)
    return node


def _derived(node: ElementTree.Element, parent: str) -> None:
    relation = _add(node, "relationship")
    _add(relation, "relationshipType", "derivation")
    _add(relation, "relationshipSubType", "has source")
    _identifier(relation, "relatedObject", parent)


def _event(root: ElementTree.Element, number: int, event: _Event) -> None:
    node = _add(root, "event")
    _identifier(node, "event", f"event-{number:04d}")
    kind = _add(node, "eventType", EVENT_TYPES[event.kind])
    kind.attrib |= {"authority": "eventType", "authorityURI": VOCABULARY, "valueURI": f"{VOCABULARY}/{event.kind}"}
    _add(node, "eventDateTime", event.when)
    _add(_add(node, "eventDetailInformation"), "eventDetail", event.detail)
    outcome = _add(node, "eventOutcomeInformation")
    _add(outcome, "eventOutcome", event.outcome)
    if event.note:
        _add(_add(outcome, "eventOutcomeDetail"), "eventOutcomeDetailNote", event.note)
    for what, links in (("Agent", event.agents), ("Object", event.objects)):
        for name, role in links:
            linked = _identifier(node, f"linking{what}", name)
            if role:
                _add(linked, f"linking{what}Role", role)


def _agents(root: ElementTree.Element, provenance: Mapping[str, Any]) -> None:
    delivery, method = provenance["delivery"], provenance["method"]
    engines = sorted({shot["engine"] for shot in provenance["shots"]})
    _agent(root, "dvcp", "dvcp", "software", delivery["software"].rpartition(" ")[2], [f"engine {engine}" for engine in engines])
    notes = [f"digest of method, settings and weights: sha256 {method['digest']}"]
    notes += [f"weights: sha256 {method['weights']}"] if method["weights"] else []
    _agent(root, f"method:{method['digest']}", f"colour method {method['name']}", "software", "", notes)
    hosts: dict[str, list[str]] = {delivery["host"]: []}
    for machine in provenance["machines"]:
        if "host" in machine:
            hosts[machine["host"]] = [f"{key}: {value}" for key, value in machine.items() if key != "host"]
    for host, notes in sorted(hosts.items()):
        _agent(root, f"host:{host}", host, "hardware", "", notes)


def _agent(root: ElementTree.Element, key: str, name: str, kind: str, version: str, notes: Sequence[str]) -> None:
    node = _add(root, "agent")
    _identifier(node, "agent", key)
    _add(node, "agentName", name)
    _add(node, "agentType", kind)
    if version:
        _add(node, "agentVersion", version)
    for note in notes:
        _add(node, "agentNote", note)


def _identifier(node: ElementTree.Element, what: str, value: str) -> ElementTree.Element:
    inner = _add(node, f"{what}Identifier")
    _add(inner, f"{what}IdentifierType", "local")
    _add(inner, f"{what}IdentifierValue", value)
    return inner


def _add(node: ElementTree.Element, name: str, text: str | None = None) -> ElementTree.Element:
    child = ElementTree.SubElement(node, name)
    child.text = text
    return child
