"""The actors of a run: lanes, each whole on one node, and matchers, spread over all; made as nodes join, given up as nodes leave."""

from __future__ import annotations

import logging
import math
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.placement_group import PlacementGroup, placement_group, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from dvcp.errors import ConfigError
from dvcp.runtime.actors import Decoder, Matcher, Propagator
from dvcp.runtime.cluster import ENVIRONMENT, computing_nodes, sizes
from dvcp.runtime.settings import PoolSettings
from dvcp.runtime.work import Lane
from dvcp.runtime.write import Writer

log = logging.getLogger(__name__)

#: seconds actors may take to come back before others are made in their place: their node is gone
REVIVE_S = 30
#: seconds a lane may look for room before that is said: nodes of a cluster that grows come within minutes, but a person should know
ROOM_S = 60
#: seconds between two looks at the nodes
_LOOK_S = 2
#: CPU shares of an actor: mostly they wait for each other, and Ray must not refuse them for it
_WRITER, _PROPAGATOR, _DECODER, _MATCHER = 0.05, 0.4, 0.05, 0.2
_LANE_CPU = _WRITER + _PROPAGATOR + _DECODER


@dataclass(eq=False)
class _Member:
    """One lane or one matcher.

    Attributes:
        actors: handles; of a lane its writer, propagator and decoder.
        group: where a lane's actors are kept together.
        pings: unanswered calls of ``alive``.
        since: when their time began to run, on the monotonic clock; infinite for those that have all the time they need.
        nodes: ids of the nodes that answered, empty before the first start.
        busy: a lane that is at work.
    """

    name: str
    actors: tuple[Any, ...]
    group: PlacementGroup | None = None
    pings: list[Any] = field(default_factory=list)
    since: float = 0.0
    nodes: frozenset[str] = frozenset()
    busy: bool = False

    def ping(self) -> None:
        """Ask all actors whether they are there."""
        self.pings, self.since = [actor.alive.remote() for actor in self.actors], time.monotonic()

    def doubt(self, since: float) -> None:
        """Ask, unless that was done and no answer has come; time runs from ``since`` at the latest."""
        if self.pings:
            self.since = min(self.since, since)
        else:
            self.ping()
            self.since = since

    def answered(self) -> bool:
        """Whether all have answered by now. Raises RayError when one is gone for good."""
        if self.pings:
            ready, waiting = ray.wait(self.pings, num_returns=len(self.pings), timeout=0)
            if waiting:
                return False
            self.nodes, self.pings = frozenset(ray.get(ready)), []
        return True


