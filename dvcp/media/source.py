"""Where bytes come from: local paths and fsspec URLs, opened as demuxers or hashed as they are."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

import av
from av.container import InputContainer

from dvcp.environment import whole_number
from dvcp.errors import ConfigError, DvcpError, MediaError, ReadFailed, StoreError, one_line
from dvcp.pulse import pulse
from dvcp.store import cache, files
from dvcp.store.explain import explain, guard
from dvcp.store.ranged import RangedFile
from dvcp.store.remote import Facts, Remote
from dvcp.store.retry import retried

BLOCK = 8 << 20
#: names that a folder of films is searched for
VIDEO_SUFFIXES = (".mkv", ".mp4", ".mov", ".avi", ".mxf", ".webm", ".nut", ".ts", ".m4v", ".mpg", ".dv")
#: FFmpeg's formats that only name other files: a digest of such a file proves nothing of the film
LISTS = ("concat", "dash", "hls", "imf")
#: FFmpeg's formats in which a place is found by an index or by a few reads, besides Matroska and AVI, whose files differ
_SEEKS = ("mov,mp4,m4a,3gp,3g2,mj2", "mpegts", "mpeg", "mxf", "nut", "dv")
#: id of Matroska's index, which the list at the head of a file names, and where that list stands
_CUES = bytes.fromhex("1c53bb6b")
_HEAD = 256 << 10
_CHECK = "check the path or URL"


def is_url(url: str) -> bool:
    """True for ``scheme://...``; anything else is a local path."""
    return "://" in url


def stem(url: str) -> str:
    """File name without folders and without its last extension: ``s3://bucket/reel/film.01.mov`` gives ``film.01``."""
    return PurePosixPath(url.split("://", 1)[-1]).stem if is_url(url) else Path(url).stem


def av_path(path: str) -> str:
    """A local path as FFmpeg must be given it: a bare name with a colon (``reel:4.mov``) would be taken for a protocol."""
    return f"file:{path}"


def decode_threads() -> int:
    """Threads of one decoder (``DVCP_DECODE_THREADS``, 1 by default).

    One, because with several a damaged picture is mended with what other threads have decoded by then: the same H.264 or FFV1 file gave
    other samples each time.
    """
    return max(1, whole_number("DVCP_DECODE_THREADS", 1))


def open_bytes(url: str) -> BinaryIO:
    """The bytes of a local path or URL as a seekable binary file; of a remote object only the ranges that are read.

    Raises:
        MediaError: missing, empty, a folder, a pipe or device, or not readable.
    """
    if (path := files.local_path(url)) is None:
        return cast(BinaryIO, RangedFile(*_remote(url)))
    try:
        status = os.stat(path)
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            # To open a pipe is to wait for its writer, and a device may never end.
            raise MediaError("is not a regular file but a pipe or device", file=url, hint="copy what it gives into a file")
        file = open(path, "rb")  # noqa: SIM115 - handed to the caller, who closes it
    except FileNotFoundError as error:
        raise MediaError("no such file", file=url, hint=_CHECK) from error
    except IsADirectoryError as error:
        raise MediaError("is a folder, not a file", file=url, hint="name one file") from error
    except PermissionError as error:
        raise MediaError("may not be read", file=url, hint="check permissions or credentials") from error
    except (OSError, ValueError) as error:
        raise MediaError(f"cannot be opened: {one_line(error)}", file=url, hint=_CHECK) from error
    if not status.st_size:
        file.close()
        raise _empty(url)
    return file


def _remote(url: str) -> tuple[Remote, Facts]:
    """The remote object ``url`` and what its store says of it. Raises MediaError as :func:`open_bytes`."""
    try:
        remote = Remote(url)
        facts = remote.facts()
        folder = facts is None and remote.exists()
    except Exception as error:
        told = error if isinstance(error, DvcpError) else explain(url, error)
        raise MediaError(f"cannot be opened: {told.message}", file=url, hint=told.hint or f"{_CHECK} and credentials") from error
    if folder:
        raise MediaError("is a folder, not a file", file=url, hint="name one file")
    if facts is None:
        raise MediaError("no such file", file=url, hint=_CHECK)
    if not facts.size:
        raise _empty(url)
    return remote, facts


def _empty(url: str) -> MediaError:
    return MediaError("is empty", file=url, hint="copy it again from its source")


@contextlib.contextmanager
def open_input(url: str) -> Iterator[InputContainer]:
    """A demuxer on a local path or fsspec URL, its video decoders capped at :func:`decode_threads`.

    A remote film is read by ranges, those of kinds that can only be read from their beginning from a local copy (:mod:`dvcp.store.cache`).
    Streams must not be touched after the block: their memory goes with the container.

    Raises:
        MediaError: the file is missing, empty, unreadable, a list of others, or nothing FFmpeg can parse; also for reading that fails in
            the block.
        StoreError: a copy is needed, and there is no room for it.
    """
    with contextlib.ExitStack() as stack:
        container = _demuxer(url, stack)
        if container.format.name in LISTS:
            raise MediaError("is a list of other files, not a film", file=url, hint="give the films it names, or join them with ffmpeg")
        for stream in container.streams.video:
            # a stream of an unknown codec has no context, and setting an attribute through it ends the process
            if stream.codec_context is not None:
                stream.codec_context.thread_count = decode_threads()
                stream.codec_context.thread_type = "AUTO"
        try:
            yield container
        except (av.error.FFmpegError, OSError) as error:
            raise reading_failed(url, error) from error


