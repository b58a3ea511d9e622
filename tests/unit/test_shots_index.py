"""Which picture fits a shot: by what it shows, whatever its crop, side, size and exposure; the same order every time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dvcp.media.probe import probe
from dvcp.nets.embedding import CHANNELS, PictureEmbedder
from dvcp.shots.index import FITS, MARGIN, Fit, PictureIndex, build_index, choose, embed, embed_shots
from dvcp.shots.timeline import Shot
from dvcp.timing import Span
from tests.films import make_film

Luma = NDArray[np.float32]


@pytest.fixture(scope="module")
def net() -> PictureEmbedder:
    return PictureEmbedder().eval()


def textures() -> dict[str, Luma]:
    """Pictures of different things, ``[240, 320]`` in [0, 1]."""
    y, x = np.mgrid[0:240, 0:320].astype(np.float32)
    rng = np.random.default_rng(0)
    round_things = np.zeros_like(x)
    for cy, cx, radius in rng.uniform((20, 20, 10), (220, 300, 40), (12, 3)):
        round_things = np.maximum(round_things, ((y - cy) ** 2 + (x - cx) ** 2 < radius**2) * rng.uniform(0.4, 1))
    pictures = {
        "bricks": 0.3 + 0.5 * ((y % 24 > 3) & ((x + 20 * (y // 24 % 2)) % 40 > 3)),
        "discs": round_things,
        "grain": rng.random((240, 320)),
        "lines": 0.5 + 0.4 * np.sin(x / 4),
        "board": ((y // 30 + x // 30) % 2) * 0.8 + 0.1,
        "slope": x / 320,
    }
    return {name: np.asarray(picture, np.float32) for name, picture in pictures.items()}


@pytest.fixture(scope="module")
def index(net: PictureEmbedder) -> PictureIndex:
    return build_index(net, ((name, name * 2, picture) for name, picture in textures().items()))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda p: p[:, ::-1], id="mirrored"),
        pytest.param(lambda p: p[20:220, 30:310], id="cropped"),
        pytest.param(lambda p: 0.15 + 0.6 * p, id="flat print"),
        pytest.param(lambda p: p.repeat(3, 0).repeat(3, 1), id="bigger scan"),
    ],
)
def test_a_picture_is_known_again(net: PictureEmbedder, index: PictureIndex, change: object) -> None:
    assert callable(change)
    for name, picture in textures().items():
        ranked = index.rank(embed(net, [np.ascontiguousarray(change(picture), np.float32)]))
        assert (ranked[0].url, ranked[0].digest) == (name, name * 2)
        assert ranked[0].fits and ranked[0].similarity > ranked[1].similarity + 0.05


def test_other_things_do_not_fit(index: PictureIndex) -> None:
    similar = index.vectors @ index.vectors.T
    assert np.median(similar[~np.eye(len(similar), dtype=bool)]) < FITS


def test_several_frames_are_one_vector_between_them(net: PictureEmbedder) -> None:
    bricks, discs = (textures()[name] for name in ("bricks", "discs"))
    one, other, both = embed(net, [bricks]), embed(net, [discs]), embed(net, [bricks, discs])
    assert both.shape == (CHANNELS,) and both.dtype == np.float32
    assert np.linalg.norm(both) == pytest.approx(1, abs=1e-5)
    assert both @ one == pytest.approx(both @ other, abs=1e-4)
    assert both @ one > one @ other


def test_equals_are_ranked_by_name_and_a_copy_counts_once(net: PictureEmbedder) -> None:
    bricks = textures()["bricks"]
    found = build_index(net, [("c", "1", bricks), ("a", "2", bricks), ("b", "1", bricks)])
    assert [fit.url for fit in found.rank(embed(net, [bricks]))] == ["a", "c"]
    assert build_index(net, []).rank(embed(net, [bricks])) == []


def test_pictures_are_taken_one_at_a_time(net: PictureEmbedder) -> None:
    """Each must be free again before the next is read: a folder of thousands would not fit otherwise."""
    import weakref

    seen: list[weakref.ref[Luma]] = []

    def pictures() -> Iterator[tuple[str, str, Luma]]:
        for k in range(4):
            # the one handed out last is still in the loop's hands
            assert sum(ref() is not None for ref in seen) <= 1
            picture = np.full((64, 64), k / 4, np.float32)
            seen.append(weakref.ref(picture))
            yield f"{k}", f"{k}", picture

    assert len(build_index(net, pictures()).pictures) == 4


def test_further_pictures_must_fit_and_be_nearly_as_good() -> None:
    def fits(*values: float) -> list[Fit]:
        return [Fit(f"{k}", f"{k}", value) for k, value in enumerate(values)]

    def taken(take: int, *values: float) -> int:
        return len(choose(fits(*values), take))

    best = FITS + 2 * MARGIN
    assert taken(1, best, best) == 1
    assert taken(3, best, best - MARGIN / 2, best - MARGIN / 3, best) == 3
    assert taken(3, best, best - MARGIN * 1.1) == 1
    assert taken(3, FITS + MARGIN / 4, FITS - MARGIN / 4) == 1
    assert taken(3, FITS - MARGIN / 4, FITS - MARGIN / 2) == 1, "the best stays, to be doubted"
    assert taken(3) == 0


def test_a_shot_is_looked_at_all_over_and_at_its_key_frame(tmp_path: Path, net: PictureEmbedder) -> None:
    film = make_film(tmp_path, lengths=(30, 1), painted=((), ()))
    info = probe(str(film.gray))
    whole, keyed, single = embed_shots(net, info, [Shot(1, Span(0, 30)), Shot(1, Span(0, 30), key=29), Shot(2, Span(30, 31))])
    assert not np.allclose(whole, keyed)
    assert whole @ keyed > whole @ single
