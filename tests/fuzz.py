"""Damage without end: sound files with bytes flipped, cut out, doubled and exchanged, through everything that reads them.

``python -m tests.fuzz --minutes 10 [--seed 7] [--keep FOLDER]``. Anything but a result or an error of one line is a finding: its file is
kept, and the exit code is 1. The same seed makes the same files.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import math
import random
import re
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from dvcp.errors import DvcpError
from dvcp.media.probe import probe
from dvcp.media.reader import FrameReader
from dvcp.media.stills import read_still
from dvcp.pulse import pulse
from dvcp.runtime.expendable import Expendable
from dvcp.timing import Span
from tests.broken_pictures import colours, saved, tiff, with_orientation
from tests.broken_seeds import Seeds

#: seconds without a sign of life that count as a hang
SILENCE_S = 20
MEMORY_MB = 2048
#: numbers that lengths and counts like least
NASTY = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
PNG = b"\x89PNG\r\n\x1a\n"
#: most frames of one file that are read
FRAMES = 40


@dataclass
class Tally:
    """What became of the files so far."""

    outcomes: collections.Counter[str] = field(default_factory=collections.Counter)
    findings: list[str] = field(default_factory=list)


def main() -> int:
    """Run for the time asked; 1 when there was a finding."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--minutes", type=float, default=1)
    options.add_argument("--seed", type=int, default=None)
    options.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "dvcp-fuzz")
    given = options.parse_args()
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}", flush=True)
    tally = run(seed, given.minutes * 60, given.keep)
    for outcome, count in sorted(tally.outcomes.items()):
        print(f"{count:8d}  {outcome}")
    print("\n".join(tally.findings) or "no finding")
    return 1 if tally.findings else 0


def run(seed: int, seconds: float, keep: Path, most: float = math.inf) -> Tally:
    """Damage and read files for so many seconds, and no more than ``most``; files of findings go to ``keep``."""
    rng, tally = random.Random(seed), Tally()
    with tempfile.TemporaryDirectory(prefix="dvcp-fuzz-") as scratch, Expendable(SILENCE_S, MEMORY_MB) as child:
        films, pictures = _films(Path(scratch) / "seeds"), _pictures()
        end = time.monotonic() + seconds
        while time.monotonic() < end and tally.outcomes.total() < most:
            read, kinds = (read_picture, pictures) if rng.random() < 0.3 else (read_film, films)
            name = rng.choice(sorted(kinds))
            data = damaged(kinds[name], list(kinds.values()), rng)
            if data.startswith(PNG) and rng.random() < 0.7:
                data = sealed(data)
            path = Path(scratch) / f"fuzz{Path(name).suffix}"
            path.write_bytes(data)
            # objects of Python are read in another way than files
            url = f"file://{path}" if rng.random() < 0.2 else str(path)
            finding = examine(read, url, child, tally.outcomes)
            if finding:
                keep.mkdir(parents=True, exist_ok=True)
                kept = keep / f"{hashlib.sha256(data).hexdigest()[:12]}-{name}"
                kept.write_bytes(data)
                tally.findings.append(f"{kept}: {finding}")
                print(tally.findings[-1], file=sys.stderr, flush=True)
    return tally


def examine(read: Callable[[str], int], url: str, child: Expendable, outcomes: collections.Counter[str]) -> str | None:
    """Read one file; what is wrong with how that went, or None."""
    kind = read.__name__
    try:
        peak = child.call(read, url, file=url)
    except DvcpError as error:
        text = str(error)
        outcomes[f"{kind}: {type(error).__name__}: {_shape(error.message)}"] += 1
        if "the process that read it" in text or "more memory than" in text:
            return text
        return None if text.startswith(url) and "\n" not in text and error.hint else f"not an error of one line with a hint: {text!r}"
    except Exception as error:
        outcomes[f"{kind}: {type(error).__name__}"] += 1
        return f"{type(error).__name__}: {error} {getattr(error, '__notes__', '')}"
    outcomes[f"{kind}: read"] += 1
    if peak > MEMORY_MB:
        child.close()
        return f"takes {peak} MiB"
    return None


