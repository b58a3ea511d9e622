"""``dvcp train``: one command a stage. Thin, as :mod:`dvcp.cli`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer

from dvcp.errors import DvcpError, StoreError

train_app = typer.Typer(no_args_is_help=True, help="Train the networks on your own footage.")

P = ParamSpec("P")
R = TypeVar("R")


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """One line on stderr and the error's own exit code instead of a traceback."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except DvcpError as error:
            typer.echo(f"dvcp: {error}", err=True)
            raise typer.Exit(error.exit_code) from error
        except OSError as error:
            # What no layer below could put better: a folder that may not be written, a disk that is full.
            what = f"{error.filename or 'a file'}: {error.strerror or error}"
            typer.echo(f"dvcp: {what} (check the folder, its owner and the disk)", err=True)
            raise typer.Exit(StoreError.exit_code) from error
        except KeyboardInterrupt as interrupt:
            typer.echo("dvcp: interrupted; the same command goes on where it was", err=True)
            raise typer.Exit(130) from interrupt

    return run


Out = Annotated[Path, typer.Option(help="Folder for checkpoints, curves and weights; run again to resume.")]
Clips = Annotated[str, typer.Option("--data", help="Folder of colour clips, one shot each.")]
Licence = Annotated[list[str], typer.Option(help="Only clips of this licence_class in the clips.csv beside them; may be repeated.")]
Steps = Annotated[int, typer.Option(min=1, help="Optimiser steps at most.")]
Minutes = Annotated[float, typer.Option(help="Stop after so many minutes of training, over all resumes; 0 = no limit.")]
Devices = Annotated[int, typer.Option(min=1, help="GPUs (or processes, where there is none) to train on together, through Ray Train.")]
Loaders = Annotated[int, typer.Option(min=0, help="Processes a device that draw batches ahead; 0 = drawn between steps.")]
Every = Annotated[int, typer.Option(min=1, help="Steps between checkpoints, measurements and lines of the curve.")]


@train_app.command("local")
@guarded
def train_local_command(
    data: Clips,
    out: Out,
    licence: Licence = [],  # noqa: B006 - Typer copies it
    steps: Steps = 100_000,
    minutes: Minutes = 0,
    batch: Annotated[int, typer.Option(help="Pairs a step.")] = 8,
    size: Annotated[int, typer.Option(help="Crop on the chroma grid.")] = 128,
    rate: Annotated[float, typer.Option(help="Learning rate.")] = 1e-3,
    every: Every = 200,
    devices: Devices = 1,
    loaders: Loaders = 0,
) -> None:
    """The paper's F_w, on frame pairs."""
    _train("local", devices, data=data, out=out, licences=licence, size=size, schedule=(steps, minutes, batch, rate, 1, every, loaders))


@train_app.command("descriptor")
@guarded
def train_descriptor_command(
    data: Clips,
    out: Out,
    licence: Licence = [],  # noqa: B006 - Typer copies it
    steps: Steps = 3000,
    minutes: Minutes = 0,
    batch: Annotated[int, typer.Option(help="Pairs of frames a step.")] = 1,
    frames: Annotated[int, typer.Option(min=2, help="Frames of each clip, kept in memory: 2.4 MB each at 480p.")] = 16,
    height: Annotated[int, typer.Option(min=64, help="Most lines of luma.")] = 576,
    rate: Annotated[float, typer.Option(help="Learning rate.")] = 1e-3,
    every: Every = 200,
    devices: Devices = 1,
    loaders: Loaders = 0,
) -> None:
    """Descriptors of the global branch, by matching colours between frames of a clip."""
    schedule = (steps, minutes, batch, rate, 1, every, loaders)
    _train("descriptor", devices, data=data, out=out, licences=licence, frames=frames, max_height=height, schedule=schedule)


@train_app.command("fusion")
@guarded
def train_fusion_command(
    data: Annotated[list[str], typer.Option(help="Dataset of dvcp precompute; may be repeated, all are read as one.")],
    base: Annotated[str, typer.Option(help="Weights the datasets were precomputed with; what they hold besides the fusion is kept.")],
    out: Out,
    resume_from: Annotated[str | None, typer.Option(help="Weights whose fusion to go on from, as in a second pass.")] = None,
    steps: Steps = 20_000,
    minutes: Minutes = 0,
    batch: Annotated[int, typer.Option(help="Crops a step.")] = 16,
    size: Annotated[int, typer.Option(help="Crop on the working grid.")] = 128,
    rate: Annotated[float, typer.Option(help="Learning rate.")] = 1e-3,
    every: Every = 500,
    devices: Devices = 1,
    loaders: Loaders = 0,
) -> None:
    """The fusion, on precomputed proposals. Writes complete weights: what came before it, and the fusion."""
    schedule = (steps, minutes, batch, rate, 1, every, loaders)
    _train("fusion", devices, data=data, base=base, out=out, start=resume_from, size=size, schedule=schedule)


