"""Trained weights: safetensors files of float16 tensors, a prefix for each network; the header says how they came.

``dvcp.safetensors`` holds ``descriptor.*`` and ``choice.*`` of the default method, ``paper.safetensors`` F_w (``local.*``) and F_f
(``fusion.*``) of the paper's own form, ``exemplar.safetensors`` ``descriptor.*`` and ``colour.*`` of the exemplar method,
``tcvc.safetensors`` ``colorizer.*`` and ``tcvc.*`` of automatic colour.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import TypeVar

import fsspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor, nn

from dvcp.errors import WeightsError
from dvcp.nets.sepconv import KernelNet
from dvcp.nets.tcvc import FeatureFusion

#: the weights that ship with dvcp: of the default method, of the paper's form, of the exemplar method, of automatic colour
DEFAULT, PAPER, EXEMPLAR, TCVC = "default", "paper", "exemplar", "tcvc"
_SHIPPED = {DEFAULT: "dvcp.safetensors", PAPER: "paper.safetensors", EXEMPLAR: "exemplar.safetensors", TCVC: "tcvc.safetensors"}
_HINT = "use weights written by dvcp train"


Net = TypeVar("Net", bound=nn.Module)


@lru_cache(maxsize=2)
def _read(url: str) -> bytes:
    if url in _SHIPPED:
        with as_file(files("dvcp") / "weights" / _SHIPPED[url]) as path:
            url = str(path)
    try:
        with fsspec.open(url, "rb") as file:
            return bytes(file.read())
    except OSError as error:
        hint = "give --weights FILE, or train them: see dvcp train --help"
        raise WeightsError("weights cannot be read", file=url, hint=hint) from error


def weights_digest(url: str = DEFAULT) -> str:
    """sha256 (hex) of a weights file."""
    return hashlib.sha256(_read(url)).hexdigest()


def parts_of(url: str) -> set[str]:
    """Names of the networks in a weights file. Raises WeightsError."""
    return {name.partition(".")[0] for name in _all(url)}


def _all(url: str) -> dict[str, Tensor]:
    try:
        return load(_read(url))
    except SafetensorError as error:
        raise WeightsError(f"is no safetensors file: {error}", file=url, hint=_HINT) from error


def _tensors(prefix: str, url: str) -> dict[str, Tensor]:
    found = {k.removeprefix(prefix): v.float() for k, v in _all(url).items() if k.startswith(prefix)}
    if not found:
        raise WeightsError(f"holds no {prefix}* tensors", file=url, hint=_HINT)
    return found


def _fill(net: nn.Module, tensors: Mapping[str, Tensor], url: str) -> None:
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise WeightsError(f"holds tensors of another network: {reason[:200]}", file=url, hint=_HINT) from error


def load_local(url: str = PAPER) -> KernelNet:
    """F_w in eval mode, float32.

    Raises:
        WeightsError: the file is missing or holds other tensors.
    """
    tensors = _tensors("local.", url)
    last = tensors.get("vertical.last.bias")
    try:
        net = KernelNet(taps=51 if last is None else len(last))
    except ValueError as error:
        raise WeightsError(f"holds tensors of another network: {error}", file=url, hint=_HINT) from error
    _fill(net, tensors, url)
    return net.eval()


def load_fusion(url: str, channels: int) -> FeatureFusion:
    """TCVC's fusion for a generator of so many ``channels``, in eval mode, float32. Raises as :func:`load_local`."""
    tensors = _tensors("tcvc.", url)
    last = tensors.get("refine.conv3.bias")
    if last is not None and len(last) != channels:
        reason = f"its fusion is for features of {len(last)} channels, the generator's have {channels}"
        raise WeightsError(reason, file=url, hint="dvcp train tcvc --generator NAME makes one for a generator")
    net = FeatureFusion.of(channels)
    _fill(net, tensors, url)
    return net.eval()


def load_part(url: str, part: str, net: Net) -> Net:
    """``net`` with the tensors called ``part.*``, in eval mode, float32. Raises as :func:`load_local`."""
    _fill(net, _tensors(f"{part}.", url), url)
    net.eval()
    return net


def save_weights(path: Path, parts: Mapping[str, nn.Module], made: Mapping[str, str]) -> str:
    """Write networks (batch norm folded) as float16; ``made`` says how, in words. Returns the sha256 of the file."""
    tensors: dict[str, Tensor] = {}
    for prefix, net in parts.items():
        tensors |= {f"{prefix}.{k}": v.detach().to("cpu", torch.float16).contiguous() for k, v in net.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    # One entry: safetensors writes several in an order that changes from run to run, and the file's digest with it.
    save_file(tensors, path, metadata={"made": json.dumps(dict(made), sort_keys=True)})
    _read.cache_clear()
    return hashlib.sha256(path.read_bytes()).hexdigest()
