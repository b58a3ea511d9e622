"""The ``dvcp`` command. Thin: it reads options, calls the library and prints what came of it."""

from __future__ import annotations

import json
import logging
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, Any, TypeVar

import typer

from dvcp import __version__
from dvcp.cli_delivery import register
from dvcp.cli_plan import add_plan_command
from dvcp.cli_sequence import add_sequence_commands
from dvcp.cli_status import add_status_command
from dvcp.cli_train import guarded, train_app
from dvcp.errors import ConfigError
from dvcp.evaluation.painted import Painted
from dvcp.media.probe import probe as probe_film
from dvcp.media.profiles import MASTER, PROFILES, profile_for
from dvcp.methods import NAMES, SHIPPED, names_for
from dvcp.runtime.references import Missing
from dvcp.runtime.settings import PoolSettings
from dvcp.store.secrets import redact

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False, context_settings={"help_option_names": ["-h", "--help"]},
    help="Carry colour through film: paint one frame of a shot, dvcp colours the rest and proves that nothing but colour was added.\n\n"
    "Exit codes: 0 done; 1 failed; 2 usage; 3 unreadable film; 4 unusable stills; 5 bad shot list; 6 storage; 7 weights; "
    "8 cluster; 10 verification failed; 130 interrupted.",
)  # fmt: skip
references_app = typer.Typer(no_args_is_help=True, help="The stills a colourist paints.")
app.add_typer(references_app, name="references")
app.add_typer(train_app, name="train")
T = TypeVar("T")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Source = Annotated[str, typer.Argument(metavar="SRC", help="The film: a path or any fsspec URL (s3://..., https://...).")]


class Container(StrEnum):
    """A kind of file that ``probe`` looks ahead to."""

    MKV = "mkv"
    MOV = "mov"
    MP4 = "mp4"


def _read(function: Callable[..., T], *arguments: Any, file: str | None = None, **named: Any) -> T:
    """Call what reads ``file`` (the first argument) in a process of its own: a damaged one can end the process that reads it."""
    from dvcp.runtime.expendable import Expendable

    with Expendable() as child:
        return child.call(function, *arguments, file=file or arguments[0], **named)


def _say(data: Any, text: str, as_json: bool) -> None:
    typer.echo(json.dumps(data, indent=2, default=str) if as_json else text)


