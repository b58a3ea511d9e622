"""``make bench``: what the pipeline costs over the bare loop, how fast the whole command is, and whether memory grows with the film.

With ``--peer exemplar-paper`` the network of Deep Exemplar-based Video Colorization, at its own size but with random weights, is timed on
the same film in the same run, and the ratio printed. The film is made here: moving textures, so that anybody can run it. Every figure is
printed with what it was measured on.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import torch

from dvcp.loop import colorize_frames
from dvcp.media.pixels import plane_view
from dvcp.media.probe import probe
from dvcp.media.reader import FrameReader
from dvcp.media.stills import read_still, reference_from_still, write_still
from dvcp.methods import create
from dvcp.methods.exemplar_paper import NAME as PEER
from dvcp.nets.checkpoints import PARTS
from dvcp.shots.names import still_name
from dvcp.shots.timeline import from_cuts, write_shots
from dvcp.timing import Span

RATE = 24


def make_film(path: Path, frames: int, size: tuple[int, int], seed: int = 1, rate: int = RATE) -> None:
    """A gray H.264 film, ``size`` lines and columns, of one drifting texture, ``rate`` frames a second."""
    height, width = size
    rng = np.random.default_rng(seed)
    texture = rng.integers(30, 220, ((height + 256) // 8, (width + 256) // 8)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "crf": "20", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for k in range(frames):
            y, x = (k * 2) % 200, (k * 3) % 200
            frame = av.VideoFrame(width, height, "yuv420p")
            for index, plane in enumerate((texture[y : y + height, x : x + width], 128, 128)):
                plane_view(frame, index, 8)[:] = plane
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def paint(folder: Path, film: Path, shots: int) -> None:
    """A painted still for the first frame of each of ``shots`` equal shots, and the shot list that says so."""
    info = probe(str(film))
    cuts = [len(info.frames) * k // shots for k in range(1, shots)]
    write_shots(from_cuts(str(film), info.average_rate, len(info.frames), cuts), str(folder / f"{film.stem}_shots.json"))
    y, x = np.mgrid[: info.height, : info.width]
    picture = np.stack([80 + y // 4, 60 + x // 8, 200 - y // 4], -1).astype(np.uint8)
    for number, first in enumerate([0, *cuts], 1):
        write_still(str(folder / still_name(film.stem, number, first)), picture)


class PeakMemory(threading.Thread):
    """Largest sum of proportional set sizes (shared pages divided among their users) of this process and all below it, in MiB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self._stop_now = 0.0, threading.Event()

    def run(self) -> None:
        me = psutil.Process()
        while not self._stop_now.wait(1.0):
            total = 0
            for process in [me, *me.children(recursive=True)]:
                try:
                    total += process.memory_full_info().pss
                except psutil.Error:
                    continue
            self.peak = max(self.peak, total / 2**20)

    def stop(self) -> float:
        """End sampling; the peak in MiB."""
        self._stop_now.set()
        self.join()
        return self.peak


def command(film: Path, stills: Path, out: Path, method: str) -> tuple[float, float, float]:
    """Run ``dvcp colorize``; (seconds in all, seconds of colouring alone, peak MiB)."""
    memory = PeakMemory()
    memory.start()
    began = time.monotonic()
    call = [sys.executable, "-m", "dvcp.cli", "colorize", str(film), "--references", str(stills), "--out", str(out), "--method", method]
    subprocess.run(call, check=True, capture_output=True)
    seconds = time.monotonic() - began
    records = [json.loads(p.read_text()) for p in sorted((out.with_suffix(".dvcp") / "ledger").glob("*.json"))]
    return seconds, sum(r["seconds"] for r in records), memory.stop()


def bare_loop(film: Path, stills: Path, frames: int, method: str, **options: Any) -> float:
    """Frames a second of :func:`dvcp.colorize_frames` on frames already in memory, networks loaded."""
    info = probe(str(film))
    with FrameReader(info) as reader:
        luma = reader.luma(Span(0, frames))
    still = read_still(str(sorted(stills.glob("*.png"))[0]))
    reference, _ = reference_from_still(still, info, luma[0])
    engine = create(method, **options)
    colorize_frames(engine, luma[:3], {0: reference}, info.colour)
    began = time.monotonic()
    colorize_frames(engine, luma, {0: reference}, info.colour)
    return frames / (time.monotonic() - began)


def random_checkpoints(folder: Path) -> None:
    """Files such as the peer's authors released, of the same networks, never trained: their speed is that of the real ones."""
    torch.manual_seed(0)
    for net, name in PARTS.values():
        torch.save(net().state_dict(), folder / name)


def main() -> None:
    """Print the figures as text and, with --out, write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=96, help="frames of the speed test (default 96)")
    parser.add_argument("--method", default="dvcp", help="method of the speed test")
    parser.add_argument("--size", default="854x480", help="WIDTHxHEIGHT of the film (default 854x480; the peer's is 384x216)")
    parser.add_argument("--peer", choices=[PEER], help="time this beside, bare loop, on a twentieth of the frames")
    parser.add_argument("--minutes", type=int, nargs="*", default=[1, 10], help="lengths of the memory test, in minutes of film")
    parser.add_argument(
        "--memory-method", default="copy", help="method of the memory test (a network's own memory does not depend on length)"
    )
    parser.add_argument("--out", type=Path, help="write the figures there as JSON")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    size = (height, width)
    figures: dict[str, object] = {
        "cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "cuda": torch.cuda.is_available(),
        "size": options.size, "frames": options.frames, "method": options.method,
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="dvcp-bench-") as scratch:
        folder = Path(scratch)
        film, stills = folder / "speed.mp4", folder / "speed_painted"
        stills.mkdir()
        make_film(film, options.frames, size)
        paint(stills, film, 1)
        figures["bare_loop_fps"] = round(bare_loop(film, stills, options.frames, options.method), 3)
        seconds, colouring, peak = command(film, stills, folder / "speed_out.mkv", options.method)
        figures["command_fps_with_start"] = round(options.frames / seconds, 3)
        figures["command_fps"] = round(options.frames / colouring, 3)
        figures["pipeline_share_of_bare_loop"] = round(options.frames / colouring / float(str(figures["bare_loop_fps"])), 3)
        figures["command_peak_mib"] = round(peak)
        if options.peer:
            (folder / "peer").mkdir()
            random_checkpoints(folder / "peer")
            peer = bare_loop(film, stills, max(4, options.frames // 20), options.peer, weights=str(folder / "peer"))
            figures[f"{options.peer}_bare_loop_fps"] = round(peer, 4)
            figures[f"command_with_start_over_{options.peer}"] = round(options.frames / seconds / peer, 2)
            figures[f"bare_loop_over_{options.peer}"] = round(float(str(figures["bare_loop_fps"])) / peer, 2)
        for minutes in options.minutes:
            film, stills = folder / f"m{minutes}.mp4", folder / f"m{minutes}_painted"
            stills.mkdir()
            make_film(film, minutes * 60 * RATE, size)
            paint(stills, film, minutes * 12)
            _, _, peak = command(film, stills, folder / f"m{minutes}_out.mkv", options.memory_method)
            figures[f"peak_mib_{minutes}_min_{options.memory_method}"] = round(peak)
    for name, value in figures.items():
        print(f"{name:32} {value}", flush=True)
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
