"""Numbered pictures made on the spot, by other programs than the code under test where there is one."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image


def codes(height: int, width: int, depth: int, seed: int = 0, channels: int | None = None) -> NDArray[Any]:
    """Noise over all codes of the depth: ``[H, W]`` or ``[H, W, channels]``."""
    shape = (height, width) if channels is None else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 1 << depth, shape).astype(np.uint8 if depth == 8 else np.uint16)


def gray_dpx(path: Path, gray: NDArray[Any], depth: int, order: str = ">", timecode: int | None = None, rate: float | None = None) -> None:
    """A DPX with one luma element, laid out by hand after ST 268-1: 10 bit as three samples in 32 bits, the first in the lowest."""
    height, width = gray.shape
    if depth == 10:
        padded = np.pad(gray, ((0, 0), (0, -width % 3))).reshape(height, -1, 3).astype(np.uint32)
        body = (padded[..., 0] << 2 | padded[..., 1] << 12 | padded[..., 2] << 22).astype(order + "u4").tobytes()
    else:
        samples = gray if depth == 8 else (gray.astype(np.uint16) << (16 - depth)).astype(order + "u2")
        rows = np.ascontiguousarray(samples).reshape(height, -1).view(np.uint8)
        body = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4))).tobytes()
    header = bytearray(b"\xff" * 2048)
    struct.pack_into(order + "4sI8sI", header, 0, b"SDPX" if order == ">" else b"SDPX"[::-1], 2048, b"V1.0", 2048 + len(body))
    header[36:660] = bytes(624)
    struct.pack_into(order + "HHII", header, 768, 0, 1, width, height)
    struct.pack_into(order + "I", header, 780, 0)
    struct.pack_into(order + "BBBBHHI", header, 800, 6, 1, 1, depth, 1, 0, 2048)
    header[1556:1588] = b"Scanner".ljust(32, b"\0")
    header[1664:1680] = b"0107" + b"00" + b"123456" + b"0042"
    if rate is not None:
        struct.pack_into(order + "f", header, 1724, rate)
    if timecode is not None:
        struct.pack_into(order + "I", header, 1920, timecode)
    path.write_bytes(bytes(header) + body)


def ffmpeg_dpx(path: Path, picture: NDArray[Any], pix_fmt: str) -> None:
    """A DPX by FFmpeg's encoder: gray ``[H, W]`` or RGB ``[H, W, 3]``."""
    encoder: Any = av.CodecContext.create("dpx", "w")
    height, width = picture.shape[:2]
    encoder.width, encoder.height, encoder.pix_fmt, encoder.framerate = width, height, pix_fmt, 24
    frame = av.VideoFrame(width, height, pix_fmt)
    planes = np.moveaxis(picture[..., [1, 2, 0]], -1, 0) if pix_fmt.startswith("gbr") else [picture.reshape(height, -1)]
    for plane, samples in zip(frame.planes, planes, strict=True):
        item = samples.itemsize
        rows = np.frombuffer(plane, samples.dtype).reshape(plane.height, plane.line_size // item)
        rows[:, : samples.shape[1]] = samples
    path.write_bytes(b"".join(bytes(p) for p in [*encoder.encode(frame), *encoder.encode(None)]))


def tiff(path: Path, picture: NDArray[Any], **options: Any) -> None:
    """A TIFF by tifffile."""
    tifffile.imwrite(path, picture, metadata=None, **options)


def png(path: Path, gray: NDArray[Any]) -> None:
    """A gray PNG by Pillow."""
    Image.fromarray(gray).save(path)


def gray_tiffs(folder: Path, numbers: list[int], depth: int = 16, name: str = "reel.{:04d}.tif") -> list[NDArray[Any]]:
    """A sequence of gray TIFFs of noise; returns its pictures."""
    folder.mkdir(exist_ok=True)
    pictures = [codes(32, 49, depth, number) for number in numbers]
    for number, picture in zip(numbers, pictures, strict=True):
        tiff(folder / name.format(number), picture)
    return pictures


def ffmpeg_samples(path: Path | str, pix_fmt: str) -> bytes:
    """What Debian's ffmpeg decodes, as raw samples."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "rawvideo", "-fps_mode", "passthrough", "-pix_fmt", pix_fmt, "-"]
    return tool(command)


def ffprobe(path: Path | str, entries: str) -> str:
    """Debian's ffprobe on the first frame or the stream."""
    command = ["ffprobe", "-v", "error", "-show_entries", entries, "-of", "default=nk=1:nw=1", str(path)]
    return tool(command).decode()


def tool(command: list[str]) -> bytes:
    """What a program of the system prints. Skips the test where it is not installed."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"needs {command[0]}")
    return subprocess.run(command, capture_output=True, check=True).stdout