@train_app.command("exemplar")
@guarded
def train_exemplar_command(
    data: Clips,
    out: Out,
    photographs: Annotated[str | None, typer.Option("--stills", help="Folder of colour photographs, made to move.")] = None,
    base: Annotated[str, typer.Option(help="Weights whose descriptors to begin with; default: what ships.")] = "default",
    licence: Licence = [],  # noqa: B006 - Typer copies it
    steps: Steps = 6000,
    minutes: Minutes = 0,
    batch: Annotated[int, typer.Option(help="Runs of frames a step.")] = 1,
    frames: Annotated[int, typer.Option(min=4, help="Frames unrolled at a time.")] = 5,
    height: Annotated[int, typer.Option(min=64, help="Most lines of luma; half of them are learned from.")] = 480,
    rate: Annotated[float, typer.Option(help="Learning rate.")] = 4e-4,
    along: Annotated[float, typer.Option(min=0, help="Learning rate of the descriptors, relative; 0 leaves them as they are.")] = 0.0,
    every: Every = 250,
    devices: Devices = 1,
    loaders: Loaders = 0,
) -> None:
    """Both subnets of the exemplar method, end to end, with the paper's losses."""
    schedule = (steps, minutes, batch, rate, 1, every, loaders)
    options = {"data": data, "photographs": photographs, "base": base, "out": out, "licences": licence, "frames": frames}
    _train("exemplar", devices, **options, max_height=height, along=along, schedule=schedule)


@train_app.command("colorizer")
@guarded
def train_colorizer_command(
    out: Out,
    data: Annotated[str | None, typer.Option(help="Folder of colour clips, one shot each.")] = None,
    photographs: Annotated[str | None, typer.Option("--stills", help="Folder of colour photographs.")] = None,
    licence: Licence = [],  # noqa: B006 - Typer copies it
    steps: Steps = 8000,
    minutes: Minutes = 0,
    batch: Annotated[int, typer.Option(help="Pictures a step, each seen twice.")] = 8,
    height: Annotated[int, typer.Option(min=64, help="Most lines of luma of a clip; half of them are learned from.")] = 480,
    rate: Annotated[float, typer.Option(help="Learning rate.")] = 1e-3,
    every: Every = 250,
    devices: Devices = 1,
    loaders: Loaders = 0,
) -> None:
    """G: the likely colours of one gray picture, for shots that nobody painted."""
    schedule = (steps, minutes, batch, rate, 1, every, loaders)
    options = {"data": data, "photographs": photographs, "out": out, "licences": licence}
    _train("colorizer", devices, **options, max_height=height, schedule=schedule)


@train_app.command("tcvc")
@guarded
def train_tcvc_command(
    data: Clips,
    out: Out,
    base: Annotated[str, typer.Option(help="Weights of the generator, as dvcp train colorizer writes them; default: what ships.")] = "tcvc",
    generator: Annotated[str, typer.Option(help="dvcp | siggraph17 | eccv16; the public ones with their checkpoint as --base.")] = "dvcp",
    licence: Licence = [],  # noqa: B006 - Typer copies it
    steps: Steps = 6000,
    minutes: Minutes = 0,
    batch: Annotated[int, typer.Option(help="Intervals a step.")] = 1,
    frames: Annotated[int, typer.Option(min=1, help="Frames between two anchors, the paper's N.")] = 10,
    height: Annotated[int, typer.Option(min=64, help="Most lines of luma; half of them are learned from.")] = 480,
    rate: Annotated[float, typer.Option(help="Learning rate.")] = 3e-4,
    every: Every = 250,
    devices: Devices = 1,
    loaders: Loaders = 0,
) -> None:
    """The fusion of TCVC, regularised by itself: gray films will do. Writes complete weights: the generator, and the fusion."""
    schedule = (steps, minutes, batch, rate, 1, every, loaders)
    options = {"data": data, "base": base, "generator": generator, "out": out, "licences": licence, "frames": frames}
    _train("tcvc", devices, **options, max_height=height, schedule=schedule)


def _train(stage: str, devices: int, **options: Any) -> None:
    from dvcp.training.spread import spread

    logging.getLogger().setLevel(logging.INFO)
    typer.echo(spread(stage, options, devices))
