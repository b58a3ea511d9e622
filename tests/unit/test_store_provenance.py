"""dvcp.store.provenance: the record beside a master, and exact PTS."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dvcp.errors import StoreError
from dvcp.store import files
from dvcp.store.ledger import SegmentIdentity, SegmentRecord
from dvcp.store.output import Output
from dvcp.store.provenance import environment, provenance, read_pts, write_provenance, write_pts
from dvcp.timing import FrameTable, Span


def test_environment_names_versions_and_machine() -> None:
    found = environment()
    assert found["numpy"] == np.__version__
    assert all(isinstance(value, str) and value for value in found.values())
    assert {"python", "host", "cpu", "torch", "av", "ray", "dvcp"} <= found.keys()


def test_provenance_round_trip(store_url: str) -> None:
    output = Output(files.join(store_url, "film.mkv"))
    shot = Span(0, 10)
    identity = SegmentIdentity("aa", shot, shot, 0, 9, Fraction(1, 25), ((0, "bb"),), "cc", "master", "1")
    records = [
        SegmentRecord(identity, 10, made_by={"host": host}, file="segments/x.mkv", sha256="dd", bytes=5, created="2020-01-01")
        for host in ("one", "two", "one")
    ]
    data = provenance(
        source_url="in/réel.mp4",
        source_sha256="aa",
        output=output,
        output_sha256="ee",
        profile="master",
        method="dvcp",
        method_digest="cc",
        weights="ff",
        settings={"window": 8},
        references=[{"shot": 1, "frame": 0, "file": "ref.png", "sha256": "bb"}],
        shots=[shot],
        guessed={1},
        kinds={1: "tinted"},
        records=records,
        started=datetime(2020, 1, 1, 12, tzinfo=timezone(timedelta(hours=2))),
        ended=datetime(2020, 1, 1, 11, tzinfo=UTC),
    )
    assert json.loads(files.get_bytes(write_provenance(output, data)) or b"") == data
    assert data["started"] == "2020-01-01T10:00:00+00:00"
    assert data["machines"] == [{"host": "one"}, {"host": "two"}]
    assert data["format"] == 2 and data["method"]["weights"] == "ff"
    assert data["shots"] == [
        {"number": 1, "first": 0, "stop": 10, "guessed": True, "kind": "tinted", "method": "dvcp", "method_digest": "cc", "weights": "ff",
         "references": [{"frame": 0, "file": "ref.png", "sha256": "bb"}], "engine": "1", "confidence": None}
    ]  # fmt: skip
    assert {s["sha256"] for s in data["segments"]} == {"dd"}
    assert {SegmentIdentity.from_json(s["identity"]).key for s in data["segments"]} == {s["key"] for s in data["segments"]}
    assert data["output"]["sha256"] == "ee"


@pytest.mark.parametrize(
    "pts",
    [
        np.arange(7, 100_000 * 1001, 1001),
        np.array([-5]),
        np.array([-40, 0, 41, 42, 10**15]),
        np.cumsum(np.random.default_rng(0).integers(1, 4000, 5000)),
    ],
    ids=["constant", "single", "odd", "variable"],
)
def test_pts_round_trip(store_url: str, pts: np.ndarray) -> None:
    output = Output(files.join(store_url, "film.mkv"))
    assert read_pts(output) is None
    table = FrameTable(Fraction(1001, 30_000_000), pts.astype(np.int64), 1001)
    write_pts(output, table)
    back = read_pts(output)
    assert back is not None
    assert (back.timebase, back.last_duration, back.pts.dtype) == (table.timebase, 1001, np.int64)
    assert np.array_equal(back.pts, table.pts)


def test_constant_rate_is_one_run(tmp_path: Path) -> None:
    output = Output(f"{tmp_path}/film.mkv")
    url = write_pts(output, FrameTable(Fraction(1, 25), np.arange(200_000, dtype=np.int64), 1))
    assert (files.size(url) or 0) < 200


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"timebase":"1/25","frames":3,"first":0,"steps":[[1,1]],"last_duration":1}'])
def test_damaged_pts(tmp_path: Path, damage: bytes) -> None:
    output = Output(f"{tmp_path}/film.mkv")
    files.put_bytes(damage, output.report_url("pts.json"))
    with pytest.raises(StoreError, match=r"pts\.json: damaged"):
        read_pts(output)


def test_confidence_of_a_shot_is_weighted_by_frames() -> None:
    def record(first: int, stop: int, shot: Span, sure: float | None) -> SegmentRecord:
        identity = SegmentIdentity("aa", shot, Span(first, stop), first, stop - 1, Fraction(1, 25), (), "cc", "master", "1/2")
        return SegmentRecord(identity, stop - first, statistics={} if sure is None else {"confidence_mean": sure})

    shots = [Span(0, 40), Span(40, 50)]
    moment = datetime(2020, 1, 1, tzinfo=UTC)
    data = provenance(
        source_url="a", source_sha256="aa", output=Output("/b.mkv"), output_sha256="ee", profile="master", method="gray",
        method_digest="cc", settings={}, references=[], shots=shots, started=moment, ended=moment,
        records=[record(0, 30, shots[0], 0.9), record(30, 40, shots[0], 0.5), record(40, 50, shots[1], None)],
    )  # fmt: skip
    assert [(s["confidence"], s["engine"], s["weights"]) for s in data["shots"]] == [(0.8, "1/2", None), (None, "1/2", None)]
