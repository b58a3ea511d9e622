"""Numbered pictures in a folder: which belong together, what they are called, and which numbers are missing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from fileseq.constants import PAD_STYLE_HASH1
from fileseq.exceptions import FileSeqException
from fileseq.filesequence import FileSequence
from fileseq.frameset import FrameSet

from dvcp.errors import ConfigError, MediaError
from dvcp.store import files

#: pictures a folder is searched for, in any case
PICTURE_SUFFIXES = (".dpx", ".tif", ".tiff", ".png")
#: fileseq's style in which every "#" is one digit
HASHES = PAD_STYLE_HASH1
#: fileseq reads the hyphen of reel-0001.dpx as a minus; scans have no negative numbers, so it is hidden from it
_HYPHEN = re.compile(r"(?<!\d)-(?=\d)")
_HIDDEN = "\x00"
#: numbers from first to last at most: more is a date or an identifier, not a count of frames
MOST_NUMBERS = 10_000_000
#: sequences or files named in one error
_NAMED = 4


@dataclass(frozen=True)
class PictureSequence:
    """One numbered sequence, in order.

    Attributes:
        folder: path or URL.
        base: the name before the number, ``reel.``.
        suffix: the name after it, ``.dpx``, in lower case.
        padding: digits at least.
        numbers: increasing.
        names: of the files, as they are written.
        notation: what fileseq calls it, ``reel.1001-1003,1005####.dpx``.
        gaps: the missing numbers between first and last in fileseq's notation, ``1004``; empty when none is.
    """

    folder: str
    base: str
    suffix: str
    padding: int
    numbers: tuple[int, ...]
    names: tuple[str, ...]
    notation: str
    gaps: str

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def pattern(self) -> str:
        """``reel.####.dpx``."""
        return f"{self.base}{'#' * self.padding}{self.suffix}"

    def url(self, index: int) -> str:
        """Of the picture at ``index`` (0-based place in the sequence, not its number)."""
        return files.join(self.folder, self.names[index])


@dataclass(frozen=True)
class PicturePattern:
    """What a person wrote for a sequence: ``scans/reel.####.dpx``, ``reel.%04d.tif``, ``reel.1001-1100####.dpx``.

    Attributes:
        folder: path or URL; "." where none was written.
        base, suffix, padding: as in :class:`PictureSequence`.
        numbers: those the pattern names, None for all.
    """

    folder: str
    base: str
    suffix: str
    padding: int
    numbers: tuple[int, ...] | None

    def name(self, number: int) -> str:
        """File name of one number."""
        return f"{self.base}{number:0{self.padding}d}{self.suffix}"

    def url(self, number: int) -> str:
        """URL of one number."""
        return files.join(self.folder, self.name(number))


def parse_pattern(pattern: str) -> PicturePattern:
    """Read a pattern in fileseq's notation ("#" = one digit) or with ``%04d``.

    Raises:
        ConfigError: no place for a number, or no picture format.
    """
    folder, slash, name = pattern.rpartition("/")
    hint = "write it as reel.####.dpx: one # a digit, the number last before .dpx, .tif, .tiff or .png"
    try:
        found = FileSequence(_HYPHEN.sub(_HIDDEN, name), pad_style=HASHES)
    except FileSeqException as error:
        raise ConfigError("is no pattern of numbered pictures", file=pattern, hint=hint) from error
    if not found.padding() or not is_picture(name):
        raise ConfigError("is no pattern of numbered pictures", file=pattern, hint=hint)
    named = found.frameSet()
    numbers = None if named is None else tuple(sorted(int(number) for number in named))
    return PicturePattern(folder or slash or ".", found.basename().replace(_HIDDEN, "-"), found.extension(), max(1, found.zfill()), numbers)


def is_picture(name: str) -> bool:
    """True for a name that ends as one of :data:`PICTURE_SUFFIXES`, in any case."""
    return name.lower().endswith(PICTURE_SUFFIXES)


