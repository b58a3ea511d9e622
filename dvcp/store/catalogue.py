"""The catalogue: every film of an archive with its state, one Parquet file beside the outputs and their ledgers.

A film is known by its URL, and its version by the size and tag (ETag, or time of change) that a listing gives. So one listing of the
sources against this file says what is left, and no film is touched for it. The ledgers stay the truth: a catalogue that is lost, or
older than the outputs, costs only that some films are looked at again.

Plain pyarrow reads it: ``pyarrow.parquet.read_table(folder + "/catalogue.parquet")``, one row a film, columns as :class:`Asset` names them.
"""

from __future__ import annotations

import io
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

import pyarrow as pa
import pyarrow.parquet as pq

from dvcp.errors import StoreError
from dvcp.store import files
from dvcp.store.remote import Facts
from dvcp.store.secrets import redact

log = logging.getLogger(__name__)
NAME = "catalogue.parquet"
SCHEMA_VERSION = 1
#: least seconds between two writes of the file while films end
EVERY_S = 30
_NEVER = datetime.fromtimestamp(0, UTC)
SCHEMA = pa.schema(
    [
        ("source", pa.string()), ("size", pa.int64()), ("tag", pa.string()), ("asked", pa.string()), ("state", pa.string()),
        ("output", pa.string()), ("frames", pa.int64()), ("shots", pa.int32()), ("segments", pa.int32()), ("attempts", pa.int32()),
        ("error", pa.string()), ("run", pa.string()), ("updated", pa.timestamp("ms", "UTC")),
    ],
    metadata={"dvcp.catalogue": str(SCHEMA_VERSION)},
)  # fmt: skip


class AssetState(StrEnum):
    """Where a film stands; ``doing`` of a run that is no more means that it was cut off there."""

    TODO = "todo"
    DOING = "doing"
    DONE = "done"
    FAILED = "failed"


#: films nobody has tried go first: one that takes the whole process down must not keep the others waiting
_ORDER = {AssetState.TODO: 0, AssetState.DOING: 1, AssetState.FAILED: 2, AssetState.DONE: 3}


@dataclass(frozen=True)
class Asset:
    """One film.

    Attributes:
        source: URL.
        size, tag: bytes, and ETag or time of change, as listed when it was last looked at.
        asked: digest (hex) of what was asked for: method, options, profile and the pictures that serve this film.
        state: see :class:`AssetState`.
        output: URL of the delivered film, "" until it is done.
        frames, shots, segments: of the film, 0 until it is done.
        attempts: times it failed since source or question changed.
        error: why it failed last, "" when it did not.
        run: name of the run that last touched it.
        updated: when, UTC.
    """

    source: str
    size: int
    tag: str
    asked: str
    state: AssetState = AssetState.TODO
    output: str = ""
    frames: int = 0
    shots: int = 0
    segments: int = 0
    attempts: int = 0
    error: str = ""
    run: str = ""
    updated: datetime = _NEVER


