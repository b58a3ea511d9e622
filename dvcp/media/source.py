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
import fsspec
from av.container import InputContainer

from dvcp.errors import ConfigError, MediaError, ReadFailed, StoreError
from dvcp.pulse import pulse
from dvcp.store import files

BLOCK = 8 << 20
#: names that a folder of films is searched for
VIDEO_SUFFIXES = (".mkv", ".mp4", ".mov", ".avi", ".mxf", ".webm", ".nut", ".ts", ".m4v", ".mpg", ".dv")
#: FFmpeg's formats that only name other files: a digest of such a file proves nothing of the film
LISTS = ("concat", "dash", "hls", "imf")


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
    return max(1, int(os.environ.get("DVCP_DECODE_THREADS", "1")))


def open_bytes(url: str) -> BinaryIO:
    """The bytes of a local path or URL as a seekable binary file.

    Raises:
        MediaError: missing, empty, a folder, a pipe or device, or not readable.
    """
    try:
        if is_url(url):
            filesystem, path = fsspec.core.url_to_fs(url)
            facts = filesystem.info(path)
            size = facts["size"]
            _refuse_other(facts["type"] in ("file", "directory"), url)
            file = filesystem.open(path, "rb", block_size=BLOCK)
        else:
            status = os.stat(url)
            size = status.st_size
            _refuse_other(stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode), url)
            file = open(url, "rb")  # noqa: SIM115 - handed to the caller, who closes it
    except FileNotFoundError as error:
        raise MediaError("no such file", file=url, hint="check the path or URL") from error
    except IsADirectoryError as error:
        raise MediaError("is a folder, not a file", file=url, hint="name one file") from error
    except PermissionError as error:
        raise MediaError("may not be read", file=url, hint="check permissions or credentials") from error
    except (OSError, ValueError, ImportError) as error:
        raise MediaError(f"cannot be opened: {_line(error)}", file=url, hint="check the path, URL and credentials") from error
    if not size:
        file.close()
        raise MediaError("is empty", file=url, hint="copy it again from its source")
    return cast(BinaryIO, file)


def _refuse_other(regular: bool, url: str) -> None:
    # To open a pipe is to wait for its writer, and a device may never end.
    if not regular:
        raise MediaError("is not a regular file but a pipe or device", file=url, hint="copy what it gives into a file")


@contextlib.contextmanager
def open_input(url: str) -> Iterator[InputContainer]:
    """A demuxer on a local path or fsspec URL, its video decoders capped at :func:`decode_threads`.

    Streams must not be touched after the block: their memory goes with the container.

    Raises:
        MediaError: the file is missing, empty, unreadable, a list of others, or nothing FFmpeg can parse; also for reading that fails in
            the block.
    """
    with open_bytes(url) as file:
        try:
            # metadata_errors: titles of old files are often not UTF-8, and that must not keep a film from being read
            container = av.open(file if is_url(url) else av_path(url), "r", metadata_errors="replace")
        except (av.error.FFmpegError, OSError, ValueError) as error:
            hint = "it is not a video, or it is truncated before its index; check it with ffprobe"
            raise MediaError(f"cannot be read as video: {_line(error)}", file=url, hint=hint) from error
        with container:
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


def reading_failed(url: str, error: Exception, frame: int | None = None) -> ReadFailed:
    """The error of a source that opened but then failed: a damaged disk, a lost connection, packets that make no sense."""
    return ReadFailed(f"cannot be read: {_line(error)}", file=url, frame=frame, hint="check disk or network, then run again")


def content_digest(url: str) -> str:
    """sha256 (hex) of the bytes of a local path or URL, read in 8 MiB blocks."""
    digest = hashlib.sha256()
    with open_bytes(url) as file:
        try:
            while block := file.read(BLOCK):
                pulse()
                digest.update(block)
        except OSError as error:
            raise reading_failed(url, error) from error
    return digest.hexdigest()


def _line(error: BaseException) -> str:
    strerror = getattr(error, "strerror", None)
    return str(strerror or error).splitlines()[0] if str(strerror or error) else type(error).__name__


def find_sources(sources: str | Sequence[str]) -> list[str]:
    """Films a folder, a glob or a list of URLs names, sorted and without doubles.

    Raises:
        ConfigError: nothing there.
    """
    found: set[str] = set()
    for source in [sources] if isinstance(sources, str) else sources:
        if files.list_names(source):
            found |= {files.join(source, name) for name in files.list_names(source) if name.lower().endswith(VIDEO_SUFFIXES)}
        elif "*" in source or "?" in source:
            fs, _ = fsspec.url_to_fs(source)
            found |= {fs.unstrip_protocol(path) if "://" in source else path for path in fs.glob(source)}
        else:
            found.add(source)
    if not found:
        raise ConfigError("no film here", file=str(sources), hint=_instead(sources))
    return sorted(found)


def _instead(sources: str | Sequence[str]) -> str:
    from dvcp.media.sequence import find_sequences  # here: it imports this module

    for folder in [sources] if isinstance(sources, str) else sources:
        with contextlib.suppress(MediaError, StoreError):
            if scans := find_sequences(folder):
                return f"make a film of its pictures ({scans[0].notation}) first: dvcp wrap {folder} --rate 24 --out reel.mkv"
    return "give a folder, a glob or URLs of films"
