"""JSON files beside a film, read from any store."""

from __future__ import annotations

import json
from typing import Any

from dvcp.errors import VerifyError
from dvcp.store import files


def read_sidecar(url: str) -> dict[str, Any] | None:
    """The JSON object in ``url``, None when there is no such file. Raises VerifyError when it is none."""
    data = files.get_bytes(url)
    if data is None:
        return None
    try:
        told = json.loads(data)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise VerifyError("cannot be read as JSON", file=url, hint="it was damaged or edited")
    return told
