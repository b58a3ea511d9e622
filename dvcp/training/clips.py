"""Colour footage as training reads it: every clip once decoded to a memory-mapped array on the chroma grid."""

from __future__ import annotations

import csv
import hashlib
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from dvcp.colour import ColourSpec, chroma_to_unit, luma_to_unit
from dvcp.errors import ConfigError, DvcpError
from dvcp.media.probe import probe_colour
from dvcp.media.reader import FrameReader
from dvcp.media.source import VIDEO_SUFFIXES
from dvcp.ops.codes import to_codes
from dvcp.timing import Span

log = logging.getLogger(__name__)
_BLOCK = 32


@dataclass(frozen=True, eq=False)
class Clip:
    """One shot of true colour.

    Attributes:
        name: file stem.
        path: file it came from.
        planes: uint8 ``[T, 3, h, w]`` on the chroma grid, full range: Y' (area average), Cb + 128, Cr + 128.
    """

    name: str
    path: str
    planes: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.planes)


def to_working(luma: NDArray[np.generic], chroma: NDArray[np.generic], colour: ColourSpec) -> torch.Tensor:
    """Native planes ``[T, H, W]`` and ``[T, 2, Hc, Wc]`` to float32 ``[T, 3, h, w]`` on the half-resolution grid, chroma centred at 0."""
    height, width = -(-luma.shape[1] // 2), -(-luma.shape[2] // 2)
    y = F.interpolate(torch.from_numpy(luma_to_unit(luma, colour))[:, None], size=(height, width), mode="area")
    c = torch.from_numpy(chroma_to_unit(chroma, colour))
    if tuple(c.shape[-2:]) != (height, width):
        c = F.interpolate(c, size=(height, width), mode="area")
    return torch.cat([y, c], 1)


def select_files(folder: str, split: str | None = None, licences: Sequence[str] = ()) -> list[Path]:
    """Videos in ``folder``, sorted. With ``licences``, only those whose ``licence_class`` in ``clips.csv`` (in or above it) is one of them.

    Raises:
        ConfigError: no video is left.
    """
    files = sorted(p for p in Path(folder).iterdir() if p.suffix.lower() in VIDEO_SUFFIXES) if Path(folder).is_dir() else []
    if licences:
        table = next((d / "clips.csv" for d in (Path(folder), Path(folder).parent) if (d / "clips.csv").exists()), None)
        if table is None:
            raise ConfigError("no clips.csv with a licence_class column", file=folder, hint="leave --licence out to use every clip")
        with table.open(newline="") as lines:
            allowed = {r["slug"] for r in csv.DictReader(lines) if r["licence_class"] in licences and (not split or r["split"] == split)}
        files = [p for p in files if p.stem in allowed]
    if not files:
        raise ConfigError("no video files to train on", file=folder, hint="give a folder of .mp4, .mkv or .mov clips, one shot each")
    return files


def fingerprint(parts: Iterable[object]) -> str:
    """sha256 (hex) that tells one set of training data from another, in any order."""
    return hashlib.sha256("\n".join(sorted(map(str, parts))).encode()).hexdigest()


def _decode(path: Path, target: Path, max_height: int) -> None:
    info = probe_colour(str(path))
    scale = min(1.0, max_height / info.height)
    size = (max(2, round(info.height * scale / 2)), max(2, round(info.width * scale / 2)))
    blocks = []
    with FrameReader(info) as reader:
        for first in range(0, len(info.frames), _BLOCK):
            luma, chroma = reader.planes(Span(first, min(first + _BLOCK, len(info.frames))))
            planes = to_working(luma, chroma, info.colour)
            if tuple(planes.shape[-2:]) != size:
                planes = F.interpolate(planes, size=size, mode="area")
            blocks.append(to_codes(planes))
    part = target.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as out:
        np.save(out, np.concatenate(blocks))
    part.replace(target)


def load_clips(files: Sequence[Path], cache: Path, max_height: int = 480) -> list[Clip]:
    """Decode ``files`` (once: arrays are kept in ``cache``) and map them into memory. A clip that cannot be read is logged and left out."""
    cache.mkdir(parents=True, exist_ok=True)
    clips = []
    for path in files:
        status = path.stat()
        tag = hashlib.sha256(f"{path.resolve()}:{status.st_size}:{status.st_mtime_ns}:{max_height}".encode()).hexdigest()[:16]
        target = cache / f"{path.stem}-{tag}.npy"
        try:
            if not target.exists():
                _decode(path, target, max_height)
        except DvcpError as error:
            log.warning("left out: %s", error)
            continue
        clips.append(Clip(path.stem, str(path), np.load(target, mmap_mode="r")))
    return clips


T = TypeVar("T")


def hold_out(clips: Sequence[T], every: int = 9) -> tuple[list[T], list[T]]:
    """(training, held out): every ``every``-th clip in name order is kept back to choose by, so the choice is not made on ``dev``.

    Too few clips to keep one back are both.

    Raises:
        ConfigError: there are none.
    """
    if not clips:
        raise ConfigError("nothing to train on: every clip was left out", hint="see the warnings above")
    kept = range(every // 2, len(clips), every)
    if not kept:
        return list(clips), list(clips)
    return [c for k, c in enumerate(clips) if k not in kept], [clips[k] for k in kept]
