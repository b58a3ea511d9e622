"""Generators by name: ours, and the public ones with weights that a user has."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dvcp.errors import ConfigError
from dvcp.nets import statefiles
from dvcp.nets.colorizer import Colorizer
from dvcp.nets.generator import Generator
from dvcp.nets.tcvc_paper import ECCV16_HINT, SIGGRAPH17_HINT, load_eccv16, load_siggraph17
from dvcp.nets.weights import load_part, weights_digest

_PUBLIC: Mapping[str, tuple[Callable[[str], Generator], str]] = {
    "siggraph17": (load_siggraph17, SIGGRAPH17_HINT),
    "eccv16": (load_eccv16, ECCV16_HINT),
}
GENERATORS = ("dvcp", *_PUBLIC)


def check_generator(name: str, weights: str | None) -> None:
    """Raises ConfigError for an unknown name, a public one without weights, or ours with any: those come with the method's."""
    if name not in GENERATORS:
        raise ConfigError(f"generator {name!r}", hint=", ".join(GENERATORS))
    if name == "dvcp" and weights:
        raise ConfigError("generator dvcp has its weights in --weights", hint="leave generator_weights out, or name a public generator")
    if name != "dvcp" and not weights:
        raise ConfigError(f"generator {name} comes without weights", hint=f"generator_weights: {_PUBLIC[name][1]}")


def load_generator(name: str, weights: str) -> Generator:
    """In eval mode, frozen, on the CPU.

    Args:
        weights: for "dvcp" a weights file with ``colorizer.*``, else the public checkpoint.

    Raises:
        ConfigError: no such generator.
        WeightsError: the file cannot be read, or holds another network.
    """
    if name in _PUBLIC:
        return _PUBLIC[name][0](weights)
    check_generator(name, None)
    net = load_part(weights, "colorizer", Colorizer())
    net.requires_grad_(False)
    return net


def generator_digest(name: str, weights: str) -> str:
    """sha256 (hex) of its weights; of ours without the backbone's. Raises as :func:`load_generator`."""
    return statefiles.digest(weights, _PUBLIC[name][1]) if name in _PUBLIC else weights_digest(weights)
