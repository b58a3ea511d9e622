"""``dvcp wrap`` and ``dvcp unwrap``: numbered pictures in and out. Thin, as :mod:`dvcp.cli`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dvcp.cli_train import guarded
from dvcp.errors import ConfigError
from dvcp.media import unwrap as unwrapping
from dvcp.media import wrap as wrapping
from dvcp.media.gray import Luma
from dvcp.media.rates import exact_rate
from dvcp.media.siting import Siting
from dvcp.media.unwrap import UnwrapSettings
from dvcp.media.wrap import Gaps, WrapSettings

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


def add_sequence_commands(app: typer.Typer) -> None:
    """Give ``app`` the commands wrap and unwrap."""
    app.command("wrap")(guarded(wrap_command))
    app.command("unwrap")(guarded(unwrap_command))


def wrap_command(
    source: Annotated[
        str, typer.Argument(metavar="PICTURES", help="Folder or pattern (scans/reel.####.dpx) of DPX, TIFF or PNG pictures; or a URL.")
    ],
    out: Annotated[str, typer.Option(help="The film, .mkv. Its sidecar is written beside it.")],
    rate: Annotated[str | None, typer.Option(help="Frames a second: 24, 16, 23.976, 24000/1001. Default: as the DPX headers say.")] = None,
    timecode: Annotated[str | None, typer.Option(help="Of the first picture. Default: that of the DPX headers, if it runs.")] = None,
    audio: Annotated[str | None, typer.Option(help="File whose sound is copied beside the picture, packet by packet.")] = None,
    luma: Annotated[
        Luma | None,
        typer.Option(help="Compute luma where R, G and B differ. The film is then marked: its luma is not the scan's. Default: refuse."),
    ] = None,
    gaps: Annotated[
        Gaps, typer.Option(help="Missing numbers: an error, or kept as time in which the picture before stands longer.")
    ] = Gaps.ERROR,
    as_json: Json = False,
) -> None:
    """Pack numbered gray pictures into one film (FFV1 in Matroska) without losing a sample, and prove it by reading the film back.

    RGB pictures whose three channels are equal count as gray. Everything else (probe, colorize, verify) then works on the film.
    """
    settings = WrapSettings(source, out, exact_rate(rate) if rate else None, timecode, audio, luma, gaps)
    with _bar(2) as advance:
        done = wrapping.wrap(settings, lambda stage, at, total: advance(at + (total if stage == "proved" else 0), 2 * total))
    data = wrapping.summary(done)
    kept = "was there already, proved again: " if done.reused else ""
    gone = f", missing {data['missing']}" if data["missing"] else ""
    equal = f", R = G = B in {data['luma']['equal']}" if "equal" in data["luma"] else ""
    text = f"{done.out}: {kept}{data['sequence']}{gone}: {data['frames']} frames, {data['depth']} bit{equal}, 0 differing samples"
    _say(data, text, as_json)


def unwrap_command(
    film: Annotated[str, typer.Argument(metavar="FILM", help="The film: a path or any fsspec URL.")],
    out: Annotated[str, typer.Option(help="Pattern of the pictures: graded/reel.####.dpx, one # a digit; any fsspec URL.")],
    format_: Annotated[str | None, typer.Option("--format", help="dpx | tiff | png. Default: as --out ends.")] = None,
    depth: Annotated[
        int | None, typer.Option(help="Bits a sample: DPX 8, 10, 12, 16; TIFF and PNG 8, 16. Default: 10 for DPX, else 16.")
    ] = None,
    start: Annotated[
        int | None, typer.Option(min=0, help="Number of the first picture. Default: that of the scans the film was wrapped from, else 1.")
    ] = None,
    siting: Annotated[
        Siting, typer.Option(help="Where chroma samples lie: center for films dvcp coloured, left for most other H.264 and MPEG-2.")
    ] = Siting.CENTER,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace pictures that are there and differ.")] = False,
    as_json: Json = False,
) -> None:
    """Write every frame of a film as a full-range RGB picture. Run again to go on: only what is missing is written.

    Luma does not stay bit for bit in RGB; its error is measured and printed. The film itself remains the proof.
    """
    if format_ is not None and format_ not in unwrapping.DEPTHS:
        raise ConfigError(f"no picture format {format_!r}", hint=f"one of {', '.join(unwrapping.DEPTHS)}")
    with _bar(1) as advance:
        done = unwrapping.unwrap(UnwrapSettings(film, out, format_, depth, start, siting, overwrite), advance)
    gone = f", missing {done.missing}" if done.missing else ""
    error = f"; luma within {done.luma_error:.2f} codes, {done.clipped:.2%} of a picture outside RGB at most" if done.written else ""
    _say(unwrapping.summary(done), f"{done.notation}{gone}: {done.written} written, {done.kept} kept{error}", as_json)


def _say(data: Any, text: str, as_json: bool) -> None:
    for warning in data["warnings"]:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(json.dumps(data, indent=2) if as_json else text)


@contextmanager
def _bar(passes: int) -> Iterator[Callable[[int, int], None]]:
    """Pictures done, on stderr when that is a terminal."""
    label = "pictures, written and read back" if passes == 2 else "pictures"
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn(label), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
