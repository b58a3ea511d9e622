"""Numbers that the environment may set."""

from __future__ import annotations

import os

from dvcp.errors import ConfigError


def whole_number(name: str, default: int) -> int:
    """The variable ``name``, at least 0; ``default`` where it is not set or empty.

    Raises:
        ConfigError: it is no such number.
    """
    told = os.environ.get(name, "").strip()
    if not told:
        return default
    if not (told.isascii() and told.isdigit()):
        raise ConfigError(f"{name}={told} is no whole number", hint=f"e.g. {name}=2, or leave it unset")
    return int(told)
