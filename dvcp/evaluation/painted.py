"""What of a clip a method is given in colour."""

from __future__ import annotations

from enum import StrEnum


class Painted(StrEnum):
    """Which true frames of a clip a method is given in colour; the rest is coloured from luma alone and measured."""

    FIRST = "first"
    ENDS = "ends"
    NONE = "none"

    @property
    def lead(self) -> int:
        """Frames given before the first one that is measured."""
        return 0 if self is Painted.NONE else 1

    @property
    def tail(self) -> int:
        """Frames given behind the last one that is measured."""
        return 1 if self is Painted.ENDS else 0

    @property
    def policy(self) -> str:
        """As the tables put it."""
        return {"first": "true first frame", "ends": "true first and last frame", "none": "none, colours are guessed"}[self]
