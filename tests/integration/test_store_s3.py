"""What only a real object store shows: other processes, refusals, an unreachable server, multipart puts."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import s3fs

from dvcp.errors import MediaError, StoreError
from dvcp.media.probe import probe
from dvcp.media.reader import FrameReader
from dvcp.media.source import content_digest, open_bytes, open_input
from dvcp.store import files, uploads
from dvcp.store.fixity import sha256_url
from dvcp.store.ledger import Ledger, SegmentIdentity, SegmentRecord
from dvcp.store.remote import Remote
from dvcp.timing import Span
from tests.faulty_proxy import Counts, FaultyProxy, faulty
from tests.s3_server import S3Server, reached, serve
from tests.unit.media_clips import make_film, noise


def child(code: str, **env: str) -> str:
    """Output of ``code`` in a fresh process that knows the server only by its environment."""
    done = subprocess.run(
        [sys.executable, "-c", f"from dvcp.store import files\n{code}"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | env,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def refusal(url: str, **env: str) -> str:
    return child(f"try: files.put_bytes(b'1', {url!r})\nexcept files.StoreError as error: print(error)", **env)


def test_what_a_child_process_writes_is_seen_at_once(s3_url: str) -> None:
    files.put_bytes(b"0", f"{s3_url}/mine")
    assert files.list_names(s3_url) == ["mine"]
    said = child(f"print(files.put_bytes(b'1', '{s3_url}/theirs', exclusive=True), files.list_names('{s3_url}'))")
    assert said == "True ['mine', 'theirs']"
    assert files.list_names(s3_url) == ["mine", "theirs"]
    assert not files.put_bytes(b"2", f"{s3_url}/theirs", exclusive=True)


def test_options_reach_the_server_without_environment(s3: S3Server, s3_url: str) -> None:
    s3fs.S3FileSystem(**s3.options).pipe_file(f"{s3_url}/x", b"1")
    assert files.get_bytes(f"{s3_url}/x") == b"1"


def test_wrong_key(s3: S3Server, s3_url: str) -> None:
    said = refusal(f"{s3_url}/x", AWS_ACCESS_KEY_ID="wrong", FSSPEC_S3_KEY="wrong")
    assert said == f"{s3_url}/x: permission denied (check the access key, the secret and the bucket's policy)"


def test_missing_bucket(s3: S3Server) -> None:
    for put in (lambda: files.put_bytes(b"1", "s3://nosuch/x"), lambda: files.put_bytes(b"1", "s3://nosuch/x", exclusive=True)):
        with pytest.raises(StoreError, match=r"s3://nosuch/x: no such object or bucket \(check the name\)"):
            put()


def test_unreachable_server(s3: S3Server) -> None:
    said = refusal("s3://dvcp/x", AWS_ENDPOINT_URL="http://127.0.0.1:9", FSSPEC_S3_ENDPOINT_URL="http://127.0.0.1:9", AWS_MAX_ATTEMPTS="1")
    assert said.startswith("s3://dvcp/x: the store cannot be reached")
    assert "AWS_ENDPOINT_URL=http://127.0.0.1:9" in said
    assert "\n" not in said


@pytest.mark.slow
def test_server_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(tmp_path / "own") as server, reached(server.env):
        files.put_bytes(b"1", "s3://dvcp/x")
        assert files.get_bytes("s3://dvcp/x") == b"1"
        # Not before: a server that has just started refuses now and then.
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        s3fs.S3FileSystem.clear_instance_cache()
        os.kill(server.pid, signal.SIGKILL)
        (tmp_path / "big").write_bytes(b"0" * 1000)
        for use in (lambda: files.get_bytes("s3://dvcp/x"), lambda: files.put_file(tmp_path / "big", "s3://dvcp/y")):
            with pytest.raises(StoreError, match="the store cannot be reached"):
                use()


@pytest.mark.slow
def test_multipart_put_is_whole_or_absent(s3: S3Server, s3_url: str, tmp_path: Path) -> None:
    film = tmp_path / "film.mkv"
    piece = os.urandom(1 << 20)
    with film.open("wb") as out:
        for _ in range(120):
            out.write(piece)
    url = f"{s3_url}/film.mkv"
    code = f"from dvcp.store import files\nfiles.put_file({str(film)!r}, {url!r})"
    fs = s3fs.S3FileSystem()
    # Every part is late: a listing on a busy server may take longer than the rest of the upload.
    with faulty(s3.endpoint, share=1, faults=["delay"], delay_s=2) as slow:
        slow.only = ["PART"]
        upload = subprocess.Popen([sys.executable, "-c", code], env=os.environ | slow.env | {"PYTHONPATH": os.pathsep.join(sys.path)})
        while not fs.list_multipart_uploads("dvcp"):
            assert upload.poll() is None, "the upload ended before it could be interrupted"
        upload.kill()
        upload.wait()
    assert files.size(url) is None
    assert files.put_file(film, url) == sha256_url(url) == hashlib.sha256(piece * 120).hexdigest()
    assert files.size(url) == 120 << 20
    files.remove(url)


@pytest.fixture
def counting(s3: S3Server) -> Iterator[FaultyProxy]:
    """This process speaks to the server through a proxy that does nothing but count."""
    with faulty(s3.endpoint) as proxy, reached(proxy.env):
        yield proxy


def cost(proxy: FaultyProxy, work: Callable[[], object]) -> Counts:
    proxy.reset()
    work()
    return proxy.reset()


def test_requests_of_every_operation(counting: FaultyProxy, s3_url: str, tmp_path: Path) -> None:
    url, local = f"{s3_url}/x", tmp_path / "x"
    local.write_bytes(b"1" * 5000)
    identity = SegmentIdentity("aa" * 32, Span(0, 1), Span(0, 1), 0, 0, Fraction(1, 24), (), "dd" * 32, "master", "1")
    record, ledger = SegmentRecord(identity, 1), Ledger(f"{s3_url}/ledger")
    for work, wanted in (
        (lambda: files.put_bytes(b"1" * 5000, url), {"PUT": 1}),
        (lambda: files.put_bytes(b"1", f"{url}2", exclusive=True), {"HEAD": 1, "PUT": 1}),
        (lambda: files.put_bytes(b"1", f"{url}2", exclusive=True), {"HEAD": 1}),
        (lambda: files.put_file(local, url), {"PUT": 1, "HEAD": 1}),
        (lambda: files.get_bytes(url), {"GET": 1}),
        (lambda: files.size(url), {"HEAD": 1}),
        (lambda: files.size(f"{url}3"), {"HEAD": 1}),
        (lambda: files.fetch_file(url, tmp_path / "y"), {"HEAD": 1, "RANGE": 1}),
        (lambda: ledger.commit(record, local), {"PUT": 2, "HEAD": 1}),
        (lambda: ledger.get(record.key), {"GET": 1, "HEAD": 1}),
        (lambda: ledger.present({record.key, "other"}), {"LIST": 2, "GET": 1}),
        (lambda: Ledger(f"{s3_url}/new").present({record.key}), {"LIST": 1}),
    ):
        assert cost(counting, work).requests == wanted


def test_a_segment_in_the_middle_of_a_film_costs_its_own_bytes(counting: FaultyProxy, s3_url: str, tmp_path: Path) -> None:
    path = make_film(tmp_path / "a.mkv", np.concatenate([noise(8, 240, 320)] * 25))
    files.put_file(path, f"{s3_url}/a.mkv")
    info = probe(f"{s3_url}/a.mkv")

    def middle() -> None:
        with FrameReader(info) as there, FrameReader(probe(path)) as here:
            np.testing.assert_array_equal(there.luma(Span(100, 104)), here.luma(Span(100, 104)))

    spent, size = cost(counting, middle), os.path.getsize(path)
    assert size > 15 << 20 and spent.sent < size / 4 and spent.total < 12, spent


def test_films_that_cannot_be_sought_come_once(
    counting: FaultyProxy, s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVCP_CACHE", str(tmp_path / "cache"))
    options = {"b": "4M", "bf": "2", "g": "12"}
    path = make_film(tmp_path / "a.avi", noise(60, 240, 320), codec="mpeg4", options=options)  # AVI tells no times of B-frames
    files.put_file(path, f"{s3_url}/a.avi")

    def all_of_it() -> None:
        info = probe(f"{s3_url}/a.avi")
        for first in (50, 3, 30):
            with FrameReader(info) as there, FrameReader(probe(path)) as here:
                np.testing.assert_array_equal(there.luma(Span(first, first + 2)), here.luma(Span(first, first + 2)))
        assert content_digest(f"{s3_url}/a.avi") == content_digest(path)

    spent, size = cost(counting, all_of_it), os.path.getsize(path)
    assert size <= spent.sent < size + (2 << 20), "one copy, and what was read before it was known to be needed"


def test_an_object_that_changes_under_its_reader(s3_url: str, tmp_path: Path) -> None:
    url = f"{s3_url}/a.bin"
    files.put_bytes(b"1" * (3 << 20), url)
    with open_bytes(url) as file:
        assert file.read(10) == b"1" * 10
        files.put_bytes(b"2" * (3 << 20), url)
        file.seek(2 << 20)
        with pytest.raises(OSError, match="changed while it was read"):
            file.read(10)
    pieces = files.read_chunks(url)
    make_film(tmp_path / "a.mkv", noise(40, 240, 320))
    files.put_file(tmp_path / "a.mkv", f"{s3_url}/a.mkv")
    with pytest.raises(MediaError, match="changed while it was read"), open_input(f"{s3_url}/a.mkv") as film:
        files.put_bytes(b"3" * (6 << 20), f"{s3_url}/a.mkv")
        for _ in film.demux():
            pass
    assert b"".join(pieces) == b"2" * (3 << 20)


def test_uploads_that_killed_processes_left_are_aborted(s3_url: str) -> None:
    mine, other = Remote(f"{s3_url}/a/film.mkv"), Remote(f"{s3_url}/ab/film.mkv")
    begun = [remote.call_once("create_multipart_upload")["UploadId"] for remote in (mine, other)]
    files.remove_stale_parts(f"{s3_url}/a")

    def left() -> set[str]:
        return {u["UploadId"] for u in mine.fs.list_multipart_uploads("dvcp")} & set(begun)

    assert left() == set(begun), "another process may be at it"
    assert uploads.abort_uploads(Remote(f"{s3_url}/a"), hours=0) == 1
    assert left() == {begun[1]}
    assert uploads.abort_uploads(Remote(f"{s3_url}/ab"), hours=0) == 1


def test_a_listing_of_many_pages(counting: FaultyProxy, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dvcp.store.remote._PAGE", 4)
    names = {f"film {number}" for number in range(10)}
    for name in names:
        files.put_bytes(b"1", f"{s3_url}/{name}")
    counting.reset()
    assert files.list_sizes(s3_url) == dict.fromkeys(names, 1)
    assert counting.reset().requests == {"LIST": 3}
    assert set(files.list_names(s3_url)) == names


def test_a_lost_answer_leaves_no_unknown_upload(s3: S3Server, s3_url: str, tmp_path: Path) -> None:
    """The server began an upload and the answer that names it never came."""
    film = tmp_path / "film"
    film.write_bytes(os.urandom(2 * uploads.PART + 1))
    with faulty(s3.endpoint, share=1.0, faults=["drop_after"]) as proxy:
        proxy.most, proxy.only = 1, ["BEGIN"]
        with reached(proxy.env):
            files.put_file(film, f"{s3_url}/film")
        assert proxy.counts.faults == {"drop_after": 1} and proxy.counts.requests["BEGIN"] == 2 and proxy.counts.requests["ABORT"] == 1
    assert not [u for u in Remote(s3_url).fs.list_multipart_uploads("dvcp") if u["Key"] == Remote(f"{s3_url}/film").place()["Key"]]
    assert sha256_url(f"{s3_url}/film") == hashlib.sha256(film.read_bytes()).hexdigest()


def test_parts_that_fail_for_good_leave_no_upload(
    counting: FaultyProxy, s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = tmp_path / "film"
    film.write_bytes(os.urandom(2 * uploads.PART + 1))
    monkeypatch.setenv("DVCP_STORE_PATIENCE", "0")
    counting.share, counting.only = 1.0, ["PART"]
    with pytest.raises(StoreError):
        files.put_file(film, f"{s3_url}/film")
    assert counting.counts.requests["ABORT"] == 1 and files.size(f"{s3_url}/film") is None
    assert not [u for u in Remote(s3_url).fs.list_multipart_uploads("dvcp") if u["Key"] == Remote(f"{s3_url}/film").place()["Key"]]
