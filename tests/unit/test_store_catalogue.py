"""The catalogue: what is left to do follows from one listing, states survive, and a second writer harms nothing."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dvcp.errors import StoreError
from dvcp.store import files
from dvcp.store.catalogue import NAME, SCHEMA, AssetState, Catalogue
from dvcp.store.listing import listing
from dvcp.store.remote import Facts


def same(_source: str) -> str:
    return "question"


def films(*names: str, tag: str = "1") -> dict[str, Facts]:
    return {f"s3://a/{name}.mkv": Facts(10, tag) for name in names}


def finish(catalogue: Catalogue, source: str) -> None:
    catalogue.begin(source)
    catalogue.done(source, source.replace("s3://a/", "s3://out/"), 24, 2, 3)


def test_states_survive(store_url: str) -> None:
    url = files.join(store_url, NAME)
    catalogue = Catalogue(url, "run one")
    there = films("one", "two", "three")
    catalogue.take(there, same)
    finish(catalogue, "s3://a/one.mkv")
    catalogue.begin("s3://a/two.mkv")
    catalogue.begin("s3://a/three.mkv")
    catalogue.failed("s3://a/three.mkv", "three.mkv: is empty")
    catalogue.save()
    again = Catalogue(url, "run two")
    assert [again.get(source) for source in there] == [catalogue.get(source) for source in there]
    again.take(there, same)
    assert [(a.source[-8:], a.state, a.attempts, a.error) for a in again.left(there)] == [
        ("/two.mkv", AssetState.DOING, 0, ""), ("hree.mkv", AssetState.FAILED, 1, "three.mkv: is empty"),
    ]  # fmt: skip
    done = again.get("s3://a/one.mkv")
    assert done is not None and (done.frames, done.shots, done.segments, done.run) == (24, 2, 3, "run one")
    assert again.counts(there) == {AssetState.TODO: 0, AssetState.DOING: 1, AssetState.DONE: 1, AssetState.FAILED: 1}


@pytest.mark.parametrize("what", ["size", "tag", "question", "output"])
def test_what_changed_is_to_do_again(tmp_path: Path, what: str) -> None:
    source, there = "s3://a/one.mkv", films("one", "other")
    catalogue = Catalogue(str(tmp_path / NAME))
    catalogue.take(there, same)
    for film in there:
        finish(catalogue, film)
    outputs = {film.replace("s3://a/", "s3://out/") for film in there}
    catalogue.take(there, same, outputs)
    assert catalogue.left(there) == []
    if what == "output":
        outputs.discard("s3://out/one.mkv")
    elif what != "question":
        there[source] = Facts(11, "1") if what == "size" else Facts(10, "2")
    catalogue.take(there, lambda film: "painted anew" if what == "question" and film == source else "question", outputs)
    assert [(a.source, a.state) for a in catalogue.left(there)] == [(source, AssetState.TODO)]


def test_failures_are_bounded(tmp_path: Path) -> None:
    source, there = "s3://a/bad.mkv", films("bad", "zoo")
    catalogue = Catalogue(str(tmp_path / NAME))
    catalogue.take(there, same)
    for _ in range(3):
        assert [a.source for a in catalogue.left(there)][-1] in (source, "s3://a/zoo.mkv")
        catalogue.begin(source)
        catalogue.failed(source, "bad.mkv: broken")
    assert [a.source for a in catalogue.left(there)] == ["s3://a/zoo.mkv"]
    assert [a.source for a in catalogue.left(there, retry_failed=True)] == ["s3://a/zoo.mkv", source], "untried films go first"
    there |= films("bad", tag="2")
    catalogue.take(there, same)
    assert [(a.source, a.attempts) for a in catalogue.left(there)] == [(source, 0), ("s3://a/zoo.mkv", 0)], "another file, another chance"


def test_only_what_is_listed_is_left(tmp_path: Path) -> None:
    catalogue = Catalogue(str(tmp_path / NAME))
    catalogue.take(films("gone", "here"), same)
    assert [a.source for a in catalogue.left(films("here"))] == ["s3://a/here.mkv"]


def test_written_now_and_then(tmp_path: Path) -> None:
    url, there = str(tmp_path / NAME), films("one", "two")
    patient = Catalogue(url, every_s=3600)
    patient.take(there, same)
    finish(patient, "s3://a/one.mkv")
    assert not Path(url).exists()
    eager = Catalogue(url, every_s=0)
    eager.take(there, same)
    finish(eager, "s3://a/two.mkv")
    assert pq.read_table(url).schema.equals(SCHEMA)
    assert [a.source for a in Catalogue(url).left(there)] == ["s3://a/one.mkv"]


def test_a_store_that_is_away_ends_no_night(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, there = tmp_path / "out", films("one", "two")
    url = str(folder / NAME)
    catalogue = Catalogue(url, every_s=0)
    catalogue.take(there, same)
    # A file where the folder should be: nothing can be written below it.
    folder.write_bytes(b"")
    finish(catalogue, "s3://a/one.mkv")
    assert url in caplog.text and "written again later" in caplog.text
    with pytest.raises(StoreError):
        catalogue.save()
    folder.unlink()
    catalogue.begin("s3://a/two.mkv")
    assert [(a.source, a.state) for a in Catalogue(url).left(there)] == [("s3://a/two.mkv", AssetState.DOING)], "one.mkv is not forgotten"


def test_a_store_that_is_away_is_left_alone_for_a_while(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, there = tmp_path / "out", films("one")
    catalogue = Catalogue(str(folder / NAME), every_s=2)
    catalogue.take(there, same)
    folder.write_bytes(b"")
    time.sleep(2)
    for _ in range(3):
        catalogue.begin("s3://a/one.mkv")
    assert [record.name for record in caplog.records].count("dvcp.store.catalogue") == 1


def test_two_writers(tmp_path: Path) -> None:
    """Each finishes its own films, both write all the time; nothing is torn and nothing is lost at the end."""
    url, there = str(tmp_path / NAME), films(*(f"{k:02d}" for k in range(20)))
    both = [Catalogue(url, name, every_s=0) for name in ("left", "right")]
    for catalogue in both:
        catalogue.take(there, same)
        catalogue.save()
    errors: list[BaseException] = []

    def work(catalogue: Catalogue, mine: list[str]) -> None:
        try:
            for source in mine:
                finish(catalogue, source)
        except BaseException as error:
            errors.append(error)

    halves = sorted(there)[::2], sorted(there)[1::2]
    threads = [threading.Thread(target=work, args=pair) for pair in zip(both, halves, strict=True)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert len(Catalogue(url)) == 20, "whole at every moment"
    assert not errors
    # A race may lose what was written last; its writer knows it still, and the next write says so.
    for catalogue, half in zip(both, halves, strict=True):
        finish(catalogue, half[0])
    assert Catalogue(url).left(there) == []


def test_a_broken_catalogue_is_begun_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    url, there = tmp_path / NAME, films("one")
    url.write_bytes(b"PAR1 and then nothing")
    catalogue = Catalogue(str(url))
    assert "looked at again" in caplog.text
    catalogue.take(there, same)
    catalogue.save()
    assert len(Catalogue(str(url))) == 1


def test_listing(store_url: str) -> None:
    for name in ("b.mkv", "a.MP4", "notes.txt", "deeper/c.mkv"):
        files.put_bytes(name.encode(), files.join(store_url, name))
    folder = listing(store_url + "/", (".mkv", ".mp4"))
    assert [url.removeprefix(store_url) for url in folder] == ["/a.MP4", "/b.mkv"]
    assert listing(files.join(store_url, "*.mkv")) == {u: f for u, f in folder.items() if u.endswith(".mkv")}
    named = [files.join(store_url, name) for name in ("b.mkv", "notes.txt")]
    assert list(listing(named, (".mkv",))) == named
    assert listing(files.join(store_url, "nowhere/")) == {}
    before = folder[files.join(store_url, "b.mkv")]
    time.sleep(0.01)
    files.put_bytes(b"B.mkv", files.join(store_url, "b.mkv"))
    after = listing(store_url, (".mkv",))[files.join(store_url, "b.mkv")]
    assert after.size == before.size and after.tag != before.tag


@pytest.mark.slow
def test_a_hundred_thousand_films(tmp_path: Path) -> None:
    """What is left of 100,000 films, in seconds, and without opening one."""
    folder, count = tmp_path / "reels", 100_000
    folder.mkdir()
    for k in range(count):
        os.close(os.open(folder / f"reel{k:06d}.mkv", os.O_CREAT | os.O_WRONLY, 0o000))
    began = time.process_time()
    catalogue = Catalogue(str(tmp_path / NAME), "first")
    there = listing(str(folder), (".mkv",))
    catalogue.take(there, same)
    for source in list(there)[: count - 7]:
        catalogue.done(source, source, 24, 1, 1)
    catalogue.save()
    first = time.process_time() - began
    (folder / "reel000003.mkv").chmod(0o600)
    (folder / "reel000003.mkv").write_bytes(b"scanned again")
    began = time.process_time()
    again = Catalogue(str(tmp_path / NAME), "second")
    there = listing(str(folder), (".mkv",))
    again.take(there, same, there.keys())
    left = again.left(there)
    second = time.process_time() - began
    print(f"\n{count} films: first run {first:.1f} s, what is left {second:.1f} s, {os.path.getsize(again.url) >> 10} KiB")
    assert [a.source for a in left] == [str(folder / "reel000003.mkv"), *list(there)[-7:]]
    assert second < 20


def test_few_requests(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some hundred objects: one request a thousand, and none for an object by itself."""
    import aiobotocore.client

    for k in range(240):
        files.put_bytes(b"", files.join(s3_url, "reels", f"reel{k:03d}.mkv"))
    asked: list[str] = []
    call = aiobotocore.client.AioBaseClient._make_api_call

    async def counted(self: object, operation: str, arguments: object) -> object:
        asked.append(operation)
        return await call(self, operation, arguments)

    monkeypatch.setattr(aiobotocore.client.AioBaseClient, "_make_api_call", counted)
    there = listing(files.join(s3_url, "reels/"), (".mkv",))
    assert len(there) == 240 and all(file.tag for file in there.values())
    assert len(asked) <= 2, asked