@app.callback(invoke_without_command=True)
def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what is going on, to stderr.")] = False,
) -> None:
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(asctime)s %(message)s", stream=sys.stderr)
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
@guarded
def probe(
    source: Source,
    container: Annotated[
        Container | None, typer.Option(help="Tell too what is kept, changed or refused there: mkv (master), mov (mezzanine), mp4 (access).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a film is: size, depth, colour tags, clock, sound; and what of it a container can keep."""
    from dvcp.media.fidelity import outlook

    info = _read(probe_film, source)
    data = info.to_json()
    lines = [f"{key:18} {value}" for key, value in data.items()]
    if container is not None:
        profile = profile_for(f".{container}")
        verdicts = outlook(info, profile)
        data |= {"profile": profile.name, "outlook": [verdict.to_json() for verdict in verdicts]}
        lines += ["", f"as {profile.name} (.{container}):", *(f"{v.verdict:8} {v.property:28} {v.what}" for v in verdicts)]
    _say(data, "\n".join(lines), as_json)


@app.command()
@guarded
def shots(
    source: Source,
    out: Annotated[str, typer.Option(help="Where to write the list: .otio, .edl, .csv or .json. Edit it and give it to colorize --shots.")],
    as_json: Json = False,
) -> None:
    """Find the cuts of a film, write its shot list, and say what each shot is: gray, tinted, in colour, blank, a title card, interlaced."""
    from dvcp.runtime.look import surveyed, told
    from dvcp.shots.timeline import write_shots

    seen = _read(surveyed, source)
    write_shots(seen.shots, out, seen.info.timecode)
    rows = [
        {"shot": s.number, "first": s.span.first, "last": s.span.stop - 1, "kind": seen.characters[s.number].kind.value,
         "tint": [round(c, 4) for c in seen.characters[s.number].tint], "fields": seen.characters[s.number].fields}
        for s in seen.shots.shots
    ]  # fmt: skip
    for warning in (*seen.warnings, *told(seen)):
        typer.echo(f"warning: {warning}", err=True)
    counts = Counter(row["kind"] for row in rows)
    summary = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    _say({"out": out, "shots": rows, "damaged": seen.info.damaged}, f"{len(rows)} shots ({summary}) -> {out}", as_json)


@references_app.command("export")
@guarded
def references_export(
    source: Source,
    out: Annotated[str, typer.Option(help="Folder for the gray key frames, one a shot, named by shot and frame.")],
    shot_list: Annotated[str | None, typer.Option("--shots", help="Edited shot list; default: find the cuts.")] = None,
    as_json: Json = False,
) -> None:
    """Write one gray key frame of every shot that wants colour. Paint over them, save under the same names, then run colorize
    --references on the folder."""
    from dvcp.runtime.look import surveyed, told
    from dvcp.shots.keyframe import export_references

    seen = _read(surveyed, source, shot_list)
    for warning in (*seen.warnings, *told(seen)):
        typer.echo(f"warning: {warning}", err=True)
    done = _read(export_references, seen.info, seen.shots, out, skip=seen.settled, file=source)
    data = {"written": list(done.written), "kept": list(done.kept), "shots": done.list_url}
    kept = f", {len(done.kept)} kept as they were" if done.kept else ""
    _say(data, f"{len(done.written)} stills to paint -> {out}{kept}; shot list {done.list_url}", as_json)


Weights = Annotated[str | None, typer.Option(help="Weights: file, folder or URL; default: what ships with the method.")]


Settings = Annotated[
    list[str], typer.Option("--set", metavar="NAME=VALUE", help="A setting of the method, see docs/methods.md; may be repeated.")
]


def _options(weights: str | None, working_height: int | None = None, settings: list[str] | None = None, **others: Any) -> dict[str, Any]:
    """Options of the method; what was not given is the method's own default."""
    named = {}
    for setting in settings or []:
        name, equals, value = setting.partition("=")
        if not equals or not name.isidentifier():
            raise ConfigError(f"--set {setting}", hint="NAME=VALUE, such as --set temperature=2")
        try:
            named[name] = None if value.lower() == "none" else json.loads(value)
        except json.JSONDecodeError:
            named[name] = value
    return named | others | ({"weights": weights} if weights else {}) | ({"working_height": working_height} if working_height else {})


@app.command()
@guarded
def colorize(
    sources: Annotated[
        list[str], typer.Argument(metavar="SRC...", help="Films: paths, any fsspec URLs (s3://..., https://...), folders or globs.")
    ],
    out: Annotated[str, typer.Option(help="Output file, or a folder ending in '/', where each film gets its own. Any fsspec URL.")],
    references: Annotated[
        str | None,
        typer.Option(
            help="Painted stills, other pictures in colour, or both: a folder, one image, or a manifest .csv/.json. May be left out for "
            "automatic methods and with --missing auto."
        ),
    ] = None,
    method: Annotated[str, typer.Option(help=" | ".join(NAMES))] = "dvcp",
    profile: Annotated[str, typer.Option(help=" ".join(f"{p.name}: {p.about}." for p in PROFILES.values()))] = MASTER.name,
    shot_list: Annotated[
        str | None, typer.Option("--shots", help="Edited shot list; default: that beside the stills, else find the cuts.")
    ] = None,
    at: Annotated[int | None, typer.Option(help="Frame that a single image paints, when its name does not say.")] = None,
    missing: Annotated[
        Missing,
        typer.Option(
            help="What a shot without a still gets when no loose picture fits it: the nearest picture; a key frame coloured automatically "
            "and kept beside the output to be corrected; no colour; an error. Automatic methods colour every shot themselves."
        ),
    ] = Missing.NEAREST,
    take: Annotated[int, typer.Option(min=1, help="Most pictures for a shot without a still, as far as they fit nearly as well.")] = 1,
    address: Annotated[str | None, typer.Option(help="Ray cluster, e.g. auto or ray://head:10001; default: this machine.")] = None,
    matchers: Annotated[int, typer.Option(min=0, help="Matcher actors; 0 = as many as propagators.")] = 0,
    propagators: Annotated[int, typer.Option(min=0, help="Propagators; 0 = one a GPU, or one for four cores.")] = 0,
    gpus_per_propagator: Annotated[float | None, typer.Option(help="GPUs each propagator holds; fractions allowed.")] = None,
    gpus_per_matcher: Annotated[float | None, typer.Option(help="GPUs each matcher holds; fractions allowed.")] = None,
    weights: Weights = None,
    working_height: Annotated[
        int | None, typer.Option(min=64, help="Most lines the networks see (colour is brought back along edges); default: the method's.")
    ] = None,
    settings: Settings = [],  # noqa: B006 - Typer copies it
    segment_frames: Annotated[int, typer.Option(min=8, help="Most frames of a segment: what a crash costs at most.")] = 240,
    at_once: Annotated[int, typer.Option("--films", min=1, help="Films open at a time: looked at, coloured, joined, verified.")] = 2,
    silence: Annotated[float, typer.Option(min=1, help="Seconds without any sign of life after which a film is given up.")] = 600,
    as_json: Json = False,
) -> None:
    """Colour films from painted stills, other pictures, or automatically.

    Run the same command again after any interruption: only what is missing is computed. Of several films, one that fails does not stop the
    others; what became of each is told at the end, and the exit code is 1 when any failed (of a single film: that of its error).

    Shots in colour already, title cards and blank leader are left as they are; tinted prints count as gray; frames that cannot be decoded
    become plain gray and are listed.
    """
    from dvcp.media.source import find_sources
    from dvcp.progress import film_rows
    from dvcp.runtime.batch import Outcome, colour_films
    from dvcp.runtime.job import JobSettings

    pools = PoolSettings(address, propagators, matchers, gpus_per_propagator, gpus_per_matcher)
    options, films = _options(weights, working_height, settings), find_sources(sources)
    if len(films) > 1 and not out.endswith("/"):
        raise ConfigError(f"--out {out} names one file for {len(films)} films", hint="a folder, ending in '/'")
    asked = JobSettings(
        "", references, out, method, options, profile, shot_list, at, missing, take, pools, segment_frames, silence_s=silence
    )  # fmt: skip

    outcomes: list[Outcome] = []
    with film_rows(lambda line: typer.echo(f"warning: {line}", err=True)) as watch:
        for outcome in colour_films(asked, films, watch, at_once):
            outcomes.append(outcome)
            if outcome.error:
                typer.echo(f"dvcp: {outcome.error}", err=True)
            elif not as_json:
                counts = f"{outcome.frames} frames, {outcome.shots} shots, {outcome.computed} segments computed"
                typer.echo(f"{outcome.out}: {counts}, {outcome.segments - outcome.computed} reused")
    order = [redact(film) for film in films]
    outcomes.sort(key=lambda outcome: order.index(outcome.source))
    rows = [asdict(outcome) for outcome in outcomes]
    failed = [outcome for outcome in outcomes if outcome.error]
    if as_json:
        typer.echo(json.dumps(rows[0] if len(films) == 1 else rows, indent=2))
    elif len(films) > 1:
        typer.echo(f"{len(films) - len(failed)} of {len(films)} films done" + "".join(f"\n  {o.error}" for o in failed))
    if failed:
        raise typer.Exit(failed[0].exit_code if len(films) == 1 else 1)


register(app)


@app.command()
@guarded
def evaluate(
    clips: Annotated[str, typer.Option(help="Folder of colour clips, one shot each.")],
    out: Annotated[str, typer.Option(help="Folder for tables, curves and contact sheets.")],
    methods: Annotated[
        str | None, typer.Option(help=f"Names, comma separated: {', '.join(NAMES)}. Default: all that can, with these weights.")
    ] = None,
    frames: Annotated[int, typer.Option(min=1, help="Frames to measure: those after the painted first one, else from the first on.")] = 50,
    painted: Annotated[
        Painted, typer.Option(help="Frames given in colour: the first; the first and the last; none, for automatic methods.")
    ] = Painted.FIRST,
    pairs: Annotated[
        str | None, typer.Option(help="CSV with columns clip,reference,frame: colour each clip from a frame (0-based) of another.")
    ] = None,
    aged: Annotated[
        int | None, typer.Option(min=0, help="Seed: give the clips the luma of a worn print (grain, flicker, scratches, dust) first.")
    ] = None,
    weights: Weights = None,
    settings: Settings = [],  # noqa: B006 - Typer copies it
    as_json: Json = False,
) -> None:
    """Measure methods on clips of true colour: PSNR-Lab over the first N frames and more; with --pairs, colour from other scenes.

    Run again to go on.
    """
    from dvcp.evaluation.batch import EvaluationSettings, suited
    from dvcp.evaluation.pairs import evaluate_pairs
    from dvcp.evaluation.run import evaluate as measure

    if methods is None:
        methods = ",".join(suited(names_for(weights) if weights else SHIPPED, painted, borrowing=pairs is not None))
    names = tuple(m.strip() for m in methods.split(",") if m.strip())
    asked = EvaluationSettings(clips, names, frames, out, _options(weights, settings=settings), painted, aged)
    summary = evaluate_pairs(asked, pairs, progress=not as_json) if pairs else measure(asked, progress=not as_json)
    _say(summary.to_json(), summary.markdown, as_json)
    if summary.failed:
        raise typer.Exit(1)


@app.command()
@guarded
def precompute(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCES...", help="Colour films: paths, URLs, folders or globs.")],
    out: Annotated[str, typer.Option(help="URL of the dataset. Run again to go on after an interruption, or to add films.")],
    method: Annotated[str, typer.Option(help="dvcp | paper")] = "dvcp",
    weights: Weights = None,
    feedback: Annotated[str, typer.Option(help="What goes on into the next frame: fused colours, or local (before a fusion).")] = "fused",
    rollout: Annotated[int, typer.Option(min=2, help="Longest way from a reference, in frames; longer shots count as several.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the choice of references: one frame a shot, any frame.")] = 1,
    working_height: Annotated[int, typer.Option(min=64, help="Most lines the networks see.")] = 576,
    segment_frames: Annotated[int, typer.Option(min=8, help="Most frames of a shard: what a crash costs at most.")] = 120,
    address: Annotated[str | None, typer.Option(help="Ray cluster, e.g. auto or ray://head:10001; default: this machine.")] = None,
    matchers: Annotated[int, typer.Option(min=0, help="Matcher actors; 0 = as many as propagators.")] = 0,
    propagators: Annotated[int, typer.Option(min=0, help="Propagators; 0 = one a GPU, or one for four cores.")] = 0,
    as_json: Json = False,
) -> None:
    """Roll the branches out over whole shots of colour films and keep what they propose for every frame: G, I^w, I^s, truth, as Parquet."""
    from dvcp.media.source import find_sources
    from dvcp.progress import films_bar
    from dvcp.runtime.precompute import PrecomputeSettings
    from dvcp.runtime.precompute import precompute as compute

    options = _options(weights, working_height=working_height, feedback=feedback)
    pools = PoolSettings(address, propagators, matchers)
    settings = PrecomputeSettings(out, method, options, rollout, seed, pools, segment_frames)
    films = find_sources(sources)
    if not sys.stderr.isatty():
        # no bar there: a line a film instead
        logging.getLogger("dvcp").setLevel(logging.INFO)
    with films_bar(len(films)) as report:
        shards, failed = compute(settings, films, report)
    rows, size = sum(s.rows for s in shards), sum(s.bytes for s in shards)
    data = {"out": out, "films": len({s.source for s in shards}), "shards": len(shards), "rows": rows, "bytes": size, "failed": failed}
    _say(data, f"{out}: {rows} rows of {data['films']} films in {len(shards)} shards, {size / max(1, rows) / 1e3:.0f} kB a row", as_json)
    for line in failed:
        typer.echo(f"dvcp: {line}", err=True)
    if failed:
        raise typer.Exit(1)


add_sequence_commands(app)
add_status_command(app)
add_plan_command(app, _options)


def main() -> None:
    """Entry point of the ``dvcp`` command."""
    app()


if __name__ == "__main__":
    main()
