"""A finished master as a job leaves it, made by hand: no method, no actors, but a real ledger, real segments and a real still."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dvcp.delivery import names
from dvcp.delivery.bag import ALGORITHMS
from dvcp.delivery.deliver import as_json
from dvcp.delivery.framemd5 import write_framemd5
from dvcp.delivery.mark import Mark, read_mark, recipe
from dvcp.delivery.premis import premis
from dvcp.delivery.sound import sound_digests
from dvcp.media.assemble import assemble
from dvcp.media.probe import VideoInfo, probe
from dvcp.media.profiles import MASTER, profile_of
from dvcp.media.reader import FrameReader
from dvcp.media.source import content_digest
from dvcp.media.stills import write_still
from dvcp.media.writer import SegmentWriter
from dvcp.store import files
from dvcp.store.ledger import Ledger, SegmentIdentity, SegmentRecord
from dvcp.store.output import Output
from dvcp.store.provenance import provenance, write_provenance, write_pts
from dvcp.timing import Span
from tests.unit.media_clips import make_film, ramp

NTSC = Fraction(1001, 30000)
METHOD, WEIGHTS = "c0" * 32, "d1" * 32


def ffmpeg() -> str:
    """The system's ffmpeg, else that of imageio-ffmpeg."""
    if found := shutil.which("ffmpeg"):
        return found
    return str(pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe())


@dataclass(frozen=True)
class Finished:
    """Where source, master and the one still lie."""

    source: str
    master: str
    still: str