def _demuxer(url: str, stack: contextlib.ExitStack) -> InputContainer:
    if (path := files.local_path(url)) is not None:
        open_bytes(url).close()  # says what is wrong where FFmpeg would only say "invalid"
        return stack.enter_context(_parsed(url, av_path(path)))
    remote, facts = _remote(url)
    if not cache.holds(remote, facts):
        file = RangedFile(remote, facts)
        container = _parsed(url, file)
        try:
            in_parts = _in_parts(container, file)
        except OSError as error:
            container.close()
            raise reading_failed(url, error) from error
        if in_parts:
            return stack.enter_context(container)
        container.close()
    return stack.enter_context(_parsed(url, av_path(stack.enter_context(cache.held(remote, facts)))))


def _parsed(url: str, file: str | RangedFile) -> InputContainer:
    try:
        # metadata_errors: titles of old files are often not UTF-8, and that must not keep a film from being read
        return av.open(file, "r", metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        hint = "it is not a video, or it is truncated before its index; check it with ffprobe"
        raise MediaError(f"cannot be read as video: {one_line(error)}", file=url, hint=hint) from error


def _in_parts(container: InputContainer, file: RangedFile) -> bool:
    """Whether frames in the middle of a film can be reached without reading all before them."""
    kind = container.format.name
    if kind == "avi":
        # Of reordered frames AVI tells no times: they are counted from the start (see dvcp.media.probe).
        return all(len(s.index_entries) > 1 and not s.codec_context.reorder_depth for s in container.streams.video if s.codec_context)
    if kind == "matroska,webm":
        # FFmpeg looks for the index at the first seek, and reads the whole file where there is none.
        at = file.tell()
        file.seek(0)
        head = file.read(_HEAD)
        file.seek(at)
        return _CUES in (head or b"")
    return kind in _SEEKS


def reading_failed(url: str, error: Exception, frame: int | None = None) -> ReadFailed:
    """The error of a source that opened but then failed: a damaged disk, a lost connection, packets that make no sense."""
    return ReadFailed(f"cannot be read: {one_line(error)}", file=url, frame=frame, hint="check disk or network, then run again")


def content_digest(url: str) -> str:
    """sha256 (hex) of the bytes of a local path or URL, read in 8 MiB blocks."""
    digest = hashlib.sha256()
    try:
        for block in _blocks(url):
            pulse()
            digest.update(block)
    except OSError as error:
        raise reading_failed(url, error) from error
    return digest.hexdigest()


def _blocks(url: str) -> Iterator[bytes]:
    with contextlib.ExitStack() as stack:
        path = files.local_path(url)
        if path is None:
            remote, facts = _remote(url)
            if not cache.holds(remote, facts):
                yield from _as_read(url, remote.blocks(facts))
                return
            path = stack.enter_context(cache.held(remote, facts))
        file = stack.enter_context(open_bytes(path))
        while block := file.read(BLOCK):
            yield block


def _as_read(url: str, blocks: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from blocks
    except Exception as error:
        told = error if isinstance(error, DvcpError) else explain(url, error)
        raise reading_failed(url, OSError(told.message)) from error


def find_sources(sources: str | Sequence[str]) -> list[str]:
    """Films a folder, a glob or a list of URLs names, sorted and without doubles.

    Raises:
        ConfigError: nothing there.
    """
    found: set[str] = set()
    for source in [sources] if isinstance(sources, str) else sources:
        if names := files.list_names(source):
            found |= {files.join(source, name) for name in names if name.lower().endswith(VIDEO_SUFFIXES)}
        elif "*" in source or "?" in source:
            found |= set(_glob(source))
        else:
            found.add(source)
    if not found:
        raise ConfigError("no film here", file=str(sources), hint=_instead(sources))
    return sorted(found)


def _glob(pattern: str) -> list[str]:
    with guard(pattern):
        remote = Remote(pattern)
        paths = retried(pattern, lambda: remote.fs.glob(remote.key))
        return [remote.fs.unstrip_protocol(path) if is_url(pattern) else path for path in paths]


def _instead(sources: str | Sequence[str]) -> str:
    from dvcp.media.sequence import find_sequences  # here: it imports this module

    for folder in [sources] if isinstance(sources, str) else sources:
        with contextlib.suppress(MediaError, StoreError):
            if scans := find_sequences(folder):
                return f"make a film of its pictures ({scans[0].notation}) first: dvcp wrap {folder} --rate 24 --out reel.mkv"
    return "give a folder, a glob or URLs of films"
