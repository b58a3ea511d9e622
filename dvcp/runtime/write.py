"""The Ray actor that makes segments into files of the ledger."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from dvcp.errors import MediaError
from dvcp.media.profiles import profile_of
from dvcp.media.reader import FrameReader
from dvcp.media.writer import SegmentWriter
from dvcp.methods.base import Samples
from dvcp.runtime.actors import Actor
from dvcp.runtime.meter import SEGMENT
from dvcp.runtime.plan import Segment
from dvcp.runtime.work import Lane, Progress, Work
from dvcp.store.ledger import Ledger, SegmentRecord
from dvcp.store.provenance import environment
from dvcp.store.scratch import scratch
from dvcp.timing import Span

#: luma and chroma of some frames, native samples, and their mean confidence in [0, 1]
Pictures = tuple[Samples, Samples, float]
#: seconds between two reports of progress: each is an event that the driver of a thousand lanes has to take
_REPORT_S = 1


class Writer(Actor):
    """Puts the film's own luma beside the new chroma. It decodes the luma itself, so on the way out luma never meets a network."""

    def write(self, work: Work, segment: Segment, lane: Lane) -> Iterator[Progress | SegmentRecord]:
        """Encode a segment and commit it; yields progress, and the record last. A scout yields progress only; a streaming generator.

        Raises: whatever reading, colouring, encoding or storing raised; RayActorError when the propagator died.
        """
        work.secrets.apply()
        began, sure, count, told = time.monotonic(), 0.0, 0, 0
        due = began
        if segment.scout:
            for _ in self._colours(work, segment, lane):
                pass
            return
        with scratch() as folder:
            path = os.path.join(folder, "segment.mkv")
            encoder = SegmentWriter(path, work.info, profile_of(segment.identity.profile))
            with _of_the_film(work, segment, path), FrameReader(work.info) as reader, encoder as out:
                pictures = self._coloured(work, segment, lane, reader) if segment.coloured else _as_it_is(work, segment, reader)
                for luma, chroma, confidence in pictures:
                    with self.meter.work(len(luma)):
                        out.write(luma, chroma)
                    sure, count = sure + confidence * len(luma), count + len(luma)
                    if time.monotonic() >= due:
                        yield Progress(count - told)
                        told, due = count, time.monotonic() + _REPORT_S
            yield Progress(count - told)
            record = SegmentRecord(
                segment.identity, count, time.monotonic() - began, environment(),
                {} if segment.through else {"confidence_mean": round(sure / max(1, count), 4)},
            )  # fmt: skip
            with self.meter.work():
                committed = Ledger(work.ledger).commit(record, path)
            SEGMENT.tell(record.seconds)
            yield committed

    def _coloured(self, work: Work, segment: Segment, lane: Lane, reader: FrameReader) -> Iterator[Pictures]:
        damaged, none = np.array(work.info.damaged, np.int64), 1 << (work.info.colour.depth - 1)
        for span, chroma, confidence in self._colours(work, segment, lane):
            lost = np.isin(np.arange(span.first, span.stop), damaged)
            if lost.any():
                chroma = np.where(lost[:, None, None, None], chroma.dtype.type(none), chroma)
            with self.meter.work():
                luma = reader.luma(span)
            yield luma, chroma, confidence

    def _colours(self, work: Work, segment: Segment, lane: Lane) -> Iterator[tuple[Span, NDArray[Any], float]]:
        stream = lane.propagator.colour.options(num_returns="streaming", _generator_backpressure_num_objects=2).remote(work, segment, lane)
        try:
            for block in stream:
                yield ray.get(block)
        finally:
            ray.cancel(stream)


@contextlib.contextmanager
def _of_the_film(work: Work, segment: Segment, path: str) -> Iterator[None]:
    """What the encoder says of the file ``path``, which nobody will ever see, as an error of the film and the shot."""
    try:
        yield
    except MediaError as error:
        if error.file != path:
            raise
        frame = segment.span.first
        raise MediaError(error.message, file=work.info.url, shot=segment.shot, frame=frame, hint=error.hint) from error


def _as_it_is(work: Work, segment: Segment, reader: FrameReader) -> Iterator[Pictures]:
    """Frames that nothing is carried into: with the chroma they have, or with none."""
    step, none = work.ahead * 8, 1 << (work.info.colour.depth - 1)
    for first in range(segment.span.first, segment.span.stop, step):
        luma, chroma = reader.planes(Span(first, min(first + step, segment.span.stop)))
        yield luma, chroma if segment.through else np.full_like(chroma, none), float(segment.through)
