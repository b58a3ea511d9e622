"""dvcp.delivery.deliver: a bag that other people's tools accept, complete or no bag at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import bagit
import opentimelineio as otio
import pytest

from dvcp.delivery import bag as bag_module
from dvcp.delivery import names
from dvcp.delivery.bag import BagWriter
from dvcp.delivery.deliver import deliver_bag
from dvcp.delivery.mark import DIGITAL_SOURCE_TYPE, read_mark
from dvcp.delivery.premis import NAMESPACE
from dvcp.delivery.verify import verify_bag
from dvcp.errors import ConfigError, StoreError, VerifyError
from dvcp.media.probe import probe
from dvcp.store import files
from tests.unit.delivery_film import METHOD, WEIGHTS, Finished, finish

XML = {"p": NAMESPACE}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return finish(tmp_path_factory.mktemp("film"))


@pytest.fixture(scope="module")
def bag(film: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bags") / "reel"
    done = deliver_bag(film.master, film.source, str(folder))
    assert done.made and set(done.files) == {p.relative_to(folder / "data").as_posix() for p in (folder / "data").rglob("*") if p.is_file()}
    return folder


def test_the_library_of_congress_validates_it(bag: Path) -> None:
    opened = bagit.Bag(str(bag))
    assert opened.validate() and opened.version_info == (1, 0)
    assert sorted(opened.algorithms) == ["sha256", "sha512"]
    assert opened.info["Payload-Oxum"].endswith(f".{len(list(opened.payload_files()))}")


def test_it_verifies_with_and_without_the_source(bag: Path, film: Finished) -> None:
    for source in (None, film.source):
        verdict = verify_bag(str(bag), source)
        assert verdict.problems == () and len(verdict.films) == 4 and verdict.frames == 8


def test_every_film_carries_the_mark_and_keeps_the_title(bag: Path, film: Finished) -> None:
    films = [bag / "data" / f"reel_colour{suffix}" for suffix in (".mkv", ".mov", ".mp4", ".colour.mkv")]
    marks = {read_mark(probe(str(path)).metadata) for path in films}
    assert len(marks) == 1 and None not in marks
    for path in films:
        metadata = {key.lower(): value for key, value in probe(str(path)).metadata.items()}
        assert metadata["title"] == "Réel" and metadata["digital_source_type"] == DIGITAL_SOURCE_TYPE
        sidecar = json.loads(Path(f"{path}{names.MARK}").read_text())
        assert read_mark(sidecar) in marks and "synthetic" in sidecar["statement"]


def test_the_shot_lists_begin_with_the_films_timecode(bag: Path) -> None:
    assert "01:00:00:00 01:00:00:04" in (bag / "data" / "shots.edl").read_text()
    timeline = otio.adapters.read_from_file(str(bag / "data" / "shots.otio"))
    assert timeline.global_start_time.to_timecode() == "01:00:00:00"


def test_premis_names_every_file_and_says_who_did_what(bag: Path) -> None:
    root = ElementTree.parse(bag / "data" / names.PREMIS).getroot()
    assert root.tag == f"{{{NAMESPACE}}}premis" and root.get("version") == "3.0"
    order = [node.tag.rpartition("}")[2] for node in root]
    assert order == sorted(order, key=["object", "event", "agent"].index)
    manifest = dict(reversed(line.split("  data/")) for line in (bag / "manifest-sha256.txt").read_text().splitlines())  # type: ignore[misc]
    objects = root.findall("p:object", XML)
    told = {node.findtext(".//p:objectIdentifierValue", "", XML): node.findtext(".//p:messageDigest", "", XML) for node in objects}
    source = next(name for name in told if name.startswith("source:"))
    assert {name: digest for name, digest in told.items() if name != source}.items() <= manifest.items()
    keys = [node.text for node in root.iterfind(".//p:formatRegistryKey", XML)]
    assert sorted(keys) == ["fmt/199", "fmt/569", "fmt/569", "x-fmt/384"]  # type: ignore[type-var]
    kinds = [node.text for node in root.iterfind(".//p:eventType", XML)]
    assert kinds.count("modification") == 2 and kinds.count("migration") == 3
    for node in root.iterfind(".//p:eventType", XML):
        assert (node.get("valueURI") or "").startswith("http://id.loc.gov/vocabulary/preservation/eventType/")
    text = ElementTree.tostring(root, "unicode")
    assert METHOD in text and WEIGHTS in text and "mean confidence 0.54" in text and "host:here" in text
    linked = {node.text for node in root.iterfind(".//p:linkingObjectIdentifierValue", XML)}
    agents = {node.text for node in root.iterfind(".//p:linkingAgentIdentifierValue", XML)}
    assert linked <= set(told) and agents == {node.text for node in root.iterfind(".//p:agentIdentifierValue", XML)}


def test_only_the_profiles_asked_for(film: Finished, tmp_path: Path) -> None:
    deliver_bag(film.master, film.source, str(tmp_path / "bag"), ["access"])
    found = {p.name for p in (tmp_path / "bag" / "data").iterdir() if p.suffix in (".mkv", ".mov", ".mp4")}
    assert found == {"reel_colour.mkv", "reel_colour.mp4"}
    assert verify_bag(str(tmp_path / "bag"), film.source).problems == ()
    with pytest.raises(StoreError, match="other profiles"):
        deliver_bag(film.master, film.source, str(tmp_path / "bag"), ["layer"])
    with pytest.raises(ConfigError, match="no profile"):
        deliver_bag(film.master, film.source, str(tmp_path / "other"), ["imax"])


def test_a_complete_bag_is_left_as_it_is(bag: Path, film: Finished) -> None:
    before = {p: p.stat().st_mtime_ns for p in bag.rglob("*")}
    assert not deliver_bag(film.master, film.source, str(bag)).made
    assert {p: p.stat().st_mtime_ns for p in bag.rglob("*")} == before


@pytest.mark.parametrize("stop", [0, 1, 3, 4, 7, 9, 16, 18, 22])
def test_an_interrupted_bag_is_no_bag_and_the_same_command_completes_it(
    film: Finished, bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    """Killed after any number of files: what is there does not validate, and running again makes a valid bag of the same films."""
    url, done = str(tmp_path / "bag"), 0
    real_bytes, real_file = files.put_bytes, files.put_file

    def count(put: Any) -> Any:
        def counted(*arguments: Any, **options: Any) -> Any:
            nonlocal done
            if str(tmp_path) in str(arguments[1]):
                if done == stop:
                    raise KeyboardInterrupt
                done += 1
            return put(*arguments, **options)

        return counted

    with monkeypatch.context() as patch:
        patch.setattr(files, "put_bytes", count(real_bytes))
        patch.setattr(files, "put_file", count(real_file))
        with pytest.raises(KeyboardInterrupt):
            deliver_bag(film.master, film.source, url, ["access"])
    if stop:
        (tmp_path / "bag" / ".dvcp-killed.part").write_bytes(b"half a file")
        with pytest.raises(bagit.BagError):
            bagit.Bag(url)
        assert any("not complete" in problem for problem in verify_bag(url).problems)
    assert deliver_bag(film.master, film.source, url, ["access"]).made
    assert bagit.Bag(url).validate() and verify_bag(url, film.source).problems == ()
    # the very bytes: a transcode is the same whenever it is made
    for name in ("reel_colour.mkv", "reel_colour.mp4", "reel_colour.mp4.framemd5"):
        assert (tmp_path / "bag" / "data" / name).read_bytes() == (bag / "data" / name).read_bytes()


def test_a_folder_with_something_else_in_it_is_left_alone(film: Finished, tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(StoreError, match="no bag of dvcp's"):
        deliver_bag(film.master, film.source, str(tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["letters.txt"]


def test_a_foreign_file_in_the_payload_is_not_sealed_in(tmp_path: Path) -> None:
    writer = BagWriter(str(tmp_path / "bag"))
    assert not writer.begin({"of": "a film"})
    writer.put_bytes(b"mine", "mine.txt")
    (tmp_path / "bag" / "data" / "yours.txt").write_text("yours")
    with pytest.raises(StoreError, match=r"yours\.txt does not belong"):
        writer.seal({})
    assert not (tmp_path / "bag" / "bagit.txt").exists()


def test_what_is_not_what_it_claims_is_not_delivered(film: Finished, tmp_path: Path) -> None:
    folder = tmp_path / "film"
    shutil.copytree(Path(film.master).parent, folder)
    master = folder / Path(film.master).name
    with pytest.raises(VerifyError, match="sha256 differs"):
        deliver_bag(str(master), film.master, str(tmp_path / "a"))
    master.write_bytes(master.read_bytes()[:-1])
    with pytest.raises(VerifyError, match="sha256 differs"):
        deliver_bag(str(master), film.source, str(tmp_path / "b"))
    told = json.loads((folder / "reel_colour.dvcp" / "provenance.json").read_text())
    (folder / "reel_colour.dvcp" / "provenance.json").write_text(json.dumps(told | {"format": 1}))
    with pytest.raises(StoreError, match="earlier dvcp"):
        deliver_bag(str(master), film.source, str(tmp_path / "c"))
    shutil.rmtree(folder / "reel_colour.dvcp")
    with pytest.raises(StoreError, match="no provenance"):
        deliver_bag(str(master), film.source, str(tmp_path / "d"))


def test_a_reference_that_was_painted_over_since_is_not_delivered(tmp_path: Path) -> None:
    film = finish(tmp_path / "film")
    Path(film.still).write_bytes(Path(film.still).read_bytes() + b" ")
    with pytest.raises(StoreError, match="not the picture"):
        deliver_bag(film.master, film.source, str(tmp_path / "bag"), ["master"])
    assert not (tmp_path / "bag" / "bagit.txt").exists()


@pytest.mark.parametrize("name", ["réel 1 100%.mkv", "a:b*c?.mkv", "line\nbreak.mkv", "  .mkv"])
def test_names_that_bagit_tools_stumble_over_are_made_plain(tmp_path: Path, name: str) -> None:
    plain = names.safe(name)
    assert plain and not set(plain) & set('%:*?\n/\\"<>|')
    writer = BagWriter(str(tmp_path / "bag"))
    writer.begin({})
    writer.put_bytes(b"x", plain)
    writer.seal({})
    assert bagit.Bag(str(tmp_path / "bag")).validate()
    assert bag_module.digests_of(writer.data(plain)).size == 1
