"""What a simulated cluster is made of: servers that do one thing after the other, and the figures they work by."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from dvcp.planning.calibration import Calibration

#: CPU seconds of the driver's thread for handing out a segment and for hearing one report: 150 segments of the method "copy" on two lanes,
#: one core of a 2-core cloud machine. Both grow with the number of lanes, which this does not say
DISPATCH_S, EVENT_S = 0.0015, 0.0007


@dataclass
class Server:
    """Does what it is asked in the order it is asked, on ``width`` equal places, and remembers for how long it was busy.

    Attributes:
        width: things done at once.
        busy: seconds of all places together.
    """

    width: int = 1
    busy: float = 0.0
    _free: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._free = [0.0] * self.width

    def ask(self, now: float, seconds: float) -> float:
        """When ``seconds`` of work asked for ``now`` will be done."""
        done = max(now, heapq.heappop(self._free)) + seconds
        heapq.heappush(self._free, done)
        self.busy += seconds
        return done

    def worked(self, now: float) -> float:
        """Seconds of work done by ``now``: what was asked for without what is still to come."""
        return self.busy - sum(max(0.0, free - now) for free in self._free)


@dataclass(frozen=True)
class Pace:
    """Seconds of every stage for films of one picture size.

    Attributes:
        decode, match, propagate, encode: a frame, each in a process of its own (the writer decodes, too); of ``match`` and ``propagate``
            it is GPU time where there are GPUs.
        prepare, deliver, verify: a frame, in the reader that every open film has, before and after it is coloured.
        segment: of a lane, whatever the segment's length.
        dispatch: of the driver, each segment: choosing, sending, its record.
        event: of the driver, each report of a lane: four a segment, and one a second.
        film: of the reader, each film.
        start: of the command.
    """

    decode: float
    match: float
    propagate: float
    encode: float
    prepare: float
    deliver: float
    verify: float
    segment: float
    dispatch: float = DISPATCH_S
    event: float = EVENT_S
    film: float = 0.0
    start: float = 0.0


def pace_of(calibration: Calibration, megapixels: float, out_bytes: float, source_bytes: float, by_cpu: bool = False) -> Pace:
    """The figures of a calibration for one size.

    Args:
        out_bytes, source_bytes: of a frame.
        by_cpu: the machine was busy with other things when it was measured: count the stages' CPU time, not the clock's, where less.
    """
    fixed = calibration.fixed

    def seconds(stage: str) -> float:
        cost = calibration.cost(stage, megapixels)
        return min(cost.wall, cost.cpu) if by_cpu and cost.cpu else cost.wall

    stages = ("decode", "survey", "match", "propagate", "encode", "assemble", "verify")
    decode, survey, match, propagate, encode, join, verify = (seconds(stage) for stage in stages)
    hashed, put = fixed.hash_byte * out_bytes, (fixed.hash_byte + fixed.put_byte) * out_bytes
    return Pace(
        decode, match, propagate, encode, decode + survey + fixed.hash_byte * source_bytes, join + put + hashed,
        decode + verify + 2 * hashed + fixed.hash_byte * source_bytes, fixed.segment, film=fixed.film, start=fixed.start,
    )  # fmt: skip


@dataclass(frozen=True)
class Archive:
    """Films like each other: shots of log-normal lengths.

    Attributes:
        films: how many; frames: of each.
        shot_median, shot_sigma: of the lengths of shots, in frames, and of their logarithm.
        segment_frames: most frames of a segment.
        window: frames of a window.
        bytes_out, bytes_in: of a frame of output, and of source.
    """

    films: int
    frames: int
    shot_median: float = 110.0
    shot_sigma: float = 0.9
    segment_frames: int = 240
    window: int = 8
    bytes_out: float = 1.2e6
    bytes_in: float = 2.5e4


@dataclass(frozen=True)
class Store:
    """An object store.

    Attributes:
        bandwidth: bytes a second of all connections together; ``stream`` of one.
        requests: a second.
        latency: seconds of a request.
        ledger_rate: small objects a second that one prefix takes.
    """

    bandwidth: float = 100e9
    stream: float = 200e6
    requests: float = 5000.0
    latency: float = 0.02
    ledger_rate: float = 3500.0


@dataclass(frozen=True)
class Cluster:
    """Who works.

    Attributes:
        gpus: 0 = stages share ``cores`` instead.
        cores: of the CPU for all lanes together; 0 = as many as asked for.
        lanes: segments under way at once.
        matchers: processes that match.
        films: open at once.
        drivers: each with films of its own.
        mtbf: seconds between two failures of one lane; 0 = none.
        store: where everything lies.
        ahead: windows matched ahead in a lane.
        batch: ledger records put as one object.
        rereads: times each byte of output goes between store and reader at a film's end: segments checked, fetched, checked once more,
            the output put, probed, decoded and hashed.
        overlap: a lane's writer stores a segment while the next one is being coloured.
        seed: of shots and failures.
    """

    gpus: int
    lanes: int
    matchers: int
    films: int
    cores: int = 0
    drivers: int = 1
    mtbf: float = 0.0
    store: Store = field(default_factory=Store)
    ahead: int = 4
    batch: int = 1
    rereads: int = 7
    overlap: bool = False
    seed: int = 1
