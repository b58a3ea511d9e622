"""What is measured of colour from another scene, one pair with one method at a time, and its tables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dvcp.evaluation.item import PROTOCOL, fields_of, item_key, item_name, to_json_bytes
from dvcp.evaluation.text import aged_note, complete, csv_text, footer, known, mean_known, row

#: the goals: colourfulness within this share of the reference's, flicker at most this many times the truth's
COLOUR_WITHIN, FLICKER_AT_MOST = 0.3, 1.2
#: no colour is not nearer than no colour, however the means of its frames were rounded
_ROUNDING = 1e-9
#: what is reported of every pair, and in means over pairs: numbers, then whether a goal is reached (1 or 0, in means the share that does)
NUMBERS = (
    "distance", "distance_gray", "distance_other", "colourfulness", "colourfulness_reference", "colour_ratio",
    "flicker", "flicker_truth", "flicker_ratio", "seconds_per_frame",
)  # fmt: skip
GOALS = ("nearer_than_gray", "nearer_than_other", "colour_close", "flicker_close")


@dataclass(frozen=True)
class Pair:
    """One clip to colour and the picture to take colour from.

    Attributes:
        clip: file name of the clip.
        reference: file name of the clip the picture is a frame of.
        frame: its number there, 0-based.
        kind: a word to take means by; empty for none.
    """

    clip: str
    reference: str
    frame: int
    kind: str = ""

    def __str__(self) -> str:
        return f"{self.clip} from {self.reference} frame {self.frame}"


@dataclass(frozen=True)
class PairItem:
    """Scores of one method on one pair. Distances are :func:`dvcp.evaluation.metrics.chroma_distance` to the pair's reference.

    Attributes:
        clip, reference, frame: see :class:`Pair`.
        clip_digest, reference_digest: sha256 (hex) of both files.
        other, other_digest, other_frame: the picture of another pair, taken for a random one; None where there is no other.
        method: name it was asked for by.
        method_digest: of method, configuration and weights.
        frames: frames that were asked for; a short clip has fewer.
        count: frames measured.
        width, height: of the picture.
        distance: of the result, mean over frames.
        distance_gray: of a picture without colour: the reference's mean chroma.
        distance_other: of the clip coloured from the other picture, mean over frames.
        colourfulness: of the result, mean over frames (Hasler and Suesstrunk).
        colourfulness_reference: of the reference, in its own size.
        flicker, flicker_truth: change of a*b* along the motion (:mod:`dvcp.evaluation.stability`); None for a single frame.
        seconds: wall time of the colouring, from the pair's reference alone.
        weights: sha256 (hex) of the method's weights file; None for one without networks.
    """

    clip: str
    clip_digest: str
    reference: str
    reference_digest: str
    frame: int
    other: str | None
    other_digest: str | None
    other_frame: int | None
    method: str
    method_digest: str
    frames: int
    count: int
    width: int
    height: int
    distance: float
    distance_gray: float
    distance_other: float | None
    colourfulness: float
    colourfulness_reference: float
    flicker: float | None
    flicker_truth: float | None
    seconds: float
    weights: str | None = None

    @property
    def key(self) -> str:
        """sha256 (hex) of everything that decides the scores."""
        others = (self.other_digest, self.other_frame)
        return pair_key(self.clip_digest, (self.reference_digest, self.frame), others, self.method_digest, self.frames)

    @property
    def stem(self) -> str:
        """Name of its files, without extension."""
        return pair_name(self.clip, self.reference, self.frame, self.method, self.key)

    @property
    def seconds_per_frame(self) -> float:
        """Of the colouring."""
        return self.seconds / self.count

    @property
    def colour_ratio(self) -> float | None:
        """Colourfulness over the reference's; None for a reference without colour."""
        return self.colourfulness / self.colourfulness_reference if self.colourfulness_reference else None

    @property
    def flicker_ratio(self) -> float | None:
        """Flicker over the truth's; None for a single frame or a film in which nothing changes."""
        return self.flicker / self.flicker_truth if self.flicker is not None and self.flicker_truth else None

    @property
    def nearer_than_gray(self) -> bool:
        """Result nearer to the reference's colours than no colour is."""
        return self.distance < self.distance_gray - _ROUNDING

    @property
    def nearer_than_other(self) -> bool | None:
        """Result nearer to the reference's colours than what another picture gives; None without one."""
        return None if self.distance_other is None else self.distance < self.distance_other - _ROUNDING

    @property
    def colour_close(self) -> bool | None:
        """Colourfulness within COLOUR_WITHIN of the reference's."""
        return None if self.colour_ratio is None else abs(self.colour_ratio - 1) <= COLOUR_WITHIN

    @property
    def flicker_close(self) -> bool | None:
        """Flicker not above FLICKER_AT_MOST times the truth's."""
        return None if self.flicker_ratio is None else self.flicker_ratio <= FLICKER_AT_MOST

    def to_bytes(self) -> bytes:
        """JSON of all fields and the key."""
        return to_json_bytes(self, self.key)

    @classmethod
    def from_bytes(cls, data: bytes, key: str) -> PairItem | None:
        """Inverse of :meth:`to_bytes`; None when the file is damaged or is of another key."""
        fields = fields_of(data, key)
        try:
            return None if fields is None else cls(**fields)
        except TypeError:
            return None