class Fleet:
    """All lanes and matchers of one run. Use as a context manager; not safe for threads.

    A lane is a placement group: its propagator and its decoder share a node, so windows of luma never cross the network. A process that
    dies is restarted by Ray; a node that dies takes its lanes along, and others are made, which wait until there is room. Where
    the settings leave the number of lanes open, it follows the nodes.
    """

    def __init__(self, settings: PoolSettings, writer: type = Writer) -> None:
        """
        Args:
            settings: how many actors and what each gets.
            writer: class of the actor that keeps what its lane makes.
        """
        self._settings, self._writer = settings, writer
        self._sizes = sizes(settings)
        self._lanes: list[_Member] = []
        self._matchers: list[_Member] = []
        self._made, self._looked = 0, 0.0
        #: lanes of which was said that they find no room
        self._roomless = 0
        #: members given up because they did not come back
        self.replaced = 0
        log.info("%s", self._sizes)
        self._fill(_alive())

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        for member in [*self._lanes, *self._matchers]:
            _end(member)

    @property
    def lanes(self) -> tuple[int, int]:
        """(those that can work or are at work, all)."""
        return sum(1 for lane in self._lanes if not lane.pings), len(self._lanes)

    @property
    def matchers(self) -> tuple[int, int]:
        """(those that are up, all)."""
        return sum(1 for matcher in self._matchers if not matcher.pings), len(self._matchers)

    @property
    def open_mb(self) -> int:
        """MiB of decoded pictures that each lane may have waiting, so that no node's object store has to spill them."""
        return self._sizes.open_mb

    def tend(self) -> None:
        """See who is there. To be called once in a while: never waits."""
        for member in [*self._lanes, *self._matchers]:
            try:
                late = not member.answered() and member.nodes and time.monotonic() - member.since > REVIVE_S
            except RayError:
                late = True
            if late and not member.busy:
                self._replace(member)
        if time.monotonic() - self._looked > _LOOK_S:
            self._looked = time.monotonic()
            self._look()

    def take(self) -> Lane | None:
        """A lane that nobody uses, with every matcher that is up; None when there is none now."""
        matchers = tuple(matcher.actors[0] for matcher in self._matchers if not matcher.pings)
        lane = next((lane for lane in self._lanes if not lane.busy and not lane.pings), None)
        if lane is None or not matchers:
            return None
        lane.busy = True
        # Each lane begins with another matcher: all beginning with the first would make it the one they all wait for.
        first = self._lanes.index(lane) % len(matchers)
        writer, propagator, decoder = lane.actors
        return Lane(lane.name, writer, propagator, decoder, matchers[first:] + matchers[:first])

    def give_back(self, lane: Lane, *, lost: bool = False) -> None:
        """A lane's work is done; or it was lost, because a process died, and the lane is used again when all of it is back."""
        member = self._of(lane)
        member.busy = False
        if lost:
            member.ping()
            # It may have been a matcher's process. Until Ray notices that a node is dead (15 s, longer on a busy one) its matcher passes
            # for alive, and a segment was given up that began with it four times. One that only has much to do may take its time.
            self._doubt_matchers(since=math.inf)
            self._looked = 0.0

    def gone(self, lane: Lane) -> bool:
        """Whether the node of a lane has left."""
        member = self._of(lane)
        return not member.nodes <= _alive()

    def kill(self, lane: Lane) -> None:
        """End the processes of a lane that says nothing any more; Ray starts them again. A matcher may be what hangs: all are asked."""
        for actor in (lane.decoder, lane.propagator, lane.writer):
            ray.kill(actor, no_restart=False)
        self._doubt_matchers(since=time.monotonic())

    def _doubt_matchers(self, since: float) -> None:
        for matcher in self._matchers:
            matcher.doubt(since)

    def _of(self, lane: Lane) -> _Member:
        return next(member for member in self._lanes if member.name == lane.name)

    def _look(self) -> None:
        alive = _alive()
        for matcher in self._matchers:
            # Its callers wait for its restart, and where there is no room for it they would wait for ever.
            if not matcher.nodes <= alive:
                matcher.doubt(since=time.monotonic())
        for lane in self._lanes:
            if not lane.busy and not lane.pings and not lane.nodes <= alive:
                lane.ping()
        self._say_who_waits()
        # With no node there is nothing to count: the last known numbers stand until one is back.
        if computing_nodes():
            with suppress(ConfigError):
                # Only the counts: another number of threads rounds sums differently, and a node that leaves must not show in the picture.
                there = sizes(self._settings)
                self._sizes = replace(self._sizes, lanes=there.lanes, matchers=there.matchers)
            self._fill(alive)

    def _say_who_waits(self) -> None:
        """A lane without room waits in silence, and who asked for it would believe that it works. Said once for each more."""
        never = [lane for lane in self._lanes if lane.group and not lane.nodes and time.monotonic() - lane.since > ROOM_S]
        if len(never) <= self._roomless:
            return
        # The others are only slow to start.
        count = sum(placement_group_table(lane.group)["state"] == "PENDING" for lane in never)
        if count > self._roomless:
            self._roomless = count
            gpus = f" and {self._sizes.propagator_gpus:g} GPUs" * (self._sizes.propagator_gpus > 0)
            needs = f"{_LANE_CPU:g} CPUs{gpus} on one node"
            log.warning("%d of %d propagators find no room: each needs %s; ask for fewer, or add nodes", count, len(self._lanes), needs)

    def _fill(self, alive: set[str]) -> None:
        # Matchers first: lanes that take all there is would wait for them for ever.
        while len(self._matchers) < self._sizes.matchers:
            self._matchers.append(self._matcher())
        while len(self._lanes) < self._sizes.lanes:
            self._lanes.append(self._lane())
        for members, wanted in ((self._lanes, self._sizes.lanes), (self._matchers, self._sizes.matchers)):
            # Those whose node is gone before those that never began, and these before one that is slow to answer.
            idle = sorted((m for m in members if m.pings and not m.busy), key=lambda m: (m.nodes <= alive, m.nodes != frozenset()))
            for member in idle[: max(0, len(members) - wanted)]:
                members.remove(member)
                _end(member)

    def _replace(self, member: _Member) -> None:
        log.warning("%s did not come back in %d s; another is made in its place", member.name, REVIVE_S)
        self.replaced += 1
        _end(member)
        members, make = (self._lanes, self._lane) if member.group else (self._matchers, self._matcher)
        members[members.index(member)] = make()

    def _lane(self) -> _Member:
        gpus = self._sizes.propagator_gpus
        group = placement_group([{"CPU": _LANE_CPU} | ({"GPU": gpus} if gpus else {})], strategy="STRICT_PACK")
        there = PlacementGroupSchedulingStrategy(group)
        actors = (
            _actor(self._writer, cpu=_WRITER, where=there),
            _actor(Propagator, self._sizes.threads, cpu=_PROPAGATOR, gpu=gpus, where=there),
            _actor(Decoder, cpu=_DECODER, where=there),
        )
        return self._begun(_Member(self._name("lane"), actors, group))

    def _matcher(self) -> _Member:
        sizes = self._sizes
        # A call whose window cannot be decoded never arrives; in order, the matcher waits 30 s for it, and every lane for the matcher.
        free = {"max_task_retries": 3, "allow_out_of_order_execution": True}
        actor = _actor(Matcher, sizes.threads, cpu=_MATCHER, gpu=sizes.matcher_gpus, where="SPREAD", **free)
        return self._begun(_Member(self._name("matcher"), (actor,)))

    def _begun(self, member: _Member) -> _Member:
        member.ping()
        return member

    def _name(self, kind: str) -> str:
        self._made += 1
        return f"{kind} {self._made}"


def _alive() -> set[str]:
    """Ids of the nodes that are there."""
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def _actor(kind: type, *arguments: Any, cpu: float, where: Any, gpu: float = 0.0, **more: Any) -> Any:
    env = dict(ENVIRONMENT)
    if not gpu:
        # num_gpus=0 hides nothing: an actor without a GPU would still see, and fill, the first one.
        env["CUDA_VISIBLE_DEVICES"] = ""
    options: dict[str, Any] = {"num_cpus": cpu, "num_gpus": gpu, "max_restarts": -1, "max_task_retries": 0} | more
    return ray.remote(kind).options(**options, scheduling_strategy=where, runtime_env={"env_vars": env}).remote(*arguments)


def _end(member: _Member) -> None:
    # A cluster that is gone must not hide why the run ended.
    for actor in member.actors:
        with suppress(RayError, ConnectionError, ValueError):
            ray.kill(actor)
    if member.group:
        with suppress(RayError, ConnectionError, ValueError):
            remove_placement_group(member.group)