def colours(info: VideoInfo, span: Span, hue: int = 0) -> NDArray[Any]:
    """Soft chroma ``[T, 2, Hc, Wc]`` that changes with the frame."""
    height, width = info.colour.chroma_shape(info.height, info.width)
    y, x = np.mgrid[:height, :width]
    step = 1 << (info.colour.depth - 8)
    planes = [[100 + hue + k + x // 2 + 0 * y, 150 - k + y // 2 + 0 * x] for k in span]
    return (np.array(planes) * step).astype(info.colour.dtype)


def finish(folder: Path, hue: int = 0, cut: int = 4, **film: Any) -> Finished:
    """Source, still, segments, ledger, master, provenance and PTS in ``folder``, the shots cut at frame ``cut``."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"luma": ramp(8, 48, 64), "audio": "pcm_s16le", "timecode": "01:00:00:00", "metadata": {"title": "Réel"}} | film
    source = make_film(folder / "reel.mkv", **settings)
    info, digest = probe(source), content_digest(source)
    still = str(folder / "painted.png")
    write_still(still, np.full((info.height, info.width, 3), (200 - hue, 80, 60), np.uint8))
    still_digest = content_digest(still)
    output = Output(str(folder / "reel_colour.mkv"))
    ledger, records, paths = Ledger(output.ledger_url), [], []
    shots = [Span(0, cut), Span(cut, len(info.frames))]
    with FrameReader(info) as reader:
        for span in shots:
            path = str(folder / f"segment-{span.first}.mkv")
            with SegmentWriter(path, info, MASTER) as writer:
                writer.write(reader.luma(span), colours(info, span, hue))
            first, last = int(info.frames.pts[span.first]), int(info.frames.pts[span.stop - 1])
            identity = SegmentIdentity(
                digest, span, span, first, last, info.frames.timebase, ((span.first, still_digest),), METHOD, "master", "0.1/2"
            )
            record = SegmentRecord(identity, len(span), 0.1, {"host": "here", "cpu": "some"}, {"confidence_mean": 0.5 + span.first / 100})
            records.append(ledger.commit(record, path))
            paths.append((path, span))
    mark = Mark(digest, recipe(r.key for r in records))
    joined = str(folder / "joined.mkv")
    assemble(paths, info, joined, MASTER, mark.tags())
    master_digest = files.put_file(joined, output.file_url)
    write_pts(output, info.frames)
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    write_provenance(
        output,
        provenance(
            source_url=source, source_sha256=digest, output=output, output_sha256=master_digest, profile="master", method="dvcp",
            method_digest=METHOD, weights=WEIGHTS, settings={}, shots=shots, guessed={2}, records=records, started=moment, ended=moment,
            references=[{"shot": n, "frame": s.first, "file": still, "sha256": still_digest} for n, s in enumerate(shots, 1)],
        ),
    )  # fmt: skip
    return Finished(source, output.file_url, still)


def rewrite(
    path: Path,
    profile: str = "master",
    change: Callable[[NDArray[Any], NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]] = lambda y, c: (y, c),
    info: VideoInfo | None = None,
    tags: dict[str, str] | None = None,
) -> None:
    """Decode a film, change its planes, and write it anew in its own place, with its own mark or with ``tags``.

    Args:
        info: what the film is written after: its clock, sound and metadata; default: its own.
    """
    own = probe(str(path))
    mark = read_mark(own.metadata)
    with FrameReader(own) as reader:
        luma, chroma = change(*reader.planes(Span(0, len(own.frames))))
    segment, out = path.with_suffix(".part.mkv"), path.with_suffix(f".new{path.suffix}")
    after = info or own
    with SegmentWriter(str(segment), after, profile_of(profile)) as writer:
        writer.write(luma, chroma)
    own_tags = mark.tags() if mark else {}
    assemble([(str(segment), Span(0, len(luma)))], after, str(out), profile_of(profile), own_tags if tags is None else tags)
    out.replace(path)
    segment.unlink()


def forge(bag: Path) -> None:
    """Repair what a careful forger repairs: lists of frames, sidecars, provenance, PREMIS, and then :func:`reseal`."""
    where = bag / "data" / names.PROVENANCE
    told = json.loads(where.read_text())
    for film in told["delivery"]["files"]:
        path = bag / "data" / film["file"]
        film["sha256"], film["bytes"] = content_digest(str(path)), path.stat().st_size
        if film["profile"] == "master":
            told["output"]["sha256"] = film["sha256"]
    for film in told["delivery"]["files"]:
        path = bag / "data" / film["file"]
        info = probe(str(path))
        film["sound"] = sound_digests(info)
        write_framemd5(info, Path(f"{path}{names.LUMA}"), Path(f"{path}{names.EVERYTHING}"))
        if mark := read_mark(info.metadata):
            sidecar = mark.to_json(film["file"], film["sha256"], film["bytes"], film["profile"], told["output"]["sha256"])
            Path(f"{path}{names.MARK}").write_bytes(as_json(sidecar))
    where.write_bytes(as_json(told))
    info_file = bag / "bag-info.txt"
    lines = [line for line in info_file.read_text().splitlines() if not line.startswith("Master-SHA256:")]
    info_file.write_text("\n".join([*lines, f"Master-SHA256: {told['output']['sha256']}"]) + "\n")
    repaper(bag)


def repaper(bag: Path) -> None:
    """Make PREMIS anew from the provenance as it is now, and then :func:`reseal`."""
    data = (bag / "data" / names.PROVENANCE).read_bytes()
    (bag / "data" / names.PREMIS).write_bytes(premis(json.loads(data), hashlib.sha256(data).hexdigest(), len(data)))
    reseal(bag)


def reseal(bag: Path) -> None:
    """Make manifests and Payload-Oxum fit what is there, as anybody with a BagIt tool can."""
    payload = sorted(p for p in (bag / "data").rglob("*") if p.is_file())
    oxum = f"{sum(p.stat().st_size for p in payload)}.{len(payload)}"
    lines = (bag / "bag-info.txt").read_text().splitlines()
    (bag / "bag-info.txt").write_text("".join(f"Payload-Oxum: {oxum}\n" if r.startswith("Payload-Oxum") else f"{r}\n" for r in lines))
    for algorithm in ALGORITHMS:
        _list(bag, f"manifest-{algorithm}.txt", payload, algorithm)
    tags = sorted(p for p in bag.iterdir() if p.is_file() and not p.name.startswith("tagmanifest"))
    for algorithm in ALGORITHMS:
        _list(bag, f"tagmanifest-{algorithm}.txt", tags, algorithm)


def _list(bag: Path, name: str, paths: list[Path], algorithm: str) -> None:
    rows = [f"{hashlib.new(algorithm, p.read_bytes()).hexdigest()}  {p.relative_to(bag).as_posix()}\n" for p in paths]
    (bag / name).write_text("".join(rows))
