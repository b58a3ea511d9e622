"""What tests ask about processes that are not their children."""

from __future__ import annotations

from pathlib import Path


def lives(pid: int) -> bool:
    """False when no process has that id, or only one that nobody has buried yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the second when it goes between open and read
        return False
