"""The stages of training, each from its data to a weights file: what the command line, the Prefect flow and Ray Train all run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from dvcp.errors import StoreError
from dvcp.nets.colorizer import Colorizer
from dvcp.nets.descriptor import DescriptorNet
from dvcp.nets.generators import generator_digest, load_generator
from dvcp.nets.weights import load_local, load_part, save_weights, weights_digest
from dvcp.store.intermediates import Intermediates
from dvcp.training.clips import load_clips, select_files
from dvcp.training.colorizer import train_colorizer
from dvcp.training.descriptor import train_descriptor
from dvcp.training.exemplar import train_exemplar
from dvcp.training.fusion import FUSIONS, train_fusion
from dvcp.training.local import train_local
from dvcp.training.loop import Schedule, place
from dvcp.training.scenes import load_photographs
from dvcp.training.tcvc import train_tcvc

log = logging.getLogger(__name__)
#: name of the file every stage leaves in its folder
WEIGHTS = "weights.safetensors"


def local(data: str, out: Path, schedule: Schedule, licences: Sequence[str], size: int) -> Path:
    """F_w from a folder of clips."""
    clips = load_clips(select_files(data, licences=licences), out / "cache")
    net, measured = train_local(clips, out, schedule, size=size)
    return _save(out, {"local": net}, measured)


def descriptor(data: str, out: Path, schedule: Schedule, licences: Sequence[str], frames: int, max_height: int) -> Path:
    """Descriptors from a folder of clips."""
    files = select_files(data, licences=licences)
    net, measured = train_descriptor(files, out, schedule, frames=frames, max_height=max_height)
    return _save(out, {"descriptor": net}, measured)


def exemplar(
    data: str,
    photographs: str | None,
    base: str,
    out: Path,
    schedule: Schedule,
    licences: Sequence[str],
    frames: int,
    max_height: int,
    along: float,
) -> Path:
    """Both subnets of the exemplar method from a folder of clips and one of photographs.

    Args:
        base: weights whose descriptors the correspondence subnet begins with.
    """
    clips = load_clips(select_files(data, licences=licences), out / "cache", max_height)
    begun = load_part(base, "descriptor", DescriptorNet())
    moving = load_photographs(photographs) if photographs else []
    studio, measured = train_exemplar(clips, moving, begun, out, schedule, frames=frames, along=along, start=weights_digest(base))
    return _save(out, {"descriptor": studio.descriptor, "colour": studio.colour}, measured)


def colorizer(data: str | None, photographs: str | None, out: Path, schedule: Schedule, licences: Sequence[str], max_height: int) -> Path:
    """G from a folder of clips, one of photographs, or both."""
    clips = load_clips(select_files(data, licences=licences), out / "cache", max_height) if data else []
    net, measured = train_colorizer(clips, load_photographs(photographs) if photographs else [], out, schedule)
    return _save(out, {"colorizer": net}, measured)


def tcvc(
    data: str, base: str, out: Path, schedule: Schedule, licences: Sequence[str], max_height: int, frames: int, generator: str
) -> Path:
    """TCVC's fusion from a folder of clips, of which only luma is learned from.

    Args:
        base: weights of the generator: a file with ``colorizer.*``, or the checkpoint of a public one.
        generator: one of :data:`dvcp.nets.generators.GENERATORS`.
    """
    clips = load_clips(select_files(data, licences=licences), out / "cache", max_height)
    colours = load_generator(generator, base)
    fusion, measured = train_tcvc(clips, colours, out, schedule, frames=frames, start=generator_digest(generator, base))
    ours: dict[str, nn.Module] = {"colorizer": colours} if isinstance(colours, Colorizer) else {}
    return _save(out, {**ours, "tcvc": fusion}, measured)


def fusion(data: Sequence[str], base: str, out: Path, schedule: Schedule, size: int, start: str | None) -> Path:
    """The fusion from datasets; the weights are complete.

    Args:
        base: weights that hold the other networks of the method.
        start: weights whose fusion to go on from.

    Raises:
        StoreError: a dataset is unfinished, or they were made by different methods.
    """
    datasets = [Intermediates(url) for url in data]
    methods = [d.made["method"] for d in datasets]
    method = methods[0]
    if set(methods) != {method}:
        raise StoreError(f"these datasets are of different methods: {', '.join(methods)}", file=data[0], hint="give those of one")
    before: dict[str, nn.Module] = (
        {"local": load_local(base)} if method == "paper" else {"descriptor": load_part(base, "descriptor", DescriptorNet())}
    )
    kind = FUSIONS[method]
    begun = load_part(start, kind.part, kind.make()) if start else None
    about = {"base": weights_digest(base), "start": weights_digest(start) if start else ""}
    net, measured = train_fusion(datasets, method, out, schedule, size=size, start=begun, about=about)
    return _save(out, {**before, kind.part: net}, measured)


def _save(out: Path, parts: Mapping[str, nn.Module], measured: Mapping[str, float]) -> Path:
    path = out / WEIGHTS
    if place()[0] == 0:
        # Without the clock: a stage run again after its end writes the same bytes, which later stages know their data by.
        digest = save_weights(path, parts, {k: f"{v:.4f}" for k, v in measured.items() if k != "minutes"})
        log.info("%s sha256 %s", path, digest)
    return path
