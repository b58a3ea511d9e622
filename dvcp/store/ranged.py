"""A remote object as a seekable file, of which only the ranges that are wanted are read."""

from __future__ import annotations

import errno
import io
from collections import OrderedDict
from typing import Any

from dvcp.store.explain import explain
from dvcp.store.remote import Facts, Remote

#: least bytes of a request
_BLOCK = 256 << 10
#: most blocks of a request
_LONGEST = 32
#: blocks kept
_KEPT = 128
#: places read in turn (a film's pictures and its sound) that are each known to go on
_PLACES = 4


class RangedFile(io.RawIOBase):
    """Reads an object in blocks of 256 KiB; where reading goes on, each request is twice as long as the last, up to 8 MiB. So a jump
    costs little, and whoever reads all of it needs few requests. Holds at most 32 MiB.

    Reading raises OSError with one line without secrets, also when the object is not the one that was opened any more.
    """

    def __init__(self, remote: Remote, facts: Facts) -> None:
        self._remote, self._facts = remote, facts
        self._at = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        # block behind each of the last requests -> blocks it had
        self._runs: OrderedDict[int, int] = OrderedDict()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._facts.size}[whence]
        if base + offset < 0:
            raise OSError(errno.EINVAL, "a place before the beginning of the file")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        out = memoryview(buffer).cast("B")
        done = 0
        while done < len(out) and self._at < self._facts.size:
            block = self._block(self._at // _BLOCK)
            start = self._at % _BLOCK
            piece = block[start : start + len(out) - done]
            out[done : done + len(piece)] = piece
            done += len(piece)
            self._at += len(piece)
        return done

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            self._fetch(number)
        self._blocks.move_to_end(number)
        return self._blocks[number]

    def _fetch(self, first: int) -> None:
        count = min(2 * self._runs.pop(first, 0) or 1, _LONGEST)
        last = next((k for k in range(first + 1, first + count) if k in self._blocks), first + count)
        start, stop = first * _BLOCK, min(last * _BLOCK, self._facts.size)
        try:
            data = self._remote.read(start, stop, self._facts)
        except Exception as error:
            told = explain(self._remote.url, error)
            why = getattr(error, "message", told.message)
            raise OSError(errno.EIO, why) from error
        for offset in range(0, len(data), _BLOCK):
            self._blocks[first + offset // _BLOCK] = data[offset : offset + _BLOCK]
        self._runs[last] = last - first
        while len(self._runs) > _PLACES:
            self._runs.popitem(last=False)
        while len(self._blocks) > _KEPT:
            self._blocks.popitem(last=False)
