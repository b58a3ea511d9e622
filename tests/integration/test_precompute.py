"""Training intermediates through real Ray actors: every frame once, with the truth beside it."""

from __future__ import annotations

import json
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from dvcp.colour import chroma_to_unit
from dvcp.errors import ConfigError, StoreError, WeightsError
from dvcp.media.probe import probe
from dvcp.media.reader import FrameReader
from dvcp.methods import create
from dvcp.methods.base import Fusing, Reference, Window
from dvcp.nets.descriptor import DescriptorNet
from dvcp.nets.weights import save_weights
from dvcp.runtime.precompute import PrecomputeSettings, precompute
from dvcp.store.intermediates import Intermediates
from dvcp.timing import Span
from tests.films import colour_film, make_film, small_weights
from tests.unit.shots_film import damage

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("cluster")]


def silent(film: str, done: int, found: int) -> None:
    pass


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(small_weights(tmp_path_factory.mktemp("w") / "w.safetensors"))


@pytest.mark.parametrize("method", ["dvcp", "paper"])
def test_every_frame_once_with_what_the_method_itself_would_propose(tmp_path: Path, weights: str, method: str) -> None:
    film = colour_film(tmp_path / "reel.mkv", (19, 12))
    gray = make_film(tmp_path, "gray", (4,), painted=((0,),)).gray
    seen: Counter[str] = Counter()

    def report(name: str, done: int, found: int) -> None:
        seen.update({f"{name} done": done, f"{name} found": found})

    options = {"weights": weights, "feedback": "fused"}
    settings = PrecomputeSettings(str(tmp_path / "set"), method, options, rollout=10, segment_frames=8)
    shards, failed = precompute(settings, [str(gray), str(film)], report)
    assert len(failed) == 1 and "gray.mkv" in failed[0] and "no colour" in failed[0]
    data = Intermediates(str(tmp_path / "set"))
    rows = [data[k] for k in range(len(data))]
    assert len(data) == sum(s.rows for s in shards) == seen["reel done"] == seen["reel found"]
    frames = Counter(r.frame for r in rows)
    references = {r.reference for r in rows}
    assert set(frames) == set(range(31)) - references and set(frames.values()) == {1}
    assert len({r.shot for r in rows}) == len(references) == 4, "19 frames are two pieces of at most 10, 12 are two more"
    assert max(abs(r.frame - r.reference) for r in rows) <= 9
    assert any(r.frame < r.reference for r in rows) and any(r.frame > r.reference for r in rows), "both directions"

    info = probe(str(film))
    with FrameReader(info) as reader:
        luma, chroma = reader.planes(Span(0, 31))
    for row in rows:
        assert row.pts == info.frames.pts[row.frame] and row.timebase == info.frames.timebase and row.video == "reel"
        np.testing.assert_array_equal(row.planes["chroma"], np.rint((chroma_to_unit(chroma[row.frame], info.colour) + 128 / 255) * 255))
    # The longest forward roll-out again, without Ray.
    start = max(references, key=lambda ref: sum(r.reference == ref and r.frame > ref for r in rows))
    wanted = sorted((r for r in rows if r.reference == start and r.frame > start), key=lambda r: r.frame)
    made, colour = create(method, **options), info.colour
    assert isinstance(made, Fusing)
    reference = Reference(luma[start], chroma_to_unit(chroma[start], colour), True, "")
    state, anchor = made.start(reference, colour), made.anchor([reference], colour)
    for first in range(0, len(wanted), made.window.frames):
        part = wanted[first : first + made.window.frames]
        window = Window(tuple(r.frame for r in part), luma[[r.frame for r in part]], colour)
        state, planes = made.propose(state, window, made.match(window, anchor))
        for k, row in enumerate(part):
            for name, plane in planes.items():
                np.testing.assert_array_equal(row.planes[name], plane[k], f"{name} of frame {row.frame}")


