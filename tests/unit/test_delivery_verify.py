"""dvcp.delivery.verify: the untouched bag passes, and tampering is found, also where the tamperer repairs what can be repaired."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bagit
import numpy as np
import pytest
from numpy.typing import NDArray

from dvcp.delivery import names
from dvcp.delivery.deliver import deliver_bag
from dvcp.delivery.sound import sound_digests
from dvcp.delivery.verify import verify_bag
from dvcp.media.probe import probe
from dvcp.shots.timeline import from_cuts, write_shots
from dvcp.store.ledger import SegmentIdentity
from tests.unit.delivery_film import Finished, ffmpeg, finish, forge, repaper, reseal, rewrite
from tests.unit.media_clips import ramp

Planes = tuple[NDArray[Any], NDArray[Any]]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> tuple[Finished, Finished]:
    """The film, and another of the same size and length with other pictures and colours."""
    folder = tmp_path_factory.mktemp("films")
    return finish(folder / "one"), finish(folder / "two", hue=60, luma=ramp(8, 48, 64)[::-1].copy())


@pytest.fixture(scope="module")
def bags(films: tuple[Finished, Finished], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("bags")
    for k, film in enumerate(films):
        deliver_bag(film.master, film.source, str(folder / str(k)))
    return [folder / "0", folder / "1"]


@pytest.fixture
def bag(bags: list[Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(bags[0], tmp_path / "bag"))


def master(bag: Path) -> Path:
    return bag / "data" / "reel_colour.mkv"


def edit(bag: Path, change: Callable[[dict[str, Any]], None]) -> None:
    where = bag / "data" / names.PROVENANCE
    told = json.loads(where.read_text())
    change(told)
    where.write_text(json.dumps(told, indent=1))


def one_luma_sample(luma: NDArray[Any], chroma: NDArray[Any]) -> Planes:
    changed = luma.copy()
    changed[3, 20, 30] ^= 1
    return changed, chroma


def one_chroma_sample(luma: NDArray[Any], chroma: NDArray[Any]) -> Planes:
    changed = chroma.copy()
    changed[3, 1, 10, 10] ^= 1
    return luma, changed


def remux(path: Path, *options: str) -> None:
    """With ffmpeg, as anybody would."""
    out = path.with_suffix(".new" + path.suffix)
    tracks = ["-map", "0:v", "-map", "0:a", "-c", "copy"]
    subprocess.run([ffmpeg(), "-v", "error", "-y", "-i", str(path), *tracks, *options, str(out)], check=True, timeout=60)
    out.replace(path)


def other_sound(path: Path) -> None:
    remux(path, "-c:a", "pcm_s16le", "-filter:a", "volume=0.5")


# What is done to the bag, and then what shows it. None of these needs the source.

def flipped_bit(bag: Path, other: Path) -> None:
    data = bytearray(master(bag).read_bytes())
    data[len(data) // 2] ^= 1
    master(bag).write_bytes(data)


def truncated_and_resealed(bag: Path, other: Path) -> None:
    master(bag).write_bytes(master(bag).read_bytes()[:-9000])
    reseal(bag)


def removed_and_resealed(bag: Path, other: Path) -> None:
    (bag / "data" / "reel_colour.mp4").unlink()
    reseal(bag)


def added(bag: Path, other: Path) -> None:
    (bag / "data" / "note.txt").write_text("trust me")


def added_and_resealed(bag: Path, other: Path) -> None:
    added(bag, other)
    reseal(bag)


def edited_framemd5_and_resealed(bag: Path, other: Path) -> None:
    where = bag / "data" / "reel_colour.mkv.luma.framemd5"
    where.write_text(re.sub(r"[0-9a-f]{32}$", "0" * 32, where.read_text().rstrip()) + "\n")
    reseal(bag)


def luma_changed_and_resealed(bag: Path, other: Path) -> None:
    rewrite(master(bag), change=one_luma_sample)
    reseal(bag)


def chroma_changed_and_all_forged(bag: Path, other: Path) -> None:
    rewrite(master(bag), change=one_chroma_sample)
    forge(bag)


def last_frame_dropped_and_all_forged(bag: Path, other: Path) -> None:
    where = master(bag)
    remux(where, "-frames:v", "7")
    assert len(probe(str(where)).frames) == 7
    forge(bag)


def times_shifted_and_all_forged(bag: Path, other: Path) -> None:
    remux(master(bag), "-bsf:v", "setts=pts=PTS+gte(N\\,4)*10:dts=DTS+gte(N\\,4)*10")
    forge(bag)


def sound_swapped_and_all_forged(bag: Path, other: Path) -> None:
    other_sound(master(bag))
    forge(bag)


def sound_swapped_in_the_papers_too(bag: Path, other: Path) -> None:
    other_sound(master(bag))
    sound = sound_digests(probe(str(master(bag))))
    edit(bag, lambda told: told["delivery"].update(sound=sound))
    forge(bag)


def sound_taken_from_a_copy(bag: Path, other: Path) -> None:
    remux(bag / "data" / "reel_colour.mov", "-an")
    reseal(bag)


def shots_overlap_in_the_provenance(bag: Path, other: Path) -> None:
    edit(bag, lambda told: told["shots"][0].update(stop=6))
    edit(bag, lambda told: told["shots"][1].update(first=9))
    repaper(bag)


def path_out_of_the_bag(bag: Path, other: Path) -> None:
    (bag.parent / "secret.mkv").write_bytes(master(bag).read_bytes())
    edit(bag, lambda told: told["delivery"]["files"][1].update(file="../../secret.mkv"))
    repaper(bag)


def another_method_in_the_provenance(bag: Path, other: Path) -> None:
    edit(bag, lambda told: told["method"].update(name="exemplar"))
    reseal(bag)


def another_method_all_forged(bag: Path, other: Path) -> None:
    def change(told: dict[str, Any]) -> None:
        told["method"]["digest"] = "ab" * 32
        for shot in told["shots"]:
            shot["method_digest"] = "ab" * 32
        for segment in told["segments"]:
            segment["identity"]["method"] = "ab" * 32

    edit(bag, change)
    repaper(bag)


def another_method_with_new_keys_all_forged(bag: Path, other: Path) -> None:
    another_method_all_forged(bag, other)

    def change(told: dict[str, Any]) -> None:
        for segment in told["segments"]:
            segment["key"] = SegmentIdentity.from_json(segment["identity"]).key

    edit(bag, change)
    repaper(bag)


def confidence_edited(bag: Path, other: Path) -> None:
    edit(bag, lambda told: told["shots"][0].update(confidence=0.99))
    reseal(bag)


def provenance_gutted(bag: Path, other: Path) -> None:
    edit(bag, lambda told: told.pop("segments"))
    reseal(bag)


def reference_swapped_and_resealed(bag: Path, other: Path) -> None:
    shutil.copy(other / "data" / "references" / "0001-painted.png", bag / "data" / "references" / "0001-painted.png")
    reseal(bag)


def reference_swapped_in_the_papers_too(bag: Path, other: Path) -> None:
    reference_swapped_and_resealed(bag, other)
    theirs = json.loads((other / "data" / names.PROVENANCE).read_text())["delivery"]["references"][0]

    def change(told: dict[str, Any]) -> None:
        for picture in (*told["references"], *(r for shot in told["shots"] for r in shot["references"])):
            picture["sha256"] = theirs["sha256"]
        told["delivery"]["references"][0].update(sha256=theirs["sha256"], bytes=theirs["bytes"])

    edit(bag, change)
    repaper(bag)


def layer_exchanged_and_all_forged(bag: Path, other: Path) -> None:
    shutil.copy(other / "data" / "reel_colour.colour.mkv", bag / "data" / "reel_colour.colour.mkv")
    forge(bag)


def layer_exchanged_with_the_right_mark(bag: Path, other: Path) -> None:
    def change(luma: NDArray[Any], chroma: NDArray[Any]) -> Planes:
        return luma, np.flip(chroma, -1).copy()

    info = probe(str(master(bag)))
    path = bag / "data" / "reel_colour.colour.mkv"
    tags = {key: value for key, value in probe(str(path)).metadata.items() if "COLOUR" in key or "DIGITAL" in key}
    shutil.copy(master(bag), path)
    rewrite(path, "layer", change, info, tags)
    forge(bag)


def access_copy_of_another_film(bag: Path, other: Path) -> None:
    path = bag / "data" / "reel_colour.mp4"
    tags = {key: value for key, value in probe(str(path)).metadata.items() if "COLOUR" in key or "DIGITAL" in key}
    info = probe(str(master(bag)))
    shutil.copy(master(other), path)
    rewrite(path.rename(path.with_suffix(".mkv.mp4")), "access", info=info, tags=tags)
    path.with_suffix(".mkv.mp4").rename(path)
    forge(bag)


def mark_removed_and_all_forged(bag: Path, other: Path) -> None:
    rewrite(master(bag), tags={"COLOUR_SYNTHETIC": ""}, info=probe(str(master(bag))))
    forge(bag)


def mark_removed_from_the_access_copy(bag: Path, other: Path) -> None:
    rewrite(bag / "data" / "reel_colour.mp4", "access", tags={"COLOUR_SYNTHETIC": "no"})
    forge(bag)


def mark_of_the_sidecar_edited(bag: Path, other: Path) -> None:
    where = Path(f"{master(bag)}{names.MARK}")
    where.write_text(where.read_text().replace("compositeWithTrainedAlgorithmicMedia", "digitalCapture"))
    reseal(bag)


def clock_edited(bag: Path, other: Path) -> None:
    where = bag / "data" / names.PTS
    where.write_text(where.read_text().replace('"first":0', '"first":1'))
    reseal(bag)


def cut_moved(bag: Path, other: Path) -> None:
    write_shots(from_cuts("x", probe(str(master(bag))).average_rate, 8, [5]), str(bag / "data" / "shots.edl"))
    reseal(bag)


def name_in_a_shot_list_edited(bag: Path, other: Path) -> None:
    where = bag / "data" / "shots.edl"
    where.write_text(where.read_text().replace("reel.mkv", "city.mkv"))
    reseal(bag)


def premis_edited(bag: Path, other: Path) -> None:
    where = bag / "data" / names.PREMIS
    where.write_text(where.read_text().replace("mean confidence 0.5<", "mean confidence 0.9<"))
    reseal(bag)


def readme_without_the_warning(bag: Path, other: Path) -> None:
    (bag / "data" / names.README).write_text("A colour film of 1926.\n")
    reseal(bag)


def declaration_removed(bag: Path, other: Path) -> None:
    (bag / "bagit.txt").unlink()


def one_manifest_edited(bag: Path, other: Path) -> None:
    where = bag / "manifest-sha512.txt"
    where.write_text("".join(where.read_text().splitlines(True)[1:]))


TAMPERING = {
    flipped_bit: r"reel_colour\.mkv: sha256 is not that of manifest",
    truncated_and_resealed: r"sha256 or size is not that of provenance",
    removed_and_resealed: r"reel_colour\.mp4: missing",
    added: r"note\.txt: not in manifest-sha256",
    added_and_resealed: r"note\.txt: no paper names it",
    edited_framemd5_and_resealed: r"luma\.framemd5: decoding gives .* was written",
    luma_changed_and_resealed: r"luma\.framemd5: decoding gives",
    chroma_changed_and_all_forged: r"reel_colour\.colour\.mkv: frame 3 is not the master's",
    last_frame_dropped_and_all_forged: r"7 frames, pts\.json has 8",
    times_shifted_and_all_forged: r"4 frames are not at the time of pts\.json, first frame 4",
    sound_swapped_and_all_forged: r"reel_colour\.mkv: its sound is not that of provenance",
    sound_swapped_in_the_papers_too: r"reel_colour\.mov: its sound is not that of provenance",
    sound_taken_from_a_copy: r"reel_colour\.mov: its sound is not that of provenance",
    shots_overlap_in_the_provenance: r"provenance\.json: .*(leaves frames|overlaps|span)",
    path_out_of_the_bag: r"missing, named in provenance",
    another_method_in_the_provenance: r"premis\.xml: does not agree",
    another_method_all_forged: r"its key is not that of what it is said to be made of",
    another_method_with_new_keys_all_forged: r"its mark names another source or other segments",
    confidence_edited: r"premis\.xml: does not agree",
    provenance_gutted: r"provenance\.json: damaged or edited: KeyError 'segments'",
    reference_swapped_and_resealed: r"0001-painted\.png: is not the picture",
    reference_swapped_in_the_papers_too: r"coloured from a picture that is not named",
    layer_exchanged_and_all_forged: r"colour\.mkv: its mark names another source",
    layer_exchanged_with_the_right_mark: r"colour\.mkv: frame \d is not the master's",
    access_copy_of_another_film: r"reel_colour\.mp4: frame \d is .* dB from the master",
    mark_removed_and_all_forged: r"reel_colour\.mkv: carries no mark",
    mark_removed_from_the_access_copy: r"reel_colour\.mp4: carries no mark",
    mark_of_the_sidecar_edited: r"synthetic\.json: does not agree with the film",
    clock_edited: r"8 frames are not at the time of pts\.json",
    cut_moved: r"shots\.edl: its shots are not those",
    name_in_a_shot_list_edited: r"shots\.edl: is not that of provenance",
    premis_edited: r"premis\.xml: does not agree",
    readme_without_the_warning: r"README\.txt: does not say that the colour is synthetic",
    declaration_removed: r"bagit\.txt: missing",
    one_manifest_edited: r"not in manifest-sha512",
}


@pytest.mark.parametrize("tamper", TAMPERING, ids=lambda tamper: tamper.__name__)
def test_tampering_is_found_without_the_source(bag: Path, bags: list[Path], tamper: Callable[[Path, Path], None]) -> None:
    tamper(bag, bags[1])
    if "resealed" in tamper.__name__ or "forged" in tamper.__name__:
        assert bagit.Bag(str(bag)).validate(), "to a BagIt tool it is a good bag"
    problems = verify_bag(str(bag)).problems
    assert any(re.search(TAMPERING[tamper], problem) for problem in problems), problems
    assert all("\n" not in problem for problem in problems)


def test_the_untouched_bag_passes_and_so_does_a_copy_resealed(bag: Path, films: tuple[Finished, Finished]) -> None:
    before = verify_bag(str(bag), films[0].source)
    assert before.problems == ()
    reseal(bag)
    assert verify_bag(str(bag), films[0].source).problems == ()


def test_a_bag_forged_throughout_is_seen_only_beside_the_source_or_by_its_seal(bag: Path, films: tuple[Finished, Finished]) -> None:
    """One luma sample changed, and every list, sidecar, paper and manifest made anew: nothing in the bag can show it."""
    seal = verify_bag(str(bag)).seal
    rewrite(master(bag), change=one_luma_sample)
    forge(bag)
    alone, beside = verify_bag(str(bag)), verify_bag(str(bag), films[0].source)
    assert alone.problems == () and alone.seal != seal
    assert any("1 luma samples differ, first in frame 3" in problem for problem in beside.problems)


def test_another_source_is_not_the_source(bag: Path, films: tuple[Finished, Finished]) -> None:
    assert any("not the film this bag was made from" in problem for problem in verify_bag(str(bag), films[1].source).problems)


@pytest.mark.parametrize("seed", range(12))
def test_random_damage_is_a_problem_and_never_a_crash(bag: Path, seed: int) -> None:
    """Bytes overwritten, taken out or put in anywhere in the payload, and the manifests made to fit."""
    draw = np.random.default_rng(seed)
    payload = sorted(p for p in (bag / "data").rglob("*") if p.is_file())
    path = payload[seed * 2 % len(payload)]
    data, at = bytearray(path.read_bytes()), int(draw.integers(0, path.stat().st_size))
    noise = draw.bytes(16)
    data[at : at + (16, 0, 40)[seed % 3]] = noise
    path.write_bytes(data)
    reseal(bag)
    assert verify_bag(str(bag)).problems != ()


@pytest.mark.parametrize("lie", ["External-Description: The colours of this film are real.", "Source-SHA256: " + "0" * 64])
def test_what_the_bag_says_of_itself_cannot_be_edited(bag: Path, lie: str) -> None:
    key = lie.partition(":")[0]
    kept, dropping = [], False
    for line in (bag / "bag-info.txt").read_text().splitlines():
        dropping = line.startswith(f"{key}:") or (dropping and line[:1] in " \t")
        kept += [] if dropping else [line]
    (bag / "bag-info.txt").write_text("\n".join([*kept, lie]) + "\n")
    reseal(bag)
    assert any(problem.startswith("bag-info.txt: does not say") for problem in verify_bag(str(bag)).problems)
