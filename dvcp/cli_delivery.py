"""``dvcp verify``, ``dvcp deliver`` and ``dvcp apply``: proof and delivery. Thin, as :mod:`dvcp.cli`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from dvcp.cli_train import guarded
from dvcp.delivery.names import DEFAULT
from dvcp.errors import ConfigError, VerifyError
from dvcp.media.profiles import profile_of
from dvcp.runtime.expendable import Expendable
from dvcp.store import files

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
#: seconds without a sign of life after which a file that is read is given up
SILENCE = 600
Film = Annotated[str, typer.Option("--source", help="The film it was made from.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    for command in (verify, deliver, apply):
        app.command()(command)


def say(data: Any, text: str, as_json: bool) -> None:
    """Print one of the two."""
    typer.echo(json.dumps(data, indent=2, default=str) if as_json else text)


def refuse(problems: Sequence[str]) -> None:
    """One line a problem and exit code 10, where there are any."""
    if problems:
        for problem in problems[1:]:
            typer.echo(f"dvcp: {problem}", err=True)
        raise VerifyError(problems[0], hint="the output is not what it should be; keep it apart")


@guarded
def verify(
    out: Annotated[str, typer.Argument(metavar="OUT", help="A file that dvcp wrote, or a bag.")],
    source: Annotated[
        str | None, typer.Option(help="The film it was made from. A bag can do without, but then proves luma and sound only by itself.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Prove that an output holds its source: frames, PTS, every luma sample, sound, ledger and checksums. Exit code 10 when it does not.

    Of a bag, every file is checked: manifests, frames, marks, papers, and that its films are of one master.
    """
    if _is_bag(out):
        _verify_bag(out, source, as_json)
        return
    if source is None:
        raise ConfigError("a single file can only be verified against its source", file=out, hint="--source FILM")
    from dvcp.runtime.job import verify_output

    with Expendable(SILENCE) as child:
        comparison, problems = child.call(verify_output, out, source, file=out)
    exact = f"{comparison.differing_luma_samples} luma samples differ"
    luma = f"luma at least {comparison.min_luma_psnr:.1f} dB (lossy)" if comparison.lossy else exact
    data = {k: v for k, v in vars(comparison).items() if k != "problems"} | {"problems": problems, "ok": not problems}
    verdict = "FAILED" if problems else "OK"
    say(data, f"{out}: {comparison.frames} frames, {luma}, {comparison.pts_differing} PTS differ: {verdict}", as_json)
    refuse(problems)


def _is_bag(out: str) -> bool:
    local = files.local_path(out)
    return out.endswith("/") or bool(local and os.path.isdir(local)) or any(files.exists(files.join(out, n)) for n in ("bagit.txt", "data"))


def _verify_bag(out: str, source: str | None, as_json: bool) -> None:
    from dvcp.delivery.verify import verify_bag

    with Expendable(SILENCE) as child:
        verdict = child.call(verify_bag, out, source, file=out)
    data = dict(vars(verdict)) | {"ok": not verdict.problems}
    against = "luma, times and sound are the source's" if source else "not compared with a source"
    state = "FAILED" if verdict.problems else f"OK, {against}"
    say(data, f"{out}: {len(verdict.films)} films of {verdict.frames} frames, seal {verdict.seal}: {state}", as_json)
    refuse(verdict.problems)


@guarded
def deliver(
    film: Annotated[str, typer.Argument(metavar="FILM_COLOUR", help="A finished master, its .dvcp folder beside it.")],
    source: Film,
    bag: Annotated[str, typer.Option(help="Folder of the bag, any fsspec URL. Run again to complete an interrupted one.")],
    profiles: Annotated[
        str, typer.Option(help="Comma separated; the master always. " + " ".join(f"{p.name}: {p.about}." for p in map(profile_of, DEFAULT)))
    ] = ",".join(DEFAULT),
    as_json: Json = False,
) -> None:
    """Pack a finished film for the archive as a BagIt bag: copies, checksums of every frame, provenance, PREMIS, shots, references."""
    from dvcp.delivery.deliver import deliver_bag

    asked = tuple(name.strip() for name in profiles.split(",") if name.strip())
    done = deliver_bag(film, source, bag, asked, lambda line: typer.echo(line, err=True))
    for warning in done.warnings:
        typer.echo(f"warning: {warning}", err=True)
    before = f"{done.url}: was complete already; dvcp verify says whether it still is what it was"
    text = f"{done.url}: {len(done.files)} files, seal {done.seal}" if done.made else before
    say(vars(done), text, as_json)


@guarded
def apply(
    layer: Annotated[str, typer.Argument(metavar="LAYER", help="A colour layer (.colour.mkv).")],
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The film it was made for.")],
    out: Annotated[str, typer.Option(help="Master to write (.mkv), or a folder ending in '/'.")],
    as_json: Json = False,
) -> None:
    """Lay a detached colour layer over its source: the master again, every sample of it. A layer of another film is refused."""
    from dvcp.delivery.derive import apply_layer

    url, warnings = apply_layer(layer, source, out)
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)
    say({"out": url, "warnings": warnings}, url, as_json)
