"""The ledger of finished segments: the truth a run resumes from.

Layout under the ledger's folder::

    segments/<key>-<first 12 of sha256>.<ext>   the encoded segment
    ledger/<key>.json                           its record, written last
    states/<key>.npz                            what propagation carries into the next segment

The file goes first and the record last, so a crash leaves either nothing or a whole segment. Keys say what a segment was made from,
so changing one reference makes only the segments it colours absent.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import zipfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvcp.errors import StoreError
from dvcp.store import files
from dvcp.store.fixity import sha256_file, sha256_url
from dvcp.store.secrets import redact, redacted
from dvcp.timing import Span

log = logging.getLogger(__name__)

_READERS = 16
#: in the place of a method's digest: frames that kept the chroma they had
AS_IT_IS = "as it is"
#: behind a method's digest: upper and lower fields were each coloured by themselves
BY_FIELDS = " by fields"


@dataclass(frozen=True)
class SegmentIdentity:
    """Everything that decides the bytes of one segment.

    Attributes:
        source: sha256 (hex) of the source file's content.
        shot: frames of the whole shot: colour is carried from its references, so the same slice of another shot is another segment.
        span: frames of the segment, inside ``shot``.
        pts_first, pts_last: PTS of its first and last frame, in ticks.
        timebase: seconds per tick.
        references: (frame number or None for another picture, sha256 of the still) of every reference, in the order the method gets them.
        method: digest of method, configuration and weights, perhaps with :data:`BY_FIELDS`; or :data:`AS_IT_IS`.
        profile: name of the output profile.
        engine: version of dvcp's engine.
    """

    source: str
    shot: Span
    span: Span
    pts_first: int
    pts_last: int
    timebase: Fraction
    references: tuple[tuple[int | None, str], ...]
    method: str
    profile: str
    engine: str

    @property
    def key(self) -> str:
        """sha256 (hex) of the canonical JSON of all fields; stable across machines and versions of Python."""
        return hashlib.sha256(_canonical(self.to_json())).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return {
            "source": self.source,
            "shot": [self.shot.first, self.shot.stop],
            "span": [self.span.first, self.span.stop],
            "pts": [self.pts_first, self.pts_last],
            "timebase": f"{self.timebase.numerator}/{self.timebase.denominator}",
            "references": [[frame, digest] for frame, digest in self.references],
            "method": self.method,
            "profile": self.profile,
            "engine": self.engine,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SegmentIdentity:
        """Inverse of :meth:`to_json`. Raises KeyError, TypeError or ValueError when fields are missing or of the wrong form."""
        return cls(
            source=str(data["source"]),
            shot=Span(*data["shot"]),
            span=Span(*data["span"]),
            pts_first=int(data["pts"][0]),
            pts_last=int(data["pts"][1]),
            timebase=Fraction(data["timebase"]),
            references=tuple((frame, str(digest)) for frame, digest in data["references"]),
            method=str(data["method"]),
            profile=str(data["profile"]),
            engine=str(data["engine"]),
        )


@dataclass(frozen=True)
class SegmentRecord:
    """One finished segment. The last four fields are filled in by :meth:`Ledger.commit`.

    Attributes:
        identity: what it was made from.
        frames: number of frames in the file.
        seconds: wall time it took.
        made_by: versions, host and device of the process that made it.
        statistics: numbers about the result, e.g. ``confidence_mean``.
        file: name relative to the ledger's folder.
        sha256: hex digest of the file.
        bytes: its size.
        created: UTC, ISO 8601.
    """

    identity: SegmentIdentity
    frames: int
    seconds: float = 0.0
    made_by: Mapping[str, str] = field(default_factory=dict)
    statistics: Mapping[str, float] = field(default_factory=dict)
    file: str = ""
    sha256: str = ""
    bytes: int = 0
    created: str = ""

    @property
    def key(self) -> str:
        return self.identity.key

    @property
    def shot(self) -> Span:
        return self.identity.shot

    @property
    def span(self) -> Span:
        return self.identity.span

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values, the key included for people who read the file."""
        return {
            "key": self.key,
            "identity": self.identity.to_json(),
            "frames": self.frames,
            "seconds": self.seconds,
            "made_by": dict(self.made_by),
            "statistics": dict(self.statistics),
            "file": self.file,
            "sha256": self.sha256,
            "bytes": self.bytes,
            "created": self.created,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SegmentRecord:
        """Inverse of :meth:`to_json`. Raises KeyError, TypeError or ValueError when fields are missing or of the wrong form."""
        return cls(
            identity=SegmentIdentity.from_json(data["identity"]),
            frames=int(data["frames"]),
            seconds=float(data["seconds"]),
            made_by=dict(data["made_by"]),
            statistics=dict(data["statistics"]),
            file=str(data["file"]),
            sha256=str(data["sha256"]),
            bytes=int(data["bytes"]),
            created=str(data["created"]),
        )


class Ledger:
    """Finished segments in the folder ``url``. Any number of processes may use the same folder at once. Methods raise StoreError."""

    def __init__(self, url: str) -> None:
        self.url = files.absolute(url)

    def get(self, key: str) -> SegmentRecord | None:
        """The record of ``key``; None unless its segment file is there with the recorded size."""
        record = self._read(key)
        return record if record and files.size(self.segment_url(record)) == record.bytes else None

    def records(self) -> list[SegmentRecord]:
        """Every record :meth:`get` would return, in film order."""
        return sorted(self._whole(self._recorded()), key=lambda record: (record.span, record.key))

    def present(self, keys: Iterable[str]) -> set[str]:
        """Those of ``keys`` that :meth:`get` would return a record of: two listings, and one request for each record that is there."""
        return {record.key for record in self._whole(self._recorded() & set(keys))}

    def _recorded(self) -> set[str]:
        names = files.list_names(files.join(self.url, "ledger"))
        return {name.removesuffix(".json") for name in names if name.endswith(".json")}

    def _whole(self, keys: set[str]) -> list[SegmentRecord]:
        if not keys:
            return []
        sizes = {f"segments/{name}": length for name, length in files.list_sizes(files.join(self.url, "segments")).items()}
        return [record for record in _each(self._read, sorted(keys)) if record and sizes.get(record.file) == record.bytes]

    def commit(self, record: SegmentRecord, local: files.PathLike) -> SegmentRecord:
        """Store the finished segment file ``local`` and then its record. Returns the record as stored."""
        digest = sha256_file(local)
        # The digest in the name keeps a writer of other bytes for the same key (another encoder build) from pulling the file from
        # under the record: whichever record lands last, its own file is there.
        name = f"segments/{record.key}-{digest[:12]}{os.path.splitext(os.fspath(local))[1]}"
        if files.put_file(local, files.join(self.url, name)) != digest:
            raise StoreError("the segment changed while it was being stored", file=os.fspath(local), hint="run again")
        done = replace(record, file=name, sha256=digest, bytes=os.path.getsize(local), created=_now())
        files.put_bytes(json.dumps(redacted(done.to_json()), indent=1).encode(), self._record_url(record.key))
        return done

    def check(self, record: SegmentRecord) -> bool:
        """Read the segment file back: True when its sha256 is the recorded one."""
        url = self.segment_url(record)
        return files.size(url) == record.bytes and sha256_url(url) == record.sha256

    def segment_url(self, record: SegmentRecord) -> str:
        """URL of the segment file."""
        return files.join(self.url, record.file)

    def put_state(self, key: str, state: Mapping[str, NDArray[Any]]) -> None:
        """Store the state after segment ``key``. Raises ValueError for arrays of Python objects."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **state)
        files.put_bytes(buffer.getvalue(), self._state_url(key))

    def get_state(self, key: str) -> dict[str, NDArray[Any]] | None:
        """The state after segment ``key``, bit for bit; None when there is none or it is damaged (logged)."""
        data = files.get_bytes(self._state_url(key))
        if data is None:
            return None
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        except (ValueError, EOFError, OSError, KeyError, zipfile.BadZipFile) as error:
            log.warning("%s: damaged state ignored: %s", redact(self._state_url(key)), error)
            return None

    def remove_states(self, keys: Iterable[str]) -> None:
        """Delete the states ``keys``, once nothing needs them any more."""
        for key in keys:
            files.remove(self._state_url(key))

    def prune(self, keep: set[str]) -> int:
        """Remove records, segments and states of every key not in ``keep``. Returns the number of files removed."""
        doomed = [
            files.join(self.url, folder, name)
            for folder in ("ledger", "segments", "states")  # records first: a record never outlives its file
            for name in files.list_names(files.join(self.url, folder))
            if name.partition(".")[0].partition("-")[0] not in keep
        ]
        for url in doomed:
            files.remove(url)
        for folder in ("ledger", "segments", "states") if files.local_path(self.url) else ("",):  # a store lists a whole prefix at once
            files.remove_stale_parts(files.join(self.url, folder))
        return len(doomed)

    def _read(self, key: str) -> SegmentRecord | None:
        url = self._record_url(key)
        data = files.get_bytes(url)
        if data is None:
            return None
        try:
            record = SegmentRecord.from_json(json.loads(data))
            if record.key != key:
                raise ValueError(f"its fields belong to key {record.key}")
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            log.warning("%s: damaged record ignored: %s: %s", redact(url), type(error).__name__, error)
            return None
        return record

    def _record_url(self, key: str) -> str:
        return files.join(self.url, "ledger", f"{key}.json")

    def _state_url(self, key: str) -> str:
        return files.join(self.url, "states", f"{key}.npz")


def _each(read: Callable[[str], SegmentRecord | None], keys: Iterable[str]) -> list[SegmentRecord | None]:
    # A film has thousands of records and an object store answers each in milliseconds: ask for many at once.
    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(read, keys))


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
