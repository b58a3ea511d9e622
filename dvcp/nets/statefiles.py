"""Pickled state dicts as others release them: read from anywhere, never run, and refused in one line unless they fit the network.

A network that is to be filled stands on the meta device; it gets the file's tensors themselves, as float32, and comes out in eval mode.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import fsspec
import torch
from torch import Tensor, nn

from dvcp.errors import WeightsError

_CHUNK = 1 << 24
#: how often a batch norm was trained: of no use, and not in files of before torch 0.4.1
_COUNTER = "num_batches_tracked"


def one_line(error: BaseException) -> str:
    """What an error says, at most 200 characters."""
    return " ".join(str(error).split())[:200]


@contextmanager
def _opened(url: str, hint: str) -> Iterator[Any]:
    try:
        with fsspec.open(url, "rb") as file:
            yield file
    except (OSError, ValueError, ImportError) as error:
        raise WeightsError(f"cannot be read: {one_line(error)}", file=url, hint=hint) from error


def read(url: str, hint: str) -> bytes:
    """A whole file, by path or fsspec URL.

    Raises:
        WeightsError: it cannot be read; ``hint`` says which file is wanted.
    """
    with _opened(url, hint) as file:
        return bytes(file.read())


def digest(url: str, hint: str) -> str:
    """sha256 (hex) of a file. Raises as :func:`read`."""
    sha = hashlib.sha256()
    with _opened(url, hint) as file:
        while chunk := file.read(_CHUNK):
            sha.update(chunk)
    return sha.hexdigest()


def state_of(data: bytes, path: str, hint: str, inside: str = "state_dict") -> dict[str, Tensor]:
    """The state dict in a file, DataParallel's prefix taken off.

    Args:
        data: the file.
        path: its name, for errors.
        hint: which file is wanted.
        inside: what the state dict is called where the file holds more than it.

    Raises:
        WeightsError: no checkpoint of tensors.
    """
    try:
        found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's own words advise to run the file
        raise WeightsError("is no checkpoint of tensors alone", file=path, hint=hint) from error
    except (RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"is no checkpoint of tensors: {one_line(error)}", file=path, hint=hint) from error
    if isinstance(found, Mapping) and inside in found:
        found = found[inside]
    if not isinstance(found, Mapping) or not all(isinstance(t, Tensor) for t in found.values()):
        raise WeightsError("holds no state dict", file=path, hint=hint)
    return {str(name).removeprefix("module."): t for name, t in found.items()}


def fill(parts: Mapping[str, nn.Module], tensors: Mapping[str, Tensor], path: str, hint: str) -> None:
    """Give networks the tensors of a file, which must be theirs and no others.

    Args:
        parts: networks on the meta device by the prefix of their tensors' names in the file.
        tensors: of :func:`state_of`.
        path: name of the file, for errors.
        hint: which file is wanted.

    Raises:
        WeightsError: a tensor is missing, has another shape, or belongs to no part.
    """
    wanted = {f"{prefix}{name}": tuple(t.shape) for prefix, net in parts.items() for name, t in net.state_dict().items()}
    tensors = {name: torch.tensor(0) for name in wanted if name.endswith(_COUNTER)} | dict(tensors)
    _check(wanted, tensors, path, hint)
    for prefix, net in parts.items():
        own = {name: tensors[f"{prefix}{name}"] for name in net.state_dict()}
        net.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in own.items()}, assign=True)
        net.eval().requires_grad_(False)


def _check(wanted: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Tensor], path: str, hint: str) -> None:
    for name in [*wanted, *tensors]:
        if name not in tensors:
            reason = f"has no {name}"
        elif name not in wanted:
            reason = f"has {name}, which the network has not"
        elif tuple(tensors[name].shape) != wanted[name]:
            reason = f"has {name} of shape {list(tensors[name].shape)}, not {list(wanted[name])}"
        else:
            continue
        raise WeightsError(f"holds another network: it {reason}", file=path, hint=hint)
