from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from dvcp.media.probe import probe
from dvcp.media.reader import FrameReader
from dvcp.media.stills import frame_to_rgb
from dvcp.methods import create
from dvcp.runtime.references import Missing, assign
from dvcp.shots.references import find_references
from dvcp.shots.timeline import from_cuts
from dvcp.timing import Span
from tests.unit.media_clips import make_film, ramp


def test_what_was_odd_about_a_still_reaches_the_person_once(tmp_path: Path) -> None:
    info = probe(make_film(tmp_path / "reel.mkv", ramp(6, 48, 64)))
    shots = from_cuts(info.url, info.average_rate, 6, [3])
    with FrameReader(info) as reader:
        frames = reader.planes(Span(0, 4))
    folder = tmp_path / "stills"
    folder.mkdir()
    for shot, frame, alpha in ((1, 0, 255), (2, 3, 200)):
        picture = frame_to_rgb(frames[0][frame], frames[1][frame], info.colour)
        layer = np.dstack([picture, np.full(picture.shape[:2], alpha, np.uint8)])
        Image.fromarray(layer).resize((32, 24)).save(folder / f"reel_s{shot:04d}_f{frame:06d}.png")
    pictures, _ = find_references(str(folder), shots, "reel")
    assigned, warnings = assign(info, shots, pictures, Missing.GRAY, method=create("copy"))
    assert [len(one.sources) for one in assigned] == [1, 1]
    odd = f"{folder}/reel_s0002_f000003.png: is transparent in 100 % of it: that is taken as unpainted, without colour"
    assert warnings.count(odd) == 1 and sum("transparent" in line for line in warnings) == 1
    assert sum(line.count("32x24 picture scaled") for line in warnings) == 2
    assert all(line.count(str(folder)) == 1 for line in warnings)
