"""What machines and stores cost. The figures that come with dvcp are placeholders: nobody's price list, to be replaced by one's own."""

from __future__ import annotations

import csv
import io
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from dvcp.errors import ConfigError
from dvcp.store import files

#: when the placeholders were set down
PLACEHOLDERS_OF = "2026-11-22"


@dataclass(frozen=True)
class Rates:
    """Prices, in one currency.

    Attributes:
        currency: its name.
        gpu_hour: of one GPU with the machine it sits in.
        cpu_hour: of one core.
        gb_month: of 10^9 bytes kept for a month.
        gb_egress: of 10^9 bytes read out of the store.
        million_requests: to the store.
        of: when, or from whom, the prices are.
    """

    currency: str = "USD"
    gpu_hour: float = 3.0
    cpu_hour: float = 0.05
    gb_month: float = 0.02
    gb_egress: float = 0.0
    million_requests: float = 5.0
    of: str = f"placeholders of {PLACEHOLDERS_OF}, no provider's prices: give your own with --rates"


_NAMES = {field.name for field in fields(Rates)}
_TEXT = {"currency", "of"}


def read_rates(url: str) -> Rates:
    """A table of one's own: TOML (``gpu_hour = 2.5``) or CSV with the columns ``name,price``. What it does not name costs nothing.

    Raises:
        ConfigError: missing, not readable as such, a name that is none of :class:`Rates`, or a price that is no number of at least 0.
    """
    data = files.get_bytes(url)
    if data is None:
        raise ConfigError("no such rate table", file=url, hint="give a TOML or CSV file")
    free = {name: 0.0 for name in _NAMES - _TEXT}
    return Rates(**{**free, "of": url, **_checked(_parsed(data, url), url)})


def _parsed(data: bytes, url: str) -> Mapping[str, Any]:
    try:
        text = data.decode()
        if url.lower().endswith(".csv"):
            return {row["name"].strip(): row["price"].strip() for row in csv.DictReader(io.StringIO(text))}
        return tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, AttributeError) as error:
        raise ConfigError(f"is no rate table: {error}", file=url, hint="TOML such as gpu_hour = 2.5, or CSV with name,price") from error


def _checked(told: Mapping[str, Any], url: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in told.items():
        if name not in _NAMES:
            raise ConfigError(f"no rate is called {name!r}", file=url, hint=f"one of {', '.join(sorted(_NAMES))}")
        try:
            found[name] = str(value) if name in _TEXT else float(value)
        except (TypeError, ValueError):
            raise ConfigError(f"{name} is {value!r}", file=url, hint="a number") from None
        if name not in _TEXT and not 0 <= found[name] < float("inf"):
            raise ConfigError(f"{name} is {value!r}", file=url, hint="a number of at least 0")
    return found