def test_run_again_computes_nothing_and_more_films_are_added(tmp_path: Path, weights: str) -> None:
    films = [str(colour_film(tmp_path / f"{name}.mkv", (9,), seed=k)) for k, name in enumerate("ab")]
    settings = PrecomputeSettings(str(tmp_path / "set"), options={"weights": weights, "feedback": "local"})
    first, _ = precompute(settings, films[:1], silent)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "set" / "segments").iterdir()}
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(Path(weights).read_bytes())
    # Weights are what they are, not where they lie.
    both, failed = precompute(PrecomputeSettings(settings.out, options=settings.options | {"weights": str(moved)}), films, silent)
    assert not failed and [s for s in both if s.video == "a"] == first and {s.video for s in both} == {"a", "b"}
    assert all(p.stat().st_mtime_ns == then for p, then in before.items())
    assert not list((tmp_path / "set" / "states").glob("*")) if (tmp_path / "set" / "states").exists() else True
    # Other segments would stand beside the old ones, and every frame count twice.
    for other in ({"seed": 2}, {"segment_frames": 16}):
        with pytest.raises(StoreError, match=f"{next(iter(other))} [0-9]+, not {next(iter(other.values()))}"):
            precompute(PrecomputeSettings(str(tmp_path / "set"), options=settings.options, **other), films, silent)
    told = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert told["rows"] == sum(s["rows"] for s in told["shards"]) and told["rollout"] == 100


def test_a_damaged_frame_costs_its_roll_out_and_not_the_film(tmp_path: Path, weights: str) -> None:
    film = colour_film(tmp_path / "reel.mkv", (12, 12, 12))
    damage(film, (5,))
    settings, told = PrecomputeSettings(str(tmp_path / "set"), options={"weights": weights}), list[float]()

    def report(name: str, done: int, found: int) -> None:
        if done:
            told.append(time.monotonic())

    shards, failed = precompute(settings, [str(film)], report)
    assert max(b - a for a, b in pairwise(told)) < 28, "its matcher waited half a minute for a window that never came"
    assert len(failed) == 1 and "reel.mkv, frame 5: cannot be decoded" in failed[0]
    data = Intermediates(settings.out)
    rows = [data[k] for k in range(len(data))]
    assert len(data) == sum(s.rows for s in shards)
    # Every frame of the two sound shots but their references; of the damaged one, what lies on the reference's other side.
    (second, third) = sorted({r.reference for r in rows if r.frame >= 12})
    assert sorted(r.frame for r in rows if r.frame >= 12) == sorted(set(range(12, 36)) - {second, third}) and second < 24 <= third
    spoilt = [r for r in rows if r.frame < 12]
    assert all((r.frame < r.reference) == (r.reference < 5) for r in spoilt) and {r.reference for r in spoilt} < set(range(12))


def test_the_flow_names_what_failed_and_goes_on_where_it_was(tmp_path: Path, weights: str, prefect_here: None) -> None:
    from pipelines.parameters import PrecomputeParameters
    from pipelines.precompute import precompute_archive

    films = tmp_path / "films"
    for k, name in enumerate("ab"):
        colour_film(films / f"{name}.mkv", (9,), seed=k)
    (films / "broken.mkv").write_bytes(b"\x1aE\xdf\xa3 no film")

    def run() -> tuple[bool, list[dict[str, object]]]:
        state = precompute_archive(
            PrecomputeParameters(sources=str(films), out=str(tmp_path / "set"), options={"weights": weights}), return_state=True
        )
        return state.is_completed(), state.data if isinstance(state.data, list) else state.result(raise_on_failure=False)

    completed, rows = run()
    assert not completed and "broken.mkv" in str(rows[2]["error"])
    assert [(r["computed"], r["rows"]) for r in rows] == [(8, 8), (8, 8), (0, 0)]
    (films / "broken.mkv").unlink()
    completed, rows = run()
    assert completed and [(r["computed"], r["rows"], r["error"]) for r in rows] == [(0, 8, ""), (0, 8, "")]


def test_what_cannot_be_trained_is_refused(tmp_path: Path, weights: str) -> None:
    with pytest.raises(ConfigError, match="no fusion to train"):
        PrecomputeSettings(str(tmp_path), method="copy")
    with pytest.raises(ConfigError, match="reaches nothing"):
        PrecomputeSettings(str(tmp_path), rollout=1)
    descriptor = tmp_path / "descriptor.safetensors"
    save_weights(descriptor, {"descriptor": DescriptorNet()}, {})
    refused: list[tuple[str, dict[str, str], type[Exception]]] = [
        ("feedback 'fuse'", {"weights": weights, "feedback": "fuse"}, ConfigError),
        ("holds no choice", {"weights": str(descriptor), "feedback": "fused"}, WeightsError),
    ]
    for what, options, kind in refused:
        with pytest.raises(kind, match=what):
            precompute(PrecomputeSettings(str(tmp_path / "set"), options=options), [], silent)
    assert not (tmp_path / "set").exists(), "nothing is begun that cannot be"
