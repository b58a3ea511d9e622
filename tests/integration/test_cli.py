"""The command line as a cron job sees it: exit codes, one-line errors, JSON that parses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from dvcp.cli import app
from dvcp.errors import DvcpError
from dvcp.media.stills import write_still
from tests.films import Film, make_film


def dvcp(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "dvcp.cli", *map(str, arguments)], capture_output=True, text=True, timeout=280)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Film:
    return make_film(tmp_path_factory.mktemp("cli"))


@pytest.fixture(scope="module")
def coloured(film: Film) -> Path:
    out = film.gray.with_name("out.mkv")
    done = dvcp("colorize", film.gray, "--references", film.stills, "--method", "copy", "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["frames"] == film.frames and report["error"] == "" and report["computed"] == report["segments"]
    return out


def test_probe_speaks_json(film: Film) -> None:
    data = json.loads(dvcp("probe", film.gray, "--json").stdout)
    assert (data["frames"], data["width"], data["height"], data["gray"]) == (film.frames, 128, 96, True)


def commands(group: typer.core.TyperGroup, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command there is."""
    for name, command in group.commands.items():
        if isinstance(command, typer.core.TyperGroup):
            yield from commands(command, (*path, name))
        else:
            yield *path, name


def test_every_command_has_help() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    found = list(commands(group))
    assert len(found) > 12 and ("references", "export") in found
    for command in found:
        done = CliRunner().invoke(app, [*command, "--help"])
        assert done.exit_code == 0 and "Usage" in done.stdout and len(done.stdout) > 300, command
    assert "Usage" in dvcp("--help").stdout


def test_errors_are_one_line_with_their_exit_code(film: Film, tmp_path: Path) -> None:
    (tmp_path / "cuts.csv").write_text("shot,first,last\n1,5,9\n")
    out = tmp_path / "out.mkv"
    (tmp_path / "gray").mkdir()
    write_still(str(tmp_path / "gray" / "photograph.png"), np.full((20, 30), 90, np.uint8))
    cases = [
        (3, ["probe", tmp_path / "nothing.mkv"], "nothing.mkv"),
        (4, ["colorize", film.gray, "--references", tmp_path, "--out", out, "--method", "copy"], "_s0001_f000000"),
        (4, ["colorize", film.gray, "--references", tmp_path / "gray", "--out", out, "--method", "copy"], "photograph.png"),
        (
            5,
            ["colorize", film.gray, "--references", film.stills, "--shots", tmp_path / "cuts.csv", "--out", out, "--method", "copy"],
            "shot",
        ),
        (2, ["colorize", film.gray, "--references", film.stills, "--out", out, "--method", "magic"], "magic"),
        (2, ["colorize", film.gray, "--references", film.stills, "--out", tmp_path / "out.mp4", "--method", "copy"], "--profile"),
        (7, ["colorize", film.gray, "--references", film.stills, "--out", out, "--weights", film.gray], film.gray.name),
        (2, ["colorize", film.gray, "--references", film.stills, "--out", out, "--set", "temperature"], "temperature"),
        (7, ["colorize", film.gray, "--references", film.stills, "--out", out, "--method", "exemplar-paper"], "colornet_iter_76000.pth"),
    ]

    def said(wanted: int, code: int, stderr: str, named: str) -> None:
        lines = [line for line in stderr.splitlines() if not line.startswith("warning:")]
        assert code == wanted, (arguments, stderr)
        assert len(lines) == 1 and lines[0].startswith("dvcp: ") and named in lines[0], stderr

    for wanted, arguments, named in cases:
        done = CliRunner().invoke(app, [str(a) for a in arguments])
        said(wanted, done.exit_code, done.stderr, named)
    # And as a process, which adds nothing of its own.
    wanted, arguments, named = cases[0]
    process = dvcp(*arguments)
    said(wanted, process.returncode, process.stderr, named)


@pytest.mark.slow
def test_shots_and_export_read_back(film: Film, tmp_path: Path) -> None:
    assert dvcp("shots", film.gray, "--out", tmp_path / "cuts.csv").returncode == 0
    assert (tmp_path / "cuts.csv").read_text().startswith("shot,first,last")
    done = dvcp("references", "export", film.gray, "--shots", tmp_path / "cuts.csv", "--out", tmp_path / "stills", "--json")
    assert done.returncode == 0, done.stderr
    written = json.loads(done.stdout)["written"]
    assert len(written) == len((tmp_path / "cuts.csv").read_text().splitlines()) - 1
    assert all(Path(path).exists() for path in written)


@pytest.mark.slow
def test_verify_accepts_what_was_made(film: Film, coloured: Path) -> None:
    done = dvcp("verify", coloured, "--source", film.gray, "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["ok"]


def rewrite(source: Path, target: Path, *, luma_at: int | None = None, late: int | None = None) -> None:
    """The same film with one luma sample of one frame changed, or one frame 1 ms later."""
    with av.open(str(source)) as container, av.open(str(target), "w") as out:
        video = container.streams.video[0]
        stream = out.add_stream("ffv1", rate=24, options={"level": "3", "slicecrc": "1"})
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, video.pix_fmt
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for number, frame in enumerate(container.decode(video)):
            if number == luma_at:
                np.frombuffer(frame.planes[0], np.uint8)[40] ^= 1  # type: ignore[call-overload]
            frame.pts = round(frame.pts * frame.time_base * 1000) + (1 if number == late else 0)
            frame.time_base = Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


@pytest.mark.slow
@pytest.mark.parametrize(("change", "counted"), [({"luma_at": 7}, "differing_luma_samples"), ({"late": 7}, "pts_differing")])
def test_verify_refuses_one_sample_and_one_pts(film: Film, coloured: Path, tmp_path: Path, change: dict[str, int], counted: str) -> None:
    rewrite(coloured, tmp_path / "altered.mkv", **change)  # type: ignore[arg-type]
    done = dvcp("verify", tmp_path / "altered.mkv", "--source", film.gray, "--json")
    assert done.returncode == 10
    assert json.loads(done.stdout)[counted] == 1
    untouched = tmp_path / "same.mkv"
    rewrite(coloured, untouched)
    same = json.loads(dvcp("verify", untouched, "--source", film.gray, "--json").stdout)
    assert same["differing_luma_samples"] == same["pts_differing"] == 0, "the change, not the rewriting, was seen"


def test_exit_codes_are_told_apart() -> None:
    codes = {kind.__name__: kind.exit_code for kind in DvcpError.__subclasses__()}
    assert len(set(codes.values())) == len(codes)