def read_film(url: str) -> int:
    """Probe a film and read its frames one by one, then some at a place in the middle; most memory this process ever had, in MiB."""
    info = probe(url)
    count = len(info.frames)
    with FrameReader(info) as reader:
        for frame in [*range(min(count, FRAMES)), count - 1, count // 2]:
            pulse()
            try:
                planes = reader.planes(Span(frame, frame + 1))
            except DvcpError:
                continue
            assert planes[0].shape == (1, info.height, info.width)
    return _most_memory()


def read_picture(url: str) -> int:
    """Read a still, whole and small; most memory this process ever had, in MiB."""
    small = read_still(url, 1000)
    whole = read_still(url)
    assert whole.rgb.shape[-1] == 3 and small.digest == whole.digest and np.isfinite(whole.rgb).all()
    return _most_memory()


def _most_memory() -> int:
    # Not getrusage's ru_maxrss: it begins with that of the process that started this one.
    told = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    assert told
    return int(told[1]) >> 10


def damaged(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """One to six wounds. Headers are a small part of a file and most of what is parsed: half of the wounds are near an end."""
    work = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        if not work:
            break
        at = rng.randrange(len(work)) if rng.random() < 0.5 else _near_an_end(len(work), rng)
        length = min(rng.choice((1, 2, 4, 16, 200, 3000)), len(work) - at)
        match rng.randrange(8):
            case 0 | 1:
                work[at] ^= 1 << rng.randrange(8)
            case 2:
                work[at : at + length] = rng.randbytes(length)
            case 3:
                number = rng.choice(NASTY).to_bytes(4, rng.choice(("big", "little")))
                work[at : at + 4] = number if rng.random() < 0.5 else number.strip(b"\0") or b"\0"
            case 4:
                del work[at : at + length]
            case 5:
                work[at:at] = work[at : at + length] * rng.choice((1, 2, 30))
            case 6:
                other = rng.choice(others)
                start = rng.randrange(len(other))
                work[at : at + length] = other[start : start + length]
            case 7 if rng.random() < 0.3:
                del work[at:]
    return bytes(work)


def sealed(data: bytes) -> bytes:
    """A PNG with the right checksum in every chunk: without one, damage is not parsed any further."""
    work, at = bytearray(data), len(PNG)
    while at + 12 <= len(work):
        end = at + 8 + int.from_bytes(work[at : at + 4], "big")
        work[end : end + 4] = zlib.crc32(work[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(work)


def _near_an_end(length: int, rng: random.Random) -> int:
    depth = min(length - 1, int(rng.expovariate(1 / 400)))
    return depth if rng.random() < 0.7 else length - 1 - depth


def _shape(message: str) -> str:
    """A message without its numbers: one line of the tally for all errors of a kind."""
    return "".join("#" if c.isdigit() else c for c in message.partition(" (")[0])


def _films(folder: Path) -> dict[str, bytes]:
    seeds = Seeds(folder)
    return {kind: seeds.bytes(kind) for kind in Seeds.KINDS}


def _pictures() -> dict[str, bytes]:
    image, deep = Image.fromarray(colours()), colours(dtype=np.uint16)
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "green", "blue")]
    return {
        "rgb.png": saved(image, "PNG"),
        "palette.png": saved(image.quantize(16), "PNG", transparency=0),
        "deep.png": saved(Image.fromarray(deep[..., 0].copy()), "PNG"),
        "rgb.tif": saved(image, "TIFF", compression="tiff_lzw"),
        "deep.tif": tiff(deep, compression="zlib"),
        "cmyk.tif": saved(image.convert("CMYK"), "TIFF"),
        "turned.jpg": saved(image, "JPEG", exif=with_orientation(6)),
        "cmyk.jpg": saved(image.convert("CMYK"), "JPEG", progressive=True),
        "still.webp": saved(image, "WEBP", lossless=True),
        "moving.webp": saved(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        "moving.gif": saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "flat.bmp": saved(image, "BMP"),
    }


if __name__ == "__main__":
    from tests import fuzz  # the child cannot import what lives in __main__

    sys.exit(fuzz.main())
