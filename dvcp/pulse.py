"""A sign of life from long work, for a process that is watched: a film of ten hours is no hang, silence is."""

from __future__ import annotations

import time
from collections.abc import Callable

#: seconds between two signs
EVERY = 1

_send: Callable[[], None] | None = None
_due = 0.0


def pulse() -> None:
    """Say that work goes on: called for every packet, frame or block. Costs nothing where nobody listens."""
    global _due
    if _send is not None and (now := time.monotonic()) >= _due:
        _due = now + EVERY
        _send()


def listen(send: Callable[[], None]) -> None:
    """Have :func:`pulse` call ``send``, at most once in EVERY seconds."""
    global _send
    _send = send
