"""Single pictures of a sequence, sample by sample: DPX, TIFF and PNG in as they are, RGB out."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from dvcp.errors import ConfigError, MediaError
from dvcp.media import dpx, tiff
from dvcp.media.pixels import packed_view, plane_view
from dvcp.media.probe import LIMITED_RANGE, MATRICES, UNSPECIFIED
from dvcp.media.source import open_bytes, reading_failed
from dvcp.methods.base import Samples

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
#: a picture of more is damage or an attack: 8K scans have 50 million
MOST_PIXELS = 1 << 29
_GRAY = re.compile(r"gray(?P<depth>10|12|14|16)?(le|be)?")
_PLANAR = re.compile(r"gbrp(?P<depth>10|12|14|16)?(le|be)?")
_PACKED = re.compile(r"rgb(?P<bits>24|48)(le|be)?")


@dataclass(frozen=True, eq=False)
class SourcePicture:
    """A picture as its file has it.

    Attributes:
        url: where it was read.
        samples: gray ``[H, W]`` or RGB ``[H, W, 3]``, uint8 for 8 bits, else uint16 with values below ``1 << depth``.
        depth: bits a sample.
        limited: its header says that black and white are those of video (64 and 940 in 10 bits).
        digest: sha256 (hex) of the file.
        header: what else its header says, as JSON types.
        primaries, transfer, matrix: CICP codes as far as the header has them, 2 = unspecified.
    """

    url: str
    samples: Samples
    depth: int
    limited: bool
    digest: str
    header: dict[str, Any]
    primaries: int
    transfer: int
    matrix: int

    @property
    def sample_aspect(self) -> Fraction:
        """Width of a sample over its height."""
        return Fraction(self.header.get("pixel_aspect", 1))

    @property
    def shape(self) -> str:
        """``2048x1556, 10 bit``."""
        return f"{self.samples.shape[1]}x{self.samples.shape[0]}, {self.depth} bit"


def read_picture(url: str) -> SourcePicture:
    """Read one DPX, TIFF or PNG from a local path or URL, without any conversion of samples.

    Raises:
        MediaError: missing, empty, truncated, damaged, several pictures in one file, or samples that are neither gray nor RGB.
    """
    with open_bytes(url) as file:
        try:
            data = file.read()
        except OSError as error:
            raise reading_failed(url, error) from error
    codec, header = _kind(data, url)
    frame = _decoded(data, codec, url)
    samples, depth = _samples(frame, url)
    if header.get("bits", depth) != depth:
        raise MediaError(f"has {header['bits']} bit samples, which are not read", file=url, hint="convert it to 8, 10, 12 or 16 bit")
    # the transfer FFmpeg gives a gray TIFF is a guess, not in the file
    transfer = UNSPECIFIED if codec == "tiff" else frame.color_trc
    matrix = frame.colorspace if frame.colorspace in MATRICES else UNSPECIFIED
    return SourcePicture(
        url, samples, depth, frame.color_range == LIMITED_RANGE, hashlib.sha256(data).hexdigest(), header, frame.color_primaries,
        transfer, matrix,
    )  # fmt: skip


def _kind(data: bytes, url: str) -> tuple[str, dict[str, Any]]:
    if data[:4] in dpx.MAGICS:
        if trouble := dpx.fault(data):
            raise MediaError(trouble, file=url, hint="copy it again from its source, or write one plain gray or RGB picture a file")
        return "dpx", dpx.read_header(data)
    if data[:4] in tiff.MAGICS:
        header = tiff.read_header(data)
        if trouble := tiff.fault(data):
            raise MediaError(trouble, file=url, hint="copy it again from its source, or save it as a TIFF in strips")
        if header.get("pages", 1) > 1:
            raise MediaError(f"holds {header['pages']} pictures", file=url, hint="write one picture a file")
        return "tiff", header
    if data[:4] in tiff.BIG_MAGICS:
        raise MediaError("is a BigTIFF", file=url, hint="save it as a plain TIFF")
    if data[:8] == PNG_MAGIC:
        return "png", {}
    raise MediaError("is no DPX, TIFF or PNG", file=url, hint="it is damaged or misnamed; copy or convert it again")


def _decoded(data: bytes, codec: str, url: str) -> VideoFrame:
    options = {"max_pixels": str(MOST_PIXELS)}
    if codec == "png":
        # without it the missing rows of a truncated PNG become black in silence; TIFF: see tiff.fault
        options["err_detect"] = "crccheck+explode"
    try:
        decoder = cast(VideoCodecContext, av.CodecContext.create(codec, "r"))
        decoder.options, decoder.thread_count = options, 1
        frames = [*decoder.decode(Packet(data)), *decoder.decode(None)]
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise MediaError("cannot be read as a picture", file=url, hint="it is truncated or damaged; copy it again") from error
    if not frames or frames[0].is_corrupt:
        raise MediaError("cannot be read as a picture", file=url, hint="it is truncated or damaged; copy it again")
    return frames[0]


def _samples(frame: VideoFrame, url: str) -> tuple[Samples, int]:
    name = frame.format.name
    if match := _GRAY.fullmatch(name):
        depth = int(match["depth"] or 8)
        return _native(plane_view(frame, 0, depth), depth), depth
    if match := _PLANAR.fullmatch(name):
        depth = int(match["depth"] or 8)
        return _native(np.stack([plane_view(frame, index, depth) for index in (2, 0, 1)], axis=-1), depth), depth
    if match := _PACKED.fullmatch(name):
        depth = int(match["bits"]) // 3
        kind: np.dtype[Any] = np.dtype(np.uint8 if depth == 8 else (">u2" if frame.format.is_big_endian else "<u2"))
        rows = packed_view(frame, 0, kind)[:, : frame.width * 3]
        return _native(rows.reshape(frame.height, frame.width, 3), depth), depth
    hint = "works with gray and RGB of 8, 10, 12 or 16 bits, without alpha or palette; convert it"
    raise MediaError(f"has samples of the kind {name}", file=url, hint=hint)


def _native(samples: NDArray[Any], depth: int) -> Samples:
    """A copy in the machine's byte order."""
    native: Samples = np.array(samples, dtype=np.uint8) if depth == 8 else np.array(samples, dtype=np.uint16)
    return native