def find_sequences(folder: str) -> list[PictureSequence]:
    """All numbered sequences of pictures in a folder (path or URL), by name; hidden files and other files are passed over.

    Raises:
        MediaError: two names that differ in the case of their extension only.
    """
    written: dict[str, str] = {}
    for name in files.list_names(folder):
        if name.startswith(".") or not is_picture(name):
            continue
        stem, dot, extension = name.rpartition(".")
        plain = _HYPHEN.sub(_HIDDEN, f"{stem}{dot}{extension.lower()}")
        if plain in written:
            message = f"there twice, as {written[plain]} and {name}"
            raise MediaError(message, file=files.join(folder, name), hint="keep one of them")
        written[plain] = name
    found = FileSequence.findSequencesInList(sorted(written), pad_style=HASHES)
    numbered = [_sequence(folder, sequence, written) for sequence in found if sequence.frameSet() is not None]
    return sorted(numbered, key=lambda sequence: (sequence.base, sequence.suffix, sequence.padding))


def find_sequence(source: str) -> PictureSequence:
    """The one sequence that a folder or a pattern names.

    Raises:
        MediaError: nothing there, several sequences, one number under two names, or numbers a pattern asks for that are all missing.
        ConfigError: a pattern that makes no sense.
    """
    if is_picture(source):
        return _matching(parse_pattern(source), source)
    found = find_sequences(source)
    if not found:
        hint = "a folder or pattern of numbered .dpx, .tif, .tiff or .png files"
        raise MediaError("holds no numbered pictures", file=source, hint=hint)
    if len(found) == 1:
        return found[0]
    for one, other in ((a, b) for a in found for b in found if a.padding < b.padding and (a.base, a.suffix) == (b.base, b.suffix)):
        if twice := sorted(set(one.numbers) & set(other.numbers)):
            names = one.names[one.numbers.index(twice[0])], other.names[other.numbers.index(twice[0])]
            message = f"number {twice[0]} is there twice, as {names[0]} and {names[1]}"
            raise MediaError(message, file=source, hint=f"remove one, or name the pattern: {other.pattern}")
    listed = ", ".join(sequence.notation for sequence in found[:_NAMED]) + (", ..." if len(found) > _NAMED else "")
    raise MediaError(f"holds {len(found)} sequences: {listed}", file=source, hint=f"name one: {files.join(source, found[0].pattern)}")


def number_range(numbers: Iterable[int], padding: int = 0) -> str:
    """Numbers in fileseq's notation: ``1004-1006,1010``."""
    return str(FrameSet.framesToFrameRange(sorted(numbers), zfill=padding)) if numbers else ""


def _matching(pattern: PicturePattern, source: str) -> PictureSequence:
    kept: dict[int, str] = {}
    for sequence in find_sequences(pattern.folder):
        if (sequence.base, sequence.suffix) != (pattern.base, pattern.suffix.lower()):
            continue
        for number, name in zip(sequence.numbers, sequence.names, strict=True):
            # fileseq's padding of 99, 100 is two digits, a person writes "#": what counts is that the written number is this one
            if name[: -len(pattern.suffix)] == pattern.name(number)[: -len(pattern.suffix)]:
                kept[number] = name
    if pattern.numbers is not None:
        kept = {number: name for number, name in kept.items() if number in set(pattern.numbers)}
    if not kept:
        there = ", ".join(sequence.notation for sequence in find_sequences(pattern.folder)[:_NAMED])
        raise MediaError("matches no picture", file=source, hint=f"there are {there}" if there else "check folder and pattern")
    numbers = tuple(sorted(kept))
    within = pattern.numbers or range(numbers[0], min(numbers[-1], numbers[0] + MOST_NUMBERS) + 1)
    return _built(pattern.folder, pattern.base, pattern.suffix.lower(), pattern.padding, kept, set(within) - set(kept))


def _sequence(folder: str, found: FileSequence, written: dict[str, str]) -> PictureSequence:
    base, suffix, padding = found.basename(), found.extension(), max(1, found.zfill())
    names = {number: written[f"{base}{number:0{padding}d}{suffix}"] for number in map(int, found.frameSet() or ())}
    missing = set(range(min(names), min(max(names), min(names) + MOST_NUMBERS) + 1)) - set(names)
    return _built(folder, base.replace(_HIDDEN, "-"), suffix, padding, names, missing)


def _built(folder: str, base: str, suffix: str, padding: int, names: dict[int, str], missing: set[int]) -> PictureSequence:
    numbers = tuple(sorted(names))
    notation = f"{base}{number_range(numbers)}{'#' * padding}{suffix}"
    return PictureSequence(
        folder, base, suffix, padding, numbers, tuple(names[n] for n in numbers), notation, number_range(missing, padding)
    )
