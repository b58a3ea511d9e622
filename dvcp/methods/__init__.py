"""Ways to carry colour along a shot, by name."""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

from dvcp.errors import ConfigError
from dvcp.methods.base import Method

#: names of :mod:`dvcp.methods.generating`, which need no reference
_AUTOMATIC = ("tcvc+", "tcvc", "colorizer")
_BASELINES = {"flow": "dvcp.methods.flow:Flow", "copy": "dvcp.methods.baselines:Copy", "gray": "dvcp.methods.baselines:Gray"}
#: every name that runs from the install, best first
SHIPPED = ("dvcp", "exemplar", "local", "global", *_AUTOMATIC, "paper", "paper-local", "paper-global", *_BASELINES)
#: every name ``create`` knows: those, and those that need files of the user's
NAMES = (*SHIPPED, "exemplar-paper", "tcvc-paper")


def create(name: str, /, **options: Any) -> Method:
    """Build a method.

    Args:
        name: one of :data:`NAMES`; or ``package.module:Class`` for one of your own, which every node must be able to import.
        options: the fields of the method's ``Settings``: for dvcp, local and global in :mod:`dvcp.methods.dvcp`, for exemplar in
            :mod:`dvcp.methods.exemplar`, for paper* in :mod:`dvcp.methods.paper`, for exemplar-paper in
            :mod:`dvcp.methods.exemplar_paper`, for colorizer and tcvc* in :mod:`dvcp.methods.generating`.

    Raises:
        ConfigError: no such method or option.
        WeightsError: its weights are missing or wrong.
    """
    if ":" in name:
        return _own(name, options)
    if name in _BASELINES:
        # Options of the networks (working height, weights) say nothing to a baseline, and one command line serves every method.
        return _own(_BASELINES[name], {})
    if options.keys() & {"branches", "name"}:
        raise ConfigError("what runs is chosen by the name of the method", hint=f"one of {', '.join(NAMES)}")
    if name in NAMES:
        from dvcp.methods import colorizer, dvcp, exemplar, exemplar_paper, generating, paper, tcvc

        try:
            if name in (*_AUTOMATIC, "tcvc-paper"):
                settings = generating.Settings(name=cast(Any, name), **options)
                return colorizer.ImageColorizer(settings) if name == "colorizer" else tcvc.TemporallyConsistent(settings)
            if name == "exemplar":
                return exemplar.ExemplarColorization(exemplar.Settings(**options))
            if name == exemplar_paper.NAME:
                return exemplar_paper.ExemplarPropagation(exemplar_paper.Settings(**options))
            if name.startswith("paper"):
                return paper.DeepPropagation(paper.Settings(branches=cast(paper.Branches, name), **options))
            return dvcp.GuidedPropagation(dvcp.Settings(branches=cast(dvcp.Branches, name), **options))
        except TypeError as error:
            raise ConfigError(f"method {name}: {error}") from error
    raise ConfigError(f"no method {name!r}", hint=f"one of {', '.join(NAMES)}")


def _own(name: str, options: dict[str, Any]) -> Method:
    module, _, attribute = name.partition(":")
    try:
        made: Method = getattr(import_module(module), attribute)(**options)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"method {name}: {error}", hint="package.module:Class, importable here and on every node") from error
    return made


def names_for(weights: str) -> tuple[str, ...]:
    """Methods of :data:`SHIPPED` that a weights file serves, and those that need none.

    Raises:
        WeightsError: it cannot be read.
    """
    from dvcp.methods.networks import Networks
    from dvcp.nets.weights import parts_of

    held = parts_of(weights)
    made = {name: create(name, weights=weights) for name in SHIPPED}
    return tuple(name for name, method in made.items() if not isinstance(method, Networks) or held.issuperset(method.needs))
