"""Training intermediates as a Parquet dataset: what the branches of a method propose for every frame, beside its true colour.

Layout under the dataset's URL::

    segments/<key>-<first 12 of sha256>.parquet   one shard a segment
    ledger/<key>.json                             its record, written last
    shots/<source>.json                           shot lists, so that a resumed run cuts the same shots
    dataset.json                                  what the dataset is made with, written first
    manifest.json                                 schema version and every shard, written at the end

Each row is a row group, so a reader fetches one frame with one request. Plain pyarrow reads it: ``pyarrow.dataset.dataset(url +
"/segments")``; ``numpy.frombuffer(row["gray"]["data"], row["gray"]["dtype"]).reshape(row["gray"]["shape"])`` is a plane.
"""

from __future__ import annotations

import copy
import json
import os
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from types import TracebackType
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dvcp.errors import StoreError
from dvcp.store import files

SCHEMA_VERSION = 1
#: planes in uint8, full range, chroma centred at 128: G; the branches' colours (Y', Cb, Cr); how far to trust them; true Cb, Cr
PLANES = ("gray", "warped", "anchored", "matched", "trust", "seen", "sure", "alike", "alike_near", "spread", "chroma")
_PLANE = pa.struct([("data", pa.binary()), ("shape", pa.list_(pa.int32())), ("dtype", pa.string())])
SCHEMA = pa.schema(
    [
        ("video", pa.string()), ("source_sha256", pa.string()), ("shot", pa.int32()), ("frame", pa.int64()), ("pts", pa.int64()),
        ("timebase", pa.string()), ("reference_frame", pa.int64()), ("distance", pa.int32()), *((name, _PLANE) for name in PLANES),
    ],
    metadata={"dvcp.intermediates": str(SCHEMA_VERSION)},
)  # fmt: skip
#: open shards a reader keeps
_OPEN = 64


@dataclass(frozen=True, eq=False)
class Row:
    """One frame.

    Attributes:
        video: stem of the film's name.
        source: sha256 (hex) of the film.
        shot: number of the shot, from 1; a shot longer than the roll-out counts as several.
        frame, pts, timebase: of the frame.
        reference: frame that colour was carried from.
        planes: by names of PLANES, uint8 ``[C, h, w]``; one that the method does not offer is left out.
    """

    video: str
    source: str
    shot: int
    frame: int
    pts: int
    timebase: Fraction
    reference: int
    planes: Mapping[str, NDArray[np.uint8]]


class RowWriter:
    """Writes a shard to the local file ``path``; a context manager."""

    def __init__(self, path: str) -> None:
        self._out = pq.ParquetWriter(path, SCHEMA, compression="zstd", use_dictionary=False, write_statistics=["shot", "frame", "distance"])

    def write(self, row: Row) -> None:
        """Add a frame."""
        cells: dict[str, Any] = {
            "video": row.video, "source_sha256": row.source, "shot": row.shot, "frame": row.frame, "pts": row.pts,
            "timebase": f"{row.timebase.numerator}/{row.timebase.denominator}", "reference_frame": row.reference,
            "distance": abs(row.frame - row.reference),
        }  # fmt: skip
        for name in PLANES:
            plane = row.planes.get(name)
            cells[name] = None if plane is None else {"data": plane.tobytes(), "shape": plane.shape, "dtype": plane.dtype.name}
        self._out.write_table(pa.Table.from_pylist([cells], SCHEMA))

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._out.close()


@dataclass(frozen=True)
class Shard:
    """One file of a dataset.

    Attributes:
        file: name relative to the dataset's URL.
        rows, bytes: in it.
        sha256: hex digest of the file.
        video, source: stem and sha256 of the film it was made from.
        first, stop: frames of the film it spans.
    """

    file: str
    rows: int
    bytes: int
    sha256: str
    video: str
    source: str
    first: int
    stop: int


def write_manifest(url: str, made: Mapping[str, Any], shards: list[Shard]) -> None:
    """Write ``manifest.json``: ``made`` says how the dataset came about."""
    body = {"schema": SCHEMA_VERSION, **made, "rows": sum(s.rows for s in shards), "shards": [asdict(s) for s in shards]}
    files.put_bytes(json.dumps(body, indent=1).encode(), files.join(url, "manifest.json"))


class Intermediates:
    """A dataset, or a part of it, row by row in any order.

    Raises:
        StoreError: no manifest, or one of another schema.
    """

    def __init__(self, url: str) -> None:
        self.url = files.absolute(url)
        data = files.get_bytes(files.join(self.url, "manifest.json"))
        if data is None:
            raise StoreError("holds no manifest.json", file=url, hint="give a dataset that dvcp precompute has finished")
        told = json.loads(data)
        if told.get("schema") != SCHEMA_VERSION:
            raise StoreError(f"has schema {told.get('schema')}, not {SCHEMA_VERSION}", file=url, hint="precompute it again")
        self.made: dict[str, Any] = {k: v for k, v in told.items() if k != "shards"}
        self._show([Shard(**s) for s in told["shards"]])

    def _show(self, shards: list[Shard]) -> None:
        self.shards, self._ends = shards, np.cumsum([s.rows for s in shards])
        self._open: OrderedDict[tuple[int, str], pq.ParquetFile] = OrderedDict()

    def only(self, videos: Collection[str]) -> Intermediates:
        """The part made from films of these names."""
        part = copy.copy(self)
        part._show([s for s in self.shards if s.video in videos])
        return part

    def __len__(self) -> int:
        return int(self._ends[-1]) if self.shards else 0

    @property
    def videos(self) -> list[str]:
        """Names of the films, sorted."""
        return sorted({s.video for s in self.shards})

    def __getitem__(self, index: int) -> Row:
        """Row ``index``, in the order of the manifest."""
        k = int(np.searchsorted(self._ends, index, side="right"))
        cells = self._shard(self.shards[k]).read_row_group(index - int(self._ends[k]) + self.shards[k].rows).to_pylist()[0]
        planes = {
            name: np.frombuffer(cells[name]["data"], cells[name]["dtype"]).reshape(cells[name]["shape"])
            for name in PLANES
            if cells[name] is not None
        }
        return Row(
            cells["video"], cells["source_sha256"], cells["shot"], cells["frame"], cells["pts"], Fraction(cells["timebase"]),
            cells["reference_frame"], planes,
        )  # fmt: skip

    def _shard(self, shard: Shard) -> pq.ParquetFile:
        # By process: readers are forked, and a file position shared between two of them belongs to neither.
        key = (os.getpid(), shard.file)
        if key not in self._open:
            if len(self._open) >= _OPEN:
                self._open.popitem(last=False)[1].close()
            fs, path = fsspec.url_to_fs(files.join(self.url, shard.file))
            self._open[key] = pq.ParquetFile(fs.open(path, "rb"), pre_buffer=True)
        self._open.move_to_end(key)
        return self._open[key]