def tiff_of(rgb: NDArray[Any]) -> bytes:
    """The TIFF file, uncompressed, of RGB ``[H, W, 3]``, uint8 or uint16 over the full scale."""
    return _encoded(rgb, "tiff", "rgb48le" if rgb.dtype == np.uint16 else "rgb24", {"compression_algo": "raw"})


def png_of(picture: NDArray[Any]) -> bytes:
    """The PNG file of RGB ``[H, W, 3]`` or gray ``[H, W]``, uint8 or uint16 over the full scale."""
    deep = picture.dtype == np.uint16
    if picture.ndim == 2:
        return _encoded(picture, "png", "gray16be" if deep else "gray", {})
    return _encoded(picture, "png", "rgb48be" if deep else "rgb24", {})


def _encoded(picture: NDArray[Any], codec: str, pix_fmt: str, options: dict[str, str]) -> bytes:
    height, width = picture.shape[:2]
    encoder = cast(VideoCodecContext, av.CodecContext.create(codec, "w"))
    # bitexact: otherwise the TIFF names FFmpeg's version, and the same picture would have other bytes after an update
    encoder.width, encoder.height, encoder.pix_fmt, encoder.options = width, height, pix_fmt, options | {"flags": "+bitexact"}
    encoder.framerate, encoder.time_base, encoder.thread_count = Fraction(1), Fraction(1), 1
    frame = VideoFrame(width, height, pix_fmt)
    kind: np.dtype[Any] = np.dtype(np.uint8 if picture.dtype == np.uint8 else (">u2" if frame.format.is_big_endian else "<u2"))
    rows = picture.reshape(height, -1)
    packed_view(frame, 0, kind)[:, : rows.shape[1]] = rows
    try:
        return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
    except av.error.FFmpegError as error:
        raise ConfigError(f"{width}x{height} cannot be written as {codec}", hint="choose another --format") from error