def pair_key(clip: str, reference: tuple[str, int], other: tuple[str | None, int | None], method: str, frames: int) -> str:
    """sha256 (hex) of everything that decides the scores of a pair: digests of the clips, frame numbers, the method's digest."""
    return item_key("pair", clip, *reference, *other, method, frames)


def pair_name(clip: str, reference: str, frame: int, method: str, key: str) -> str:
    """File name of an item, without extension."""
    return item_name(f"{clip}.from.{reference}.{frame}", method, key)


def mean_scores(items: Sequence[PairItem]) -> dict[str, float | None]:
    """Means of NUMBERS and GOALS over pairs; None where no pair has a value. A mean ratio is the mean of the pairs' ratios."""
    return {name: mean_known(getattr(item, name) for item in items) for name in (*NUMBERS, *GOALS)}


@dataclass(frozen=True)
class PairSummary:
    """One evaluation of colour from other scenes.

    Attributes:
        frames: frames of each clip that were asked for.
        pairs: all that were asked for.
        items: every measurement, pair by pair.
        failed: one line for each pair, or pair and method, that could not be measured.
        aged: seed of the wear the clips' luma was given; None for none.
    """

    frames: int
    pairs: tuple[Pair, ...]
    items: tuple[PairItem, ...]
    failed: list[str]
    aged: int | None = None

    @property
    def methods(self) -> dict[str, str]:
        """Method name -> digest, in the order measured."""
        return {item.method: item.method_digest for item in self.items}

    @property
    def weights(self) -> dict[str, str]:
        """Method name -> sha256 of its weights file, for the methods that have one."""
        return {item.method: item.weights for item in self.items if item.weights}

    def of_pair(self, pair: Pair) -> list[PairItem]:
        """Its items."""
        return [i for i in self.items if (i.clip, i.reference, i.frame) == (pair.clip, pair.reference, pair.frame)]

    @property
    def complete(self) -> list[Pair]:
        """Pairs measured with every method that was measured at all: means go over these alone, so that methods compare."""
        done = set(complete([(str(pair), item.method) for pair in self.pairs for item in self.of_pair(pair)]))
        return [pair for pair in self.pairs if str(pair) in done]

    @property
    def dataset(self) -> str:
        """sha256 (hex) over the digests and frame numbers of the pairs the means go over."""
        first = [self.of_pair(pair)[0] for pair in self.complete]
        return hashlib.sha256("\n".join(sorted(f"{i.clip_digest} {i.reference_digest} {i.frame}" for i in first)).encode()).hexdigest()

    def means(self) -> dict[str, dict[str, Mapping[str, float | None]]]:
        """:func:`mean_scores` by kind of pair and method; the last kind is "all"."""
        kinds = {pair.kind: None for pair in self.complete if pair.kind}
        groups = {kind: [pair for pair in self.complete if pair.kind == kind] for kind in kinds} | {"all": self.complete}
        found: dict[str, dict[str, Mapping[str, float | None]]] = {}
        for kind, pairs in groups.items():
            items = [item for pair in pairs for item in self.of_pair(pair)]
            for method in self.methods:
                if of_method := [item for item in items if item.method == method]:
                    found.setdefault(kind, {})[method] = mean_scores(of_method)
        return found

    def notes(self) -> list[str]:
        """How the numbers came about, one line each."""
        lines = [
            "reference: a frame of another scene, brought onto the film's grid as a still from elsewhere; measured from frame 0 on",
            "distance: sliced Wasserstein distance of the a*b* colours to the reference's, mean over frames, L*a*b* units; gray: that of "
            "no colour; other: that of the clip coloured from the reference of the next pair that takes it from another clip",
            "flicker: Deep Exemplar-based Video Colorization, eq. 13, as mean a*b* distance over visible pixels; a mean ratio is the mean "
            "of the pairs' ratios",
            "a reference laid over every frame (copy) has its colours exactly: read the distance beside flicker and the sheets",
            f"goals, share of pairs: nearer to the reference than gray and than other; colourfulness within {COLOUR_WITHIN:.0%} of the "
            f"reference's; flicker at most {FLICKER_AT_MOST:g} times the truth's",
            *aged_note(self.aged),
        ]
        if left_out := len(self.pairs) - len(self.complete):
            lines.append(f"{left_out} of {len(self.pairs)} pairs lack a method and are left out of the means")
        return lines

    @property
    def markdown(self) -> str:
        """Means by kind and method with the share of pairs that reach each goal, then every pair."""
        numbers = ["distance", "gray", "other", "colourfulness", "reference", "ratio", "flicker", "truth", "ratio", "s/frame"]
        goals = ["< gray", "< other", "colour", "flicker"]
        head = ["pairs", "method", *numbers, *goals]
        lines = [row(head), row(["---", "---", *["---:"] * (len(head) - 2)])]
        for kind, methods in self.means().items():
            lines += [row([kind, method, *_numbers(s), *(_share(s[g]) for g in GOALS)]) for method, s in methods.items()]
        head = ["clip", "reference", "frame", "kind", "method", *numbers]
        lines += ["", row(head), row(["---", "---", "---:", "---", "---", *["---:"] * len(numbers)])]
        for pair in self.pairs:
            names = [pair.clip, pair.reference, str(pair.frame), pair.kind or "-"]
            lines += [row([*names, item.method, *_numbers({n: getattr(item, n) for n in NUMBERS})]) for item in self.of_pair(pair)]
        lines += ["", f"- pairs: {len(self.complete)}, at most {self.frames} frames each, dataset {self.dataset[:16]}"]
        lines += footer(self.methods, self.weights, self.notes(), self.failed)
        return "\n".join(lines) + "\n"

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            "protocol": PROTOCOL,
            "dataset": self.dataset,
            "frames": self.frames,
            "aged": self.aged,
            "methods": self.methods,
            "weights": self.weights,
            "mean": self.means(),
            "pairs": [
                asdict(item) | {"kind": pair.kind} | {name: getattr(item, name) for name in (*NUMBERS, *GOALS)}
                for pair in self.pairs
                for item in self.of_pair(pair)
            ],
            "notes": self.notes(),
            "failed": self.failed,
        }

    def csv(self) -> str:
        """A line for each pair and method, then the means by kind, "mean" in place of the clip."""
        rows: list[list[Any]] = []
        for pair in self.pairs:
            for item in self.of_pair(pair):
                values = [_plain(getattr(item, name)) for name in (*NUMBERS, *GOALS)]
                rows.append([item.method, item.clip, item.reference, item.frame, pair.kind, item.count, *values])
        for kind, methods in self.means().items():
            rows += [[method, "mean", "", "", kind, "", *scores.values()] for method, scores in methods.items()]
        return csv_text(["method", "clip", "reference", "frame", "kind", "frames", *NUMBERS, *GOALS], rows)


def pair_tables(summary: PairSummary) -> dict[str, str]:
    """File name -> content of every table."""
    return {
        "pairs.csv": summary.csv(),
        "pairs.json": json.dumps(summary.to_json(), indent=1, allow_nan=False) + "\n",
        "pairs.md": summary.markdown,
    }


def _numbers(scores: Mapping[str, float | None]) -> list[str]:
    places = [2, 2, 2, 2, 2, 2, 3, 3, 2, 2]
    return [known(scores[name], n) for name, n in zip(NUMBERS, places, strict=True)]


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _plain(value: float | bool | None) -> float | int | None:
    return int(value) if isinstance(value, bool) else value
