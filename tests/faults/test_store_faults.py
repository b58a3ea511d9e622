"""A store of which every twentieth request fails, and which is gone for some seconds: nothing is lost, nothing is there twice."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import fsspec
import numpy as np
import pytest

from dvcp.store import files, uploads
from dvcp.store.ledger import Ledger, SegmentIdentity, SegmentRecord
from dvcp.store.remote import Remote
from dvcp.timing import Span
from tests.faulty_proxy import FaultyProxy, faulty
from tests.films import framemd5, make_film
from tests.s3_server import SECRET, S3Server, reached

pytestmark = pytest.mark.slow

IDENTITY = SegmentIdentity("aa" * 32, Span(0, 9999), Span(0, 1), 0, 0, Fraction(1, 24), (), "dd" * 32, "master", "1")


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[FaultyProxy]:
    """This process speaks to the store through it."""
    with faulty(s3.endpoint, share=0.05, seed=5, delay_s=0.3) as made, reached(made.env):
        yield made


def unfinished(url: str) -> list[str]:
    """Keys of multipart uploads under ``url`` that were begun and never ended."""
    remote = Remote(url)
    place = remote.place()
    return [u["Key"] for u in remote.fs.list_multipart_uploads(place["Bucket"]) if u["Key"].startswith(place["Key"])]


def test_thousands_of_operations(proxy: FaultyProxy, s3_url: str, tmp_path: Path) -> None:
    ledger = Ledger(s3_url)

    def one(number: int) -> SegmentRecord:
        rng = np.random.default_rng(number)
        path = tmp_path / f"{number}.mkv"
        path.write_bytes(rng.bytes(5000 + number))
        record = SegmentRecord(replace(IDENTITY, span=Span(number, number + 1)), 1)
        state = {"ab": rng.random((2, 3))}
        ledger.put_state(record.key, state)
        stored = ledger.commit(record, path)
        held = ledger.get_state(record.key)
        assert held is not None and np.array_equal(held["ab"], state["ab"])
        assert ledger.get(record.key) == stored and stored.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        claim = f"{s3_url}/claims/{number}"
        assert files.put_bytes(b"mine", claim, exclusive=True), "one's own put, whose answer was lost, is still one's own"
        assert not files.put_bytes(b"theirs", claim, exclusive=True)
        assert files.get_bytes(claim) == b"mine"
        ledger.remove_states([record.key])
        return stored

    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(one, range(200)))
    counts = proxy.reset()
    assert counts.total > 2000 and counts.faults.total() > 60 and len(counts.faults) == 6, counts
    proxy.share = 0
    assert ledger.records() == stored
    assert ledger.present(r.key for r in stored[:7]) == {r.key for r in stored[:7]}
    assert all(ledger.check(record) for record in stored[::10])
    assert sorted(files.list_names(f"{s3_url}/segments")) == sorted(r.file.removeprefix("segments/") for r in stored)
    assert files.list_names(f"{s3_url}/states") == []


def test_large_files_go_in_parts_and_leave_no_uploads(proxy: FaultyProxy, s3_url: str, tmp_path: Path) -> None:
    film, back, url = tmp_path / "film", tmp_path / "back", f"{s3_url}/film.mkv"
    film.write_bytes(np.random.default_rng(0).bytes(4 * uploads.PART + 12345))
    proxy.share = 0.2
    for _ in range(3):
        digest = files.put_file(film, url)
        files.fetch_file(url, back)
        assert back.read_bytes() == film.read_bytes() and hashlib.sha256(back.read_bytes()).hexdigest() == digest
    faults = proxy.reset().faults
    assert faults.total() > 5, faults
    proxy.share = 0
    assert unfinished(s3_url) == []
    assert files.list_names(s3_url) == ["film.mkv"]


def test_a_store_that_is_away(proxy: FaultyProxy, s3_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    proxy.share = 0
    files.put_bytes(b"1", f"{s3_url}/x")
    # Longer than the driver's own tries take, on a slow machine too.
    proxy.cut(12)
    began = time.monotonic()
    assert files.get_bytes(f"{s3_url}/x") == b"1"
    assert 11 < time.monotonic() - began < 60
    waits = [r for r in caplog.records if "tried again in" in r.message]
    assert waits and all(f"{s3_url}/x" in r.message and SECRET not in r.message for r in waits)
    monkeypatch.setenv("DVCP_STORE_PATIENCE", "1")
    proxy.cut(60)
    began = time.monotonic()
    with pytest.raises(files.StoreError, match="cannot be reached"):
        files.get_bytes(f"{s3_url}/x")
    assert time.monotonic() - began < 30


@pytest.mark.night
@pytest.mark.timeout(590)
def test_a_whole_film(s3: S3Server, s3_url: str, tmp_path: Path) -> None:
    """A signed address as source, undisturbed; then the same film through a bad network. Neither leaves a secret."""
    film = make_film(tmp_path, lengths=(60, 50), painted=((0,), (10,)), size=(48, 64))
    for path in [film.gray, *film.stills.iterdir()]:
        files.put_file(path, f"{s3_url}/{path.relative_to(tmp_path)}")
    signed = fsspec.filesystem("s3").url(f"{s3_url}/reel.mkv", expires=900)
    signature = signed.split("Signature=")[1].split("&")[0]

    def start(source: str, out: str, env: dict[str, str]) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "dvcp.cli", "colorize", source, "--references", f"{s3_url}/{film.stills.name}",
                   "--out", f"{s3_url}/{out}", "--method", "copy", "--segment-frames", "16"]  # fmt: skip
        env = os.environ | env | {"PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    calm = start(signed, "calm.mkv", {})
    said = [calm.communicate(timeout=280)[0]]
    assert calm.returncode == 0, said
    with faulty(s3.endpoint, share=0.05, seed=7, delay_s=0.3) as network:
        bad = start(f"{s3_url}/reel.mkv", "bad.mkv", network.env)
        threading.Thread(target=_cut_in_the_middle, args=(bad, network, f"{s3_url}/bad.dvcp/ledger"), daemon=True).start()
        said.append(bad.communicate(timeout=280)[0])
        assert bad.returncode == 0, said
        assert network.counts.faults["cut"] and network.counts.faults.total() > 8, network.counts
    ledgers = {name: Ledger(f"{s3_url}/{name}.dvcp") for name in ("calm", "bad")}
    keys = {record.key for record in ledgers["calm"].records()}
    assert len(keys) > 5 and {record.key for record in ledgers["bad"].records()} == keys
    for folder in ("segments", "ledger"):
        assert len(files.list_names(f"{s3_url}/bad.dvcp/{folder}")) == len(keys)
    for name in ledgers:
        files.fetch_file(f"{s3_url}/{name}.mkv", tmp_path / f"{name}.mkv")
    assert framemd5(tmp_path / "bad.mkv") == framemd5(tmp_path / "calm.mkv")
    assert unfinished(s3_url) == []

    left = _everything(s3_url)
    assert SECRET not in "".join(said)
    assert len(left) > 20 and "***" in json.loads(left["calm.dvcp/provenance.json"])["source"]["url"]
    for name, data in left.items():
        assert SECRET.encode() not in data and signature.encode() not in data, name


def _cut_in_the_middle(run: subprocess.Popen[str], network: FaultyProxy, ledger: str) -> None:
    while not files.list_names(ledger) and run.poll() is None:
        time.sleep(0.05)
    network.cut(8)


def _everything(url: str) -> dict[str, bytes]:
    """Name under ``url`` -> content of every object."""
    fs, key = fsspec.url_to_fs(url, use_listings_cache=False)
    return {path.removeprefix(f"{key}/"): fs.cat_file(path) for path in fs.find(key)}
