"""Segments coloured one by one, states handed on through the ledger, against the plain loop; without Ray."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dvcp.colour import unit_to_chroma
from dvcp.loop import colorize_frames
from dvcp.media.probe import VideoInfo, probe
from dvcp.media.reader import FrameReader
from dvcp.methods.base import Evidence, Method, Reference, Window
from dvcp.runtime import actors
from dvcp.runtime.actors import Propagator
from dvcp.runtime.plan import Leg, Planner, ReferenceSource
from dvcp.runtime.work import Lane, Work
from dvcp.shots.timeline import from_cuts
from dvcp.timing import Span
from tests.films import make_film
from tests.trail import Trail

FRAMES = 41


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory) -> VideoInfo:
    return probe(str(make_film(tmp_path_factory.mktemp("actors"), lengths=(FRAMES,), painted=((),), size=(16, 24)).gray))


class Alone(Propagator):
    """Decodes and matches by itself, in place of the actors it would ask."""

    def __init__(self, method: Method, luma: np.ndarray, references: dict[int, Reference]) -> None:  # type: ignore[type-arg]
        super().__init__(0)
        self.one, self.luma, self.references = method, luma, references

    def method(self, work: Work) -> Method:
        return self.one

    def _windows(self, work: Work, lane: Lane, leg: Leg) -> Iterator[tuple[Window, Evidence]]:
        anchor = self.one.anchor([self.references[r.frame] for r in leg.references if r.frame is not None], work.info.colour)
        for part in leg.windows:
            window = Window(tuple(part), self.luma[list(part)], work.info.colour)
            yield window, self.one.match(window, anchor)


@pytest.mark.parametrize("painted", [(), (0,), (17,), (40,), (3, 33), (0, 1, 4, 40)])
def test_segments_equal_the_plain_loop_bit_for_bit(
    info: VideoInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, painted: tuple[int, ...]
) -> None:
    with FrameReader(info) as reader:
        luma = reader.luma(Span(0, FRAMES))
    references = {k: Reference(luma[k], np.full((2, 8, 12), k / 100 - 0.2, np.float32), True, f"{k:064}") for k in painted}
    monkeypatch.setattr(actors, "load_reference", lambda _, source, fields=False: references[source.frame])
    planner = Planner(info, "f" * 64, Trail().digest(), Trail.window.frames, "master", segment_frames=8, automatic=True)
    sources = [ReferenceSource(f"{k}.png", r.digest, k) for k, r in references.items()]
    plan = planner.plan(from_cuts("reel", info.average_rate, FRAMES, []), {1: sources})
    work = Work(info, "trail", (), str(tmp_path / "x.dvcp"), 1)
    found, streamed, loop = {}, Trail(), Trail()
    for segment in plan:
        blocks = list(Alone(streamed, luma, references).colour(work, segment, Lane("alone", None, None, None, ())))
        assert segment.scout == (not blocks)
        assert [frame for span, _, _ in blocks for frame in span] == ([] if segment.scout else list(segment.span))
        found |= {span.first: chroma for span, chroma, _ in blocks}
    wanted = unit_to_chroma(colorize_frames(loop, luma, references, info.colour).planes, info.colour)
    assert np.array_equal(np.concatenate([found[first] for first in sorted(found)]), wanted)
    if painted == (3, 33):
        assert sum(segment.scout for segment in plan) == 3
    # What is crossed backward for its state alone is crossed once by a scout and once, but for its last window, beside the colouring.
    assert {c for c in streamed.calls if c[0] == "join"} == {c for c in loop.calls if c[0] == "join"}
    assert {c for c in streamed.calls if c[0] == "behind"} == {c for c in loop.calls if c[0] == "behind"}
