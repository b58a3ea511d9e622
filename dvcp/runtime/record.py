"""The actor that stands in the writer's place when intermediates are wanted instead of a film."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import numpy as np
import ray
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from dvcp.colour import chroma_to_unit
from dvcp.media.probe import VideoInfo
from dvcp.media.reader import FrameReader
from dvcp.media.source import stem
from dvcp.ops.codes import to_codes
from dvcp.runtime.actors import Actor
from dvcp.runtime.plan import Segment
from dvcp.runtime.work import Lane, Progress, Work
from dvcp.store.intermediates import Row, RowWriter
from dvcp.store.ledger import Ledger, SegmentRecord
from dvcp.store.provenance import environment
from dvcp.store.scratch import scratch
from dvcp.timing import Span

#: frames of true colour read at a time
_READ = 16


class Recorder(Actor):
    """Puts the film's true colour beside what was proposed for each frame."""

    def write(self, work: Work, segment: Segment, lane: Lane) -> Iterator[Progress | SegmentRecord]:
        """Write a segment's rows and commit them; yields progress, and the record last; a streaming generator.

        Raises: whatever reading, proposing or storing raised; RayActorError when the propagator died.
        """
        work.secrets.apply()
        began, info, identity = time.monotonic(), work.info, segment.identity
        if not segment.legs:
            return
        stream = lane.propagator.propose.options(num_returns="streaming", _generator_backpressure_num_objects=2).remote(work, segment, lane)
        reference = segment.legs[0].references[0].frame
        assert reference is not None
        try:
            with scratch() as folder:
                path, truth, count = os.path.join(folder, "segment.parquet"), None, 0
                with RowWriter(path) as out:
                    for block in stream:
                        frames, planes = ray.get(block)
                        if truth is None:
                            truth = _truth(info, segment.span, planes["gray"].shape[-2:])
                        for k, frame in enumerate(frames):
                            found = {name: plane[k] for name, plane in planes.items()} | {"chroma": truth[frame - segment.span.first]}
                            place = (frame, int(info.frames.pts[frame]), info.frames.timebase)
                            out.write(Row(stem(info.url), identity.source, segment.shot, *place, reference, found))
                        count += len(frames)
                        yield Progress(len(frames))
                yield Ledger(work.ledger).commit(SegmentRecord(identity, count, time.monotonic() - began, environment()), path)
        finally:
            ray.cancel(stream)


def _truth(info: VideoInfo, span: Span, size: tuple[int, ...]) -> NDArray[np.uint8]:
    """True Cb and Cr of ``span`` at the working grid's ``size``, uint8 ``[T, 2, h, w]``: whole, because legs may run backward."""
    parts = []
    with FrameReader(info) as reader:
        for first in range(span.first, span.stop, _READ):
            _, chroma = reader.planes(Span(first, min(first + _READ, span.stop)))
            unit = torch.from_numpy(chroma_to_unit(chroma, info.colour))
            parts.append(to_codes(unit if tuple(unit.shape[-2:]) == size else F.interpolate(unit, size=size, mode="area")))
    return np.concatenate(parts)
