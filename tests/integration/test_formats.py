"""Every property in every container at every depth: what was foretold is what is there. Makes the table in docs/formats.md."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg
import pytest
from pymediainfo import MediaInfo
from typer.testing import CliRunner

from dvcp.cli import app
from dvcp.media.fidelity import Verdict, observed, outlook
from dvcp.media.probe import VideoInfo, probe
from dvcp.media.profiles import ACCESS, LAYER, MASTER, MEZZANINE, PROFILES, Profile
from tests.integration.reels import DEPTHS, GRIDS, REELS, make_reel, prepare
from tests.unit.media_clips import deliver

DOCS = Path(__file__).parents[2] / "docs" / "formats.md"
BEGIN, END = "<!-- matrix -->\n", "<!-- /matrix -->\n"
COLUMNS = ((MASTER, "mkv"), (MEZZANINE, "mov"), (ACCESS, "mp4"), (LAYER, "colour layer"))
SHOWN = {"420": "4:2:0", "422": "4:2:2", "444": "4:4:4", "gray": "gray"}


@dataclass(frozen=True)
class Delivered:
    """One source in one profile."""

    reel: str
    grid: str
    depth: int
    profile: Profile
    source: VideoInfo
    out: str
    foretold: tuple[Verdict, ...]
    found: tuple[Verdict, ...]
    warnings: tuple[str, ...]


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> list[Delivered]:
    folder = tmp_path_factory.mktemp("reels")
    prepare(folder)
    done = []
    for reel in REELS:
        for grid, depth in ((g, d) for g in reel.grids for d in reel.depths):
            source = probe(make_reel(reel, grid, depth, folder))
            for profile in PROFILES.values():
                place = folder / f"{reel.name}-{grid}-{depth}-{profile.name}"
                place.mkdir()
                foretold = outlook(source, profile)
                out, warnings = deliver(source.url, place, profile, cuts=(0, 3) if reel.name == "pal" else (0,))
                found = observed(probe(out), source)
                done.append(Delivered(reel.name, grid, depth, profile, source, out, foretold, found, tuple(warnings)))
    return done


def test_the_outlook_foretells_every_cell(delivered: list[Delivered]) -> None:
    wrong = []
    for one in delivered:
        name = f"{one.reel} {one.grid} {one.depth} as {one.profile.name}"
        assert [v.property for v in one.foretold] == [v.property for v in one.found], name
        pairs = zip(one.foretold, one.found, strict=True)
        wrong += [f"{name}: {a.property} {a.verdict} ({a.what}), found {b.verdict} ({b.what})" for a, b in pairs if a.verdict != b.verdict]
    assert not wrong, "\n".join(wrong)


def test_what_a_container_refuses_of_streams_and_timecode_is_also_warned_of(delivered: list[Delivered]) -> None:
    for one in delivered:
        refused = [v for v in one.foretold if v.verdict == "refused" and v.property.split()[0] in ("audio", "subtitles", "start")]
        lost = 0 if one.profile is LAYER else len(refused)
        lost += len(one.source.others) if one.profile in (MEZZANINE, ACCESS) else 0
        assert len(one.warnings) == lost, (one.reel, one.profile.name, one.warnings)


def test_the_table_in_the_docs_is_what_was_found(delivered: list[Delivered]) -> None:
    text = DOCS.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    table, tail = rest.split(END)
    made = "".join(f"{line}\n" for line in _table(delivered))
    if os.environ.get("DVCP_WRITE_DOCS") == "1":
        DOCS.write_text(head + BEGIN + made + END + tail, encoding="utf-8")
        return
    assert table == made, "run this test with DVCP_WRITE_DOCS=1 and look at what changed"


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("depth", DEPTHS)
def test_ffmpeg_finds_the_same_luma_in_source_and_master(delivered: list[Delivered], grid: str, depth: int) -> None:
    one = next(d for d in delivered if (d.reel, d.grid, d.depth, d.profile) == ("pal", grid, depth, MASTER))
    sums = _luma_md5(one.source.url)
    assert len(set(sums)) == len(one.source.frames) and _luma_md5(one.out) == sums


def test_mediainfo_tells_of_outputs_what_it_tells_of_the_source(delivered: list[Delivered]) -> None:
    for one in delivered:
        if one.reel not in ("pal", "ntsc") or one.profile is LAYER or one.depth not in (8, 16):
            continue
        source, out = _told(one.source.url), _told(one.out)
        # mediainfo knows no word for the MBAFF that x264 codes fields in but this one
        scan = "MBAFF" if one.profile is ACCESS else "Interlaced"
        assert (source.pop("scan_type"), out.pop("scan_type")) == ("Interlaced", scan), one
        if one.profile is not MASTER:
            # ProRes in MOV carries no range
            full = source.pop("color_range") == "Full"
            assert out.pop("color_range") == (None if one.profile is MEZZANINE else "Full" if full else "Limited"), one
        assert out == source and all(source.values()), (one.out, out, source)


def test_probe_tells_the_outlook_before_any_work(delivered: list[Delivered]) -> None:
    one = next(d for d in delivered if (d.reel, d.depth, d.profile) == ("ntsc", 10, MEZZANINE))
    told = CliRunner().invoke(app, ["probe", one.source.url, "--container", "mov"])
    assert told.exit_code == 0 and "as mezzanine (.mov):" in told.stdout
    assert re.search(r"^changed +audio 2 +codec flac becomes pcm_s16le", told.stdout, re.MULTILINE)
    data = json.loads(CliRunner().invoke(app, ["probe", one.source.url, "--container", "mov", "--json"]).stdout)
    assert data["profile"] == "mezzanine" and data["outlook"] == [v.to_json() for v in one.foretold]
    assert "outlook" not in json.loads(CliRunner().invoke(app, ["probe", one.source.url, "--json"]).stdout)


def _told(path: str) -> dict[str, str | None]:
    tracks = MediaInfo.parse(path).tracks
    video = next(t for t in tracks if t.track_type == "Video").to_data()
    keys = ("pixel_aspect_ratio", "scan_type", "scan_order", "color_range", "color_primaries", "transfer_characteristics")
    codes = (t.to_data().get("time_code_of_first_frame") for t in tracks)
    return {key: video.get(key) for key in (*keys, "matrix_coefficients")} | {"timecode": next(filter(None, codes), None)}


def _luma_md5(path: str) -> list[str]:
    """MD5 of every frame's luma plane, by ffmpeg: the system's where there is one, else the one in imageio_ffmpeg."""
    program = shutil.which("ffmpeg") or imageio_ffmpeg.get_ffmpeg_exe()
    command = [program, "-v", "error", "-noautorotate", "-i", path, "-map", "0:v:0", "-vf", "extractplanes=y", "-f", "framemd5", "-"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [line.split(",")[-1].strip() for line in done.stdout.splitlines() if not line.startswith("#")]


def _table(delivered: list[Delivered]) -> Iterable[str]:
    rows: dict[tuple[str, str], dict[str, list[tuple[str, int, str]]]] = {}
    for one in delivered:
        for verdict in one.found:
            row = rows.setdefault(_case(one, verdict.property), {})
            row.setdefault(one.profile.name, []).append((one.grid, one.depth, verdict.verdict))
    yield f"| property | of the source | bits | {' | '.join(name for _, name in COLUMNS)} |"
    yield f"|---|---|---|{'---|' * len(COLUMNS)}"
    order = list(dict.fromkeys(name for name, _ in rows))
    for (name, case), cells in sorted(rows.items(), key=lambda item: order.index(item[0][0])):
        depths = sorted({depth for _, depth, _ in cells[MASTER.name]})
        yield f"| {name} | {case} | {' '.join(map(str, depths))} | {' | '.join(_cell(cells[p.name]) for p, _ in COLUMNS)} |"


def _cell(found: list[tuple[str, int, str]]) -> str:
    outcomes = dict.fromkeys(outcome for _, _, outcome in found)
    if len(outcomes) == 1:
        return next(iter(outcomes))
    parts = []
    for outcome in outcomes:
        depths = {d for _, d, o in found if o == outcome}
        if depths & {d for _, d, o in found if o != outcome}:
            parts.append(f"{', '.join(dict.fromkeys(SHOWN[g] for g, _, o in found if o == outcome))}: {outcome}")
        else:
            parts.append(f"{' '.join(map(str, sorted(depths)))}: {outcome}")
    return "; ".join(parts)


def _case(one: Delivered, name: str) -> tuple[str, str]:
    """Row of the table: property, and what the source has of it."""
    info = one.source
    if name.startswith(("audio", "subtitles")):
        kind, number = name.split()
        track = (info.audio if kind == "audio" else info.subtitles)[int(number) - 1]
        said = [track.codec, f"`{track.language}`", *track.disposition]
        return kind, f"{', '.join(said)}, in {one.source.url.rsplit('.', 1)[1]}"
    times = f"VFR in 1/{info.frames.timebase.denominator} s" if info.vfr else f"{info.average_rate} fps in {info.frames.timebase} s"
    cases = {
        "picture size": f"{info.width}x{info.height}, {'progressive' if info.field_order in ('progressive', 'unknown') else 'interlaced'}",
        "chroma grid": SHOWN[one.grid],
        "range": ("full" if info.colour.full_range else "limited") if info.range_tagged else "not tagged",
        "matrix, primaries, transfer": f"{info.matrix_tag}/{info.colour.primaries}/{info.colour.transfer}",
        "sample aspect": str(info.sample_aspect),
        "field order": info.field_order,
        "rotation": f"{info.rotation}{', mirrored' if info.turn.mirrored else ''}",
        "frame times": times,
        "start timecode": f"{info.timecode} at {info.average_rate} fps",
        "other streams": "attachment, cover art",
    }
    return name, cases.get(name, "")
