from __future__ import annotations

import hashlib
import os
from pathlib import Path

import fsspec
import numpy as np
import pytest
from av.container import InputContainer
from fsspec.implementations.memory import MemoryFileSystem

from dvcp.errors import ConfigError, DvcpError, MediaError, ReadFailed
from dvcp.media import source
from dvcp.media.probe import probe
from dvcp.media.reader import FrameReader
from dvcp.media.source import content_digest, find_sources, is_url, open_bytes, open_input, stem
from dvcp.media.stills import read_still
from dvcp.store.ranged import RangedFile
from dvcp.timing import Span
from tests.unit.media_clips import make_film, noise


def test_names() -> None:
    assert is_url("s3://bucket/a.mov") and not is_url("/films/a.mov")
    assert stem("s3://bucket/reel/film.01.mov") == stem("/films/film.01.mkv") == "film.01"


def test_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    data = np.random.default_rng(0).bytes((8 << 20) + 12345)
    (tmp_path / "a.bin").write_bytes(data)
    assert content_digest(str(tmp_path / "a.bin")) == hashlib.sha256(data).hexdigest()


def test_object_storage_url_reads_like_a_file(tmp_path: Path) -> None:
    path = make_film(tmp_path / "a.mp4", noise(6, 48, 64), codec="libx264", options={"qp": "0"})
    with fsspec.open("memory://reel/a.mp4", "wb") as file:
        file.write(Path(path).read_bytes())
    url, span = "memory://reel/a.mp4", Span(2, 5)
    with FrameReader(probe(url)) as there, FrameReader(probe(path)) as here:
        np.testing.assert_array_equal(there.luma(span), here.luma(span))
    assert content_digest(url) == content_digest(path)
    with pytest.raises(MediaError, match=r"memory://reel/b\.mp4: no such file"):
        probe("memory://reel/b.mp4")


@pytest.mark.parametrize("make, message", [
    (lambda p: None, "no such file"),
    (lambda p: p.write_bytes(b""), "is empty"),
    (lambda p: p.mkdir(), "is a folder"),
    (lambda p: p.write_bytes(b"not a film at all " * 99), "cannot be read as video"),
])  # fmt: skip
def test_bad_files_say_so_in_one_line(tmp_path: Path, make, message: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "bad.mp4"
    make(path)
    with pytest.raises(MediaError) as caught:
        probe(str(path))
    text = str(caught.value)
    assert str(path) in text and message in text and "\n" not in text and caught.value.hint


def test_an_unknown_scheme_is_a_media_error() -> None:
    with pytest.raises(MediaError, match="cannot be opened"):
        content_digest("gopher9://host/film.mp4")


def test_decoder_threads_are_capped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_film(tmp_path / "a.mkv", noise(1, 16, 16))
    for value in ("1", "3"):
        monkeypatch.setenv("DVCP_DECODE_THREADS", value)
        with open_input(path) as container:
            assert container.streams.video[0].codec_context.thread_count == int(value)


class FailingStore(MemoryFileSystem):  # type: ignore[misc]
    """Object storage whose connection breaks beyond a number of bytes."""

    protocol = "failing"
    limit = 1 << 40

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("failing://", "memory://")))

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: object) -> bytes:
        if (end or 0) > FailingStore.limit:
            raise OSError(5, "connection reset by peer")
        return bytes(super().cat_file(self._strip_protocol(path), start=start, end=end))


def test_a_connection_that_breaks_is_a_media_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.register_implementation("failing", FailingStore, clobber=True)
    path = make_film(tmp_path / "a.mkv", noise(60, 96, 96))
    with fsspec.open("memory://reel/f.mkv", "wb") as file:
        file.write(Path(path).read_bytes())
    url = "failing://reel/f.mkv"
    info = probe(url)
    monkeypatch.setattr(FailingStore, "limit", 300_000)
    with pytest.raises(MediaError, match="cannot be read"):
        probe(url)
    with pytest.raises(MediaError, match="connection reset"):
        content_digest(url)
    with FrameReader(info) as reader:
        reader.luma(Span(0, 4))
        with pytest.raises(MediaError, match=r"frame \d+: cannot be read"):
            reader.luma(Span(0, 60))


def test_a_connection_that_breaks_while_the_index_is_sought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.register_implementation("failing", FailingStore, clobber=True)
    path = make_film(tmp_path / "a.mkv", noise(60, 96, 96))
    with fsspec.open("memory://reel/g.mkv", "wb") as file:
        file.write(Path(path).read_bytes())
    parsed = source._parsed

    def cut(url: str, file: RangedFile) -> InputContainer:
        container = parsed(url, file)
        file._blocks.clear()  # as after a long search for the streams
        monkeypatch.setattr(FailingStore, "limit", 0)
        return container

    monkeypatch.setattr(source, "_parsed", cut)
    with pytest.raises(ReadFailed, match=r"failing://reel/g\.mkv: cannot be read: .*connection reset"), open_input("failing://reel/g.mkv"):
        pass


def test_pipes_and_devices_are_refused_before_they_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mkv")
    for url in (str(tmp_path / "pipe.mkv"), f"file://{tmp_path}/pipe.mkv", "/dev/zero"):
        for read in (open_bytes, content_digest, read_still):
            with pytest.raises(DvcpError, match="not a regular file"):
                read(url)


def test_a_folder_of_scans_is_told_from_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("reel 4")
    with pytest.raises(ConfigError, match="give a folder"):
        find_sources(str(tmp_path))
    for number in (1001, 1002, 1004):
        (tmp_path / f"reel.{number}.dpx").write_bytes(b"SDPX")
    with pytest.raises(ConfigError, match=r"reel\.1001-1002,1004.*dvcp wrap"):
        find_sources(str(tmp_path))
