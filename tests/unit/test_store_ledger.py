"""dvcp.store.ledger: keys, records, crashes and races, on the local disk and on a real S3 server."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dvcp.errors import StoreError
from dvcp.store import files
from dvcp.store.ledger import Ledger, SegmentIdentity, SegmentRecord
from dvcp.timing import Span

IDENTITY = SegmentIdentity(
    source="aa" * 32,
    shot=Span(0, 240),
    span=Span(120, 240),
    pts_first=120120,
    pts_last=239239,
    timebase=Fraction(1, 24000),
    references=((12, "bb" * 32), (None, "cc" * 32)),
    method="dd" * 32,
    profile="master",
    engine="1",
)


def record_of(first: int, frames: int = 10) -> SegmentRecord:
    span = Span(first, first + frames)
    return SegmentRecord(replace(IDENTITY, shot=span, span=span), frames, 1.5, {"host": "x"}, {"confidence_mean": 0.25})


def segment_file(folder: Path, data: bytes) -> Path:
    path = folder / "local.mkv"
    path.write_bytes(data)
    return path


def test_key_is_the_digest_of_this_very_text() -> None:
    text = (
        '{"engine":"1","method":"' + "dd" * 32 + '","profile":"master","pts":[120120,239239],"references":[[12,"' + "bb" * 32 + '"],[null,"'
        + "cc" * 32 + '"]],"shot":[0,240],"source":"' + "aa" * 32 + '","span":[120,240],"timebase":"1/24000"}'
    )  # fmt: skip
    assert IDENTITY.key == hashlib.sha256(text.encode()).hexdigest()
    assert IDENTITY.key == "4a30f90ff12c66635a5cf38c41a5d7a9a8a81da7389803fcd0316e1c77af9751"


@pytest.mark.parametrize(
    "change",
    [
        {"source": "ab" * 32},
        {"shot": Span(1, 240)},
        {"span": Span(120, 239)},
        {"pts_first": 0},
        {"pts_last": 0},
        {"timebase": Fraction(1, 25)},
        {"references": ()},
        {"references": ((13, "bb" * 32), (None, "cc" * 32))},
        {"references": ((12, "bb" * 32), (None, "ce" * 32))},
        {"method": ""},
        {"profile": "proxy"},
        {"engine": "2"},
    ],
)
def test_every_field_changes_the_key(change: Mapping[str, Any]) -> None:
    assert replace(IDENTITY, **change).key != IDENTITY.key


def test_json_round_trip() -> None:
    record = replace(record_of(0), file="segments/x", sha256="0", bytes=3, created="2020-01-01T00:00:00+00:00")
    assert SegmentRecord.from_json(json.loads(json.dumps(record.to_json()))) == record
    assert SegmentIdentity.from_json(json.loads(json.dumps(IDENTITY.to_json()))).key == IDENTITY.key


def test_commit_get_check(store_url: str, tmp_path: Path) -> None:
    ledger = Ledger(files.join(store_url, "film.dvcp"))
    assert ledger.records() == []
    assert ledger.get(record_of(0).key) is None
    done = ledger.commit(record_of(20), segment_file(tmp_path, b"segment"))
    ledger.commit(record_of(0), segment_file(tmp_path, b"first"))
    assert (done.bytes, done.sha256) == (7, hashlib.sha256(b"segment").hexdigest())
    assert ledger.get(done.key) == done
    assert files.get_bytes(ledger.segment_url(done)) == b"segment"
    assert ledger.segment_url(done).endswith(".mkv")
    assert [r.span.first for r in ledger.records()] == [0, 20]
    assert ledger.check(done)


def test_present_is_what_get_finds(store_url: str, tmp_path: Path) -> None:
    ledger = Ledger(store_url)
    whole, short, gone, torn = (ledger.commit(record_of(k), segment_file(tmp_path, b"segment")) for k in (0, 20, 40, 60))
    files.put_bytes(b"segm", ledger.segment_url(short))
    files.remove(ledger.segment_url(gone))
    files.put_bytes(b"{", f"{store_url}/ledger/{torn.key}.json")
    asked = [whole.key, short.key, gone.key, torn.key, record_of(80).key]
    assert ledger.present(asked) == {key for key in asked if ledger.get(key)} == {whole.key}
    assert ledger.present(asked[1:]) == ledger.present([]) == set()


def test_damage_to_the_segment(store_url: str, tmp_path: Path) -> None:
    ledger = Ledger(store_url)
    done = ledger.commit(record_of(0), segment_file(tmp_path, b"segment"))
    files.put_bytes(b"sEgment", ledger.segment_url(done))
    assert ledger.get(done.key) == done
    assert not ledger.check(done)
    files.put_bytes(b"segm", ledger.segment_url(done))
    assert ledger.get(done.key) is None
    assert ledger.records() == []
    files.remove(ledger.segment_url(done))
    assert ledger.get(done.key) is None
    assert not ledger.check(done)
    assert ledger.commit(record_of(0), segment_file(tmp_path, b"segment")).sha256 == done.sha256
    assert ledger.records()[0].sha256 == done.sha256


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"{}", b"null", b"\xff\xfe", b'{"identity": {"timebase": "1/0"}}'])
def test_damaged_record_is_absent_and_logged(tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger(str(tmp_path / "l"))
    done = ledger.commit(record_of(0), segment_file(tmp_path, b"segment"))
    files.put_bytes(damage, f"{ledger.url}/ledger/{done.key}.json")
    with caplog.at_level(logging.WARNING):
        assert ledger.get(done.key) is None
    assert done.key in caplog.text
    assert ledger.records() == []


def test_record_under_a_foreign_key_is_absent(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path / "l"))
    done = ledger.commit(record_of(0), segment_file(tmp_path, b"segment"))
    os.rename(f"{ledger.url}/ledger/{done.key}.json", f"{ledger.url}/ledger/{'0' * 64}.json")
    assert ledger.get("0" * 64) is None


def test_state_is_bit_exact(store_url: str) -> None:
    ledger = Ledger(store_url)
    rng = np.random.default_rng(0)
    nan = np.array([0x7FC00001, 0xFFC12345, 0x80000000], dtype=np.uint32).view(np.float32)
    state = {
        "chroma": rng.standard_normal((2, 9, 7)).astype(np.float16),
        "luma": rng.integers(0, 1024, (9, 7)).astype(np.uint16)[:, ::2],
        "nan": nan,
        "count": np.array(3, dtype=np.int64),
        "empty": np.zeros((0, 4), dtype=np.uint8),
    }
    assert ledger.get_state("k") is None
    ledger.put_state("k", state)
    back = ledger.get_state("k")
    assert back is not None
    assert list(back) == list(state)
    for name, array in state.items():
        assert (back[name].dtype, back[name].shape, back[name].tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_state_refuses_objects_and_ignores_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger(str(tmp_path))
    with pytest.raises(ValueError):
        ledger.put_state("k", {"a": np.array([{}], dtype=object)})
    assert ledger.get_state("k") is None
    ledger.put_state("k", {"a": np.arange(1000)})
    path = tmp_path / "states" / "k.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert ledger.get_state("k") is None
    path.write_bytes(data[: len(data) // 2])
    assert ledger.get_state("k") is None
    assert caplog.text.count("damaged state") == 2


def test_prune(store_url: str, tmp_path: Path) -> None:
    ledger = Ledger(store_url)
    kept, dropped = (ledger.commit(record_of(first), segment_file(tmp_path, b"%d" % first)) for first in (0, 10))
    for record in (kept, dropped):
        ledger.put_state(record.key, {"a": np.zeros(2)})
    files.put_bytes(b"orphan of a crash", files.join(store_url, "segments", f"{'f' * 64}-{'0' * 12}.mkv"))
    assert ledger.prune({kept.key}) == 4
    assert ledger.records() == [kept]
    assert ledger.check(kept)
    assert ledger.get_state(kept.key) is not None
    assert ledger.get_state(dropped.key) is None
    assert [len(files.list_names(files.join(store_url, f))) for f in ("ledger", "segments", "states")] == [1, 1, 1]
    assert ledger.prune({kept.key}) == 0


def test_writers_of_one_key_do_not_hurt_each_other(store_url: str, tmp_path: Path) -> None:
    """Even when they write different bytes: at every moment the record there is has its own whole file."""
    ledger = Ledger(store_url)

    def write(i: int) -> None:
        folder = tmp_path / str(i)
        folder.mkdir()
        for j in range(3):
            ledger.commit(record_of(0), segment_file(folder, b"%d" % (i % 3) * (1000 + i % 3)))
            seen = ledger.get(record_of(0).key)
            assert seen is not None
            assert ledger.check(seen), (i, j)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))


def _commit_until_killed(url: str, folder: str, env: dict[str, str], started: Any) -> None:
    os.environ.update(env)
    ledger = Ledger(url)
    for n in range(10_000):
        record = record_of(n * 10)
        path = segment_file(Path(folder), record.key.encode() * 40_000)
        if n == 1:
            started.set()
        ledger.commit(record, path)


def _crash_in(function: str, url: str, folder: str) -> None:
    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    owner, name = {"replace": (os, "replace"), "fsync": (os, "fsync"), "put_bytes": (files, "put_bytes")}[function]
    setattr(owner, name, die)
    Ledger(url).commit(record_of(0), segment_file(Path(folder), b"segment"))


@pytest.fixture(scope="module")
def forks() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["dvcp.store.ledger", "s3fs"])
    return context


def test_kill_in_the_middle_of_commits(store_url: str, tmp_path: Path, forks: Any) -> None:
    ledger = Ledger(store_url)
    env = {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "FSSPEC_"))}
    for cut in range(6):
        started = forks.Event()
        child = forks.Process(target=_commit_until_killed, args=(store_url, str(tmp_path), env, started))
        child.start()
        assert started.wait(30)
        time.sleep(0.013 * cut)
        child.kill()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        # In this order: what the dead process sent last may still be on its way.
        names = files.list_names(files.join(store_url, "ledger"))
        records = ledger.records()
        assert names, "nothing was committed before the kill"
        assert set(names) <= {f"{record.key}.json" for record in records}, "a record without its whole file"
        assert all(ledger.check(record) for record in records[-2:])


@pytest.mark.parametrize("function", ["fsync", "replace", "put_bytes"])
def test_death_at_each_step_leaves_nothing_then_a_rerun_completes(function: str, tmp_path: Path, forks: Any) -> None:
    ledger = Ledger(str(tmp_path / "l"))
    child = forks.Process(target=_crash_in, args=(function, ledger.url, str(tmp_path)))
    child.start()
    child.join(30)
    assert child.exitcode == -signal.SIGKILL
    assert ledger.records() == []
    assert files.list_names(f"{ledger.url}/ledger") == []
    done = ledger.commit(record_of(0), segment_file(tmp_path, b"segment"))
    assert ledger.records() == [done]
    assert ledger.check(done)


def test_missing_segment_is_an_error_not_a_record(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path / "l"))
    with pytest.raises(StoreError, match=r"gone\.mkv"):
        ledger.commit(record_of(0), tmp_path / "gone.mkv")
    assert ledger.records() == []
