from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest

from dvcp.media.probe import probe
from dvcp.media.profiles import ACCESS, MASTER, MEZZANINE
from dvcp.media.timecode import timecode_fate
from tests.unit.media_clips import deliver

NTSC = Fraction(30000, 1001)


@pytest.mark.parametrize("timecode, rate, fate", [
    ("10:00:00:00", Fraction(25), "kept"),
    ("01:00:00;00", NTSC, "kept"),
    ("01:01:00;02", NTSC, "kept"),
    ("01:10:00;00", NTSC, "kept"),
    ("01:02:03;04", 2 * NTSC, "kept"),
    ("01:02:03:04", NTSC, "kept"),
    ("01:01:00;01", NTSC, "changed"),  # no such number: the first two of the minute are dropped
    ("10:00:00:25", Fraction(25), "changed"),
    ("24:00:00:00", Fraction(24), "kept"),
    ("01:02:03.04", NTSC, "changed"),
    ("10:00:00;00", Fraction(25), "refused"),
    ("reel 4", Fraction(25), "refused"),
    ("1:2:3:4", Fraction(25), "changed"),
])  # fmt: skip
def test_what_is_foretold_is_what_mov_and_mp4_write(tmp_path: Path, timecode: str, rate: Fraction, fate: str) -> None:
    source = str(tmp_path / "in.mkv")
    with av.open(source, "w") as container:
        stream = container.add_stream("ffv1", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        stream.metadata["timecode"] = timecode
        for k in range(2):
            frame = av.VideoFrame(32, 32, "yuv420p")
            frame.pts, frame.time_base = k, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    info = probe(source)
    assert timecode_fate(timecode, info.average_rate, "matroska") == ("kept", timecode)
    assert probe(deliver(source, tmp_path, MASTER)[0]).timecode == timecode
    for profile in (MEZZANINE, ACCESS):
        assert timecode_fate(timecode, info.average_rate, profile.container)[0] == fate
        out, warnings = deliver(source, tmp_path, profile)
        found = probe(out).timecode
        assert {"kept": found == timecode, "changed": found not in (None, timecode), "refused": found is None}[fate]
        assert len(warnings) == (fate == "refused")