class Catalogue:
    """The films of one output folder. Safe to use from several threads; a second process costs only that a state may be lost."""

    def __init__(self, url: str, run: str = "", every_s: float = EVERY_S) -> None:
        """Read the catalogue at ``url``, empty when there is none.

        Args:
            run: name of the run that will change states.
            every_s: least seconds between two writes.

        Raises:
            StoreError: the store cannot be read.
        """
        self.url, self._run, self._every = files.absolute(url), run, every_s
        self._assets = {asset.source: asset for asset in self._read()}
        self._changed = False
        self._lock, self._writing, self._due = threading.Lock(), threading.Lock(), time.monotonic() + every_s

    def __len__(self) -> int:
        return len(self._assets)

    def get(self, source: str) -> Asset | None:
        """The film of that URL; None when it was never listed."""
        return self._assets.get(source)

    def take(self, listing: Mapping[str, Facts], asked: Callable[[str], str], outputs: Collection[str] | None = None) -> None:
        """Bring in what a listing of the sources says: new films and changed ones are to do, whatever was true of them before.

        Args:
            listing: size and tag of every film, by URL.
            asked: digest of what is asked of a film, by URL.
            outputs: URLs of the outputs that are there; a film whose output is not among them is to do. None = not looked.
        """
        with self._lock:
            for source, found in listing.items():
                question, old = asked(source), self._assets.get(source)
                same = old is not None and (old.size, old.tag, old.asked) == (found.size, found.tag, question)
                if same and old is not None and not (old.state is AssetState.DONE and outputs is not None and old.output not in outputs):
                    continue
                self._put(Asset(source, found.size, found.tag, question))

    def left(self, sources: Iterable[str], *, attempts: int = 3, retry_failed: bool = False) -> list[Asset]:
        """Films of ``sources`` still to do: untried ones first, then those cut off, then failed ones.

        Args:
            attempts: times a film may fail before it is left alone.
            retry_failed: try those again too.
        """
        known = [self._assets[source] for source in sources]
        wanted = [a for a in known if a.state is not AssetState.DONE]
        if not retry_failed:
            wanted = [a for a in wanted if a.attempts < attempts]
        return sorted(wanted, key=lambda asset: (_ORDER[asset.state], asset.source))

    def begin(self, source: str) -> None:
        """Say that work on a film has begun."""
        self._change(source, state=AssetState.DOING)

    def done(self, source: str, output: str, frames: int, shots: int, segments: int) -> None:
        """Say that a film is delivered and verified."""
        self._change(source, state=AssetState.DONE, output=output, frames=frames, shots=shots, segments=segments, attempts=0, error="")

    def failed(self, source: str, error: str) -> None:
        """Say that a film could not be finished; ``error`` is one line."""
        self._change(source, state=AssetState.FAILED, attempts=self._assets[source].attempts + 1, error=redact(error))

    def counts(self, sources: Iterable[str]) -> dict[AssetState, int]:
        """How many films of ``sources`` stand where."""
        found = dict.fromkeys(AssetState, 0)
        for source in sources:
            found[self._assets[source].state] += 1
        return found

    def save(self) -> None:
        """Write the file, whole and in one step. What another process wrote meanwhile stays where it is the newer.

        Raises:
            StoreError: the store cannot be written.
        """
        with self._writing:
            with self._lock:
                self._due = time.monotonic() + self._every
                if not self._changed:
                    return
                mine, self._changed = dict(self._assets), False
            try:
                # All that is known here, not only what changed since the last write: another writer may have lost that one.
                merged = _newest(mine, self._read())
                files.put_bytes(_packed([merged[source] for source in sorted(merged)]), self.url)
            except BaseException:
                with self._lock:
                    # Counted from now: to find out that a store is away may have taken longer than the time between two writes.
                    self._changed, self._due = True, time.monotonic() + self._every
                raise
            with self._lock:
                self._assets = _newest(self._assets, merged.values())

    def try_save(self) -> None:
        """Write the file, or say in the log why that could not be; what was not written is written with the next change that is due."""
        try:
            self.save()
        except StoreError as error:
            log.warning("%s; the catalogue is written again later", error)

    def _change(self, source: str, **to: object) -> None:
        with self._lock:
            self._put(replace(self._assets[source], **to))  # type: ignore[arg-type] # names and types are those of Asset
            due = time.monotonic() >= self._due
        if due:
            # A night of films must not end because the store was away for a while.
            self.try_save()

    def _put(self, asset: Asset) -> None:
        self._assets[asset.source] = replace(asset, run=self._run, updated=_now())
        self._changed = True

    def _read(self) -> list[Asset]:
        data = files.get_bytes(self.url)
        if data is None:
            return []
        try:
            return _unpacked(data)
        except (pa.ArrowException, ValueError, TypeError, KeyError) as error:
            log.warning("%s: cannot be read (%s); every film is looked at again", self.url, " ".join(str(error).split()))
            return []


def _newest(first: Mapping[str, Asset], others: Iterable[Asset]) -> dict[str, Asset]:
    """Of each film the state of later date, that of ``first`` where both are of the same."""
    found = dict(first)
    for asset in others:
        if asset.source not in found or found[asset.source].updated < asset.updated:
            found[asset.source] = asset
    return found


def _packed(assets: list[Asset]) -> bytes:
    columns = {name: [getattr(asset, name) for asset in assets] for name in SCHEMA.names}
    columns["state"] = [asset.state.value for asset in assets]
    out = io.BytesIO()
    pq.write_table(pa.table(columns, SCHEMA), out, compression="zstd")
    return out.getvalue()


def _unpacked(data: bytes) -> list[Asset]:
    table = pq.read_table(io.BytesIO(data))
    found = (table.schema.metadata or {}).get(b"dvcp.catalogue", b"").decode()
    if found != str(SCHEMA_VERSION):
        raise ValueError(f"schema {found or 'unknown'}, not {SCHEMA_VERSION}")
    rows = zip(*(table.column(name).to_pylist() for name in SCHEMA.names), strict=True)
    named = (dict(zip(SCHEMA.names, row, strict=True)) for row in rows)
    return [Asset(**{**row, "state": AssetState(row["state"])}) for row in named]


def _now() -> datetime:
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)  # as the file keeps it
