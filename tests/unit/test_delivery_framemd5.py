"""dvcp.delivery.framemd5: FFmpeg's own command writes the same lines."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dvcp.delivery.framemd5 import first_difference, hashes, write_framemd5
from dvcp.media.probe import probe
from dvcp.media.profiles import ACCESS, LAYER, MASTER, MEZZANINE, Profile
from tests.unit.delivery_film import NTSC, ffmpeg
from tests.unit.media_clips import deliver, make_film, noise, ramp


def by_ffmpeg(path: str, *options: str) -> str:
    command = [ffmpeg(), "-v", "error", "-copyts", "-i", path, "-map", "0:v:0", *options, "-fps_mode", "passthrough"]
    for timebase in ("demux", "-1"):
        done = subprocess.run([*command, "-enc_time_base", timebase, "-f", "framemd5", "-"], capture_output=True, text=True, timeout=60)
        if done.returncode == 0:
            return done.stdout
    raise AssertionError(done.stderr)


def ours(path: str, folder: Path) -> tuple[str, str]:
    write_framemd5(probe(path), folder / "luma", folder / "all")
    return (folder / "luma").read_text(), (folder / "all").read_text()


def lines(text: str) -> list[str]:
    """All lines, but without durations, in which FFmpeg's versions differ, and without side data."""
    return [line if line.startswith("#") else ",".join((row := line.split(","))[:3] + row[4:6]) for line in text.splitlines()]


OUTPUTS = {
    "8 bit": (MASTER, {"luma": noise(5, 48, 64), "audio": "aac"}),
    "10 bit": (MASTER, {"luma": noise(5, 48, 64, 10), "pix_fmt": "yuv420p10le", "timebase": NTSC}),
    "odd width": (MASTER, {"luma": noise(5, 35, 63), "pix_fmt": "yuv422p", "pts": [3, 4, 6, 9, 10]}),
    "16 bit gray": (MASTER, {"luma": noise(5, 48, 64, 16), "pix_fmt": "gray16le", "audio": "pcm_s16le"}),
    "ProRes": (MEZZANINE, {"luma": noise(5, 48, 64, 10), "pix_fmt": "yuv422p10le", "audio": "pcm_s16le"}),
    "H.264": (ACCESS, {"luma": ramp(5, 48, 64), "audio": "aac", "timebase": NTSC}),
    "layer": (LAYER, {"luma": noise(5, 35, 63, 10), "pix_fmt": "yuv420p10le"}),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_ffmpeg_writes_the_same_lines(tmp_path: Path, name: str) -> None:
    profile, film = OUTPUTS[name]
    assert isinstance(profile, Profile)
    out, _ = deliver(make_film(tmp_path / "film.mkv", **film), tmp_path, profile, (0, 2))  # type: ignore[arg-type]
    luma, everything = ours(out, tmp_path)
    assert first_difference(lines(luma), lines(by_ffmpeg(out, "-vf", "extractplanes=y"))) is None
    theirs = by_ffmpeg(out, "-map", "0:a?", "-c:a", "copy")
    assert first_difference(lines(everything), lines(theirs)) is None
    assert len(hashes(luma)) == 5 and len(hashes(everything, 1)) == theirs.count("\n1,")


@pytest.mark.parametrize("depth", [9, 12, 14])
def test_other_depths(tmp_path: Path, depth: int) -> None:
    path = make_film(tmp_path / "film.mkv", noise(3, 32, 48, depth), f"yuv420p{depth}le")
    luma, everything = ours(path, tmp_path)
    assert hashes(luma) == hashes(by_ffmpeg(path, "-vf", "extractplanes=y"))
    assert hashes(everything) == hashes(by_ffmpeg(path))


def test_a_gray_source_has_the_same_hashes_of_luma_and_of_everything_and_of_its_master(tmp_path: Path) -> None:
    source = make_film(tmp_path / "film.mkv", noise(4, 48, 64, 16), "gray16le")
    luma, everything = ours(source, tmp_path)
    assert hashes(luma) == hashes(everything) == hashes(by_ffmpeg(source))
    out, _ = deliver(source, tmp_path, MASTER)
    master_luma, master = ours(out, tmp_path)
    assert hashes(master_luma) == hashes(luma) and hashes(master) != hashes(luma)


def test_one_sample_changes_one_line(tmp_path: Path) -> None:
    luma = noise(4, 48, 64)
    before = ours(make_film(tmp_path / "a.mkv", luma), tmp_path)[0].splitlines()
    luma[2, 47, 63] ^= 1
    after = ours(make_film(tmp_path / "b.mkv", luma), tmp_path)[0].splitlines()
    assert [a == b for a, b in zip(before, after, strict=True)].count(False) == 1
    assert "where" in (first_difference(after, before) or "")
    assert "nothing where" in (first_difference(before[:-1], before) or "")
