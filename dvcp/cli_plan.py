"""``dvcp plan``: what a run will take, before any work. Thin, as :mod:`dvcp.cli`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any

import typer

from dvcp.cli_train import guarded
from dvcp.media.profiles import MASTER
from dvcp.methods import NAMES


def add_plan_command(app: typer.Typer, options: Callable[[str | None, int | None, list[str]], dict[str, Any]]) -> None:
    """Give ``app`` the command plan; ``options`` makes a method's options of weights, working height and settings."""

    def plan_command(
        sources: Annotated[list[str], typer.Argument(metavar="SOURCES...", help="Films: paths, URLs, folders or globs.")],
        references: Annotated[str | None, typer.Option(help="Folder of painted stills: those that name a film are counted.")] = None,
        method: Annotated[str, typer.Option(help=" | ".join(NAMES))] = "dvcp",
        profile: Annotated[str, typer.Option(help="As for colorize.")] = MASTER.name,
        weights: Annotated[str | None, typer.Option(help="Weights: file, folder or URL; default: what ships with the method.")] = None,
        working_height: Annotated[int | None, typer.Option(min=64, help="Most lines the networks see.")] = None,
        settings: Annotated[list[str], typer.Option("--set", metavar="NAME=VALUE", help="A setting of the method.")] = [],  # noqa: B006
        segment_frames: Annotated[int, typer.Option(min=8, help="Most frames of a segment.")] = 240,
        rates: Annotated[
            str | None, typer.Option(help="Prices, TOML or CSV: gpu_hour, cpu_hour, gb_month, gb_egress, million_requests, currency.")
        ] = None,
        gpus: Annotated[int, typer.Option(min=0, help="GPUs; 0 = networks run on the CPU.")] = 0,
        cores: Annotated[int, typer.Option(min=0, help="CPU cores in all; 0 = this machine's, for each GPU.")] = 0,
        propagators: Annotated[int, typer.Option(min=0, help="Segments under way at once; 0 = one a GPU, or one for four cores.")] = 0,
        films: Annotated[int, typer.Option(min=1, help="Films open at a time, as for colorize.")] = 2,
        hours_a_night: Annotated[float, typer.Option(min=0.1, max=24, help="Hours of a night that may be used.")] = 24.0,
        sample: Annotated[int, typer.Option(min=1, help="Stretches of ten seconds to look at.")] = 24,
        seed: Annotated[int, typer.Option(help="Of their choice.")] = 1,
        calibration: Annotated[str | None, typer.Option(help="Stage times measured before, e.g. on the cluster's machines.")] = None,
        save_calibration: Annotated[str | None, typer.Option(help="Keep the stage times in this JSON file.")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
    ) -> None:
        """Say what colouring films will take before any work: shots, time, bytes and cost, from their headers, a sample and stage times
        measured here in a minute or two. Films that cannot be read are listed, the rest is planned."""
        from dvcp.media.source import find_sources
        from dvcp.planning.calibration import read_calibration, write_calibration
        from dvcp.planning.estimate import Crew
        from dvcp.planning.make import PlanSettings, make_plan
        from dvcp.planning.rates import Rates, read_rates
        from dvcp.planning.told import as_json as told
        from dvcp.planning.told import as_text

        asked = PlanSettings(
            method, options(weights, working_height, settings), profile, references, sample, seed, segment_frames,
            Crew(gpus, cores, propagators, films, hours_a_night), read_rates(rates) if rates else Rates(),
        )  # fmt: skip
        given = read_calibration(calibration) if calibration else None
        done = make_plan(asked, find_sources(sources), given, lambda line: typer.echo(line, err=True))
        if save_calibration:
            write_calibration(done.calibration, save_calibration)
        facts = (done.plan, done.calibration, done.failed, done.stills)
        typer.echo(json.dumps(told(*facts), indent=2) if as_json else as_text(*facts))

    app.command("plan")(guarded(plan_command))
