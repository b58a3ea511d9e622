"""Patience with a store: what may pass is tried again, for a bounded time.

Two layers try again. The driver's own (botocore) tries each request up to three times within seconds and says nothing of it: that mends
the single request that fails. This one waits out a store that slows down or is away: after each failure it waits longer (up to 8 s, drawn
at random so that a thousand workers do not come back in the same instant), says so in the log, and gives up ``DVCP_STORE_PATIENCE``
seconds (120) after the first failure. s3fs' own loop between the two is turned off: together they would try an absent store 25 times
without a word. Who sets ``AWS_MAX_ATTEMPTS`` or ``AWS_RETRY_MODE`` decides the driver's layer; ``AWS_MAX_ATTEMPTS=1`` says that failures
are wanted at once, so it also turns this layer off unless ``DVCP_STORE_PATIENCE`` is set.
"""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Callable
from typing import TypeVar

from dvcp.errors import ConfigError
from dvcp.pulse import pulse
from dvcp.store.explain import detail, passing
from dvcp.store.secrets import redact

log = logging.getLogger(__name__)
#: operations that this process has tried again so far
again = 0
T = TypeVar("T")

_PATIENCE_S = 120.0
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 8.0


def patience() -> float:
    """Seconds after its first failure that an operation is still tried again; 0 = it fails at once.

    Raises:
        ConfigError: DVCP_STORE_PATIENCE is no number of seconds.
    """
    told = os.environ.get("DVCP_STORE_PATIENCE")
    if told is None:
        return 0.0 if os.environ.get("AWS_MAX_ATTEMPTS") == "1" else _PATIENCE_S
    try:
        seconds = float(told)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ConfigError(f"DVCP_STORE_PATIENCE={told} is no number of seconds", hint="e.g. DVCP_STORE_PATIENCE=120")
    return seconds


def retried(url: str, work: Callable[[], T]) -> T:
    """What ``work`` returns, called again while it raises what may pass. ``work`` must bear to be done twice.

    Args:
        url: what it is about, for the log.

    Raises: what ``work`` raised last.
    """
    deadline, wait = None, _FIRST_WAIT_S
    while True:
        try:
            return work()
        except Exception as error:
            now = time.monotonic()
            deadline = now + patience() if deadline is None else deadline
            if not passing(error) or now >= deadline:
                raise
            pause = min(wait * random.uniform(0.5, 1), deadline - now)
            global again
            again += 1
            log.warning("%s: %s; tried again in %.1f s", redact(url), detail(error), pause)
        _rest(pause)
        wait = min(2 * wait, _LONGEST_WAIT_S)


def _rest(seconds: float) -> None:
    """Wait with signs of life: whoever watches this process must not take patience for a hang."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        pulse()
        time.sleep(min(1.0, left))
    pulse()
