"""dvcp.delivery.derive: the detached colour layer, laid over the source, is the master again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dvcp.delivery import names
from dvcp.delivery.deliver import deliver_bag
from dvcp.delivery.derive import apply_layer
from dvcp.delivery.framemd5 import first_difference, write_framemd5
from dvcp.delivery.verify import verify_bag
from dvcp.errors import StoreError, VerifyError
from dvcp.media.probe import probe
from dvcp.media.profiles import PROFILES
from dvcp.media.reader import FrameReader
from dvcp.media.source import content_digest
from dvcp.timing import Span
from tests.unit.delivery_film import NTSC, Finished, finish
from tests.unit.media_clips import make_film, noise, ramp


def deep(luma: np.ndarray[Any, Any], depth: int) -> np.ndarray[Any, Any]:
    return (luma.astype(np.uint16) << (depth - 8)) + 1


KINDS: dict[str, dict[str, Any]] = {
    "8 bit": {},
    "10 bit 4:2:2, odd": {"luma": deep(ramp(6, 47, 63), 10), "pix_fmt": "yuv422p10le", "timebase": NTSC, "timecode": "00:59:59;28"},
    "16 bit gray": {"luma": deep(ramp(6, 48, 64), 16), "pix_fmt": "gray16le", "audio": None},
    "12 bit 4:4:4, variable": {"luma": deep(ramp(6, 48, 64), 12), "pix_fmt": "yuv444p12le", "pts": [0, 3, 4, 9, 10, 11]},
    "a sound that MOV refuses": {"audio": "flac"},
    "gray, full range": {"pix_fmt": "gray", "audio": "aac", "timecode": None},
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_film_is_delivered_verified_and_put_together_again(tmp_path: Path, kind: str) -> None:
    film = finish(tmp_path / "film", **KINDS[kind])
    deliver_bag(film.master, film.source, str(tmp_path / "bag"))
    verdict = verify_bag(str(tmp_path / "bag"), film.source)
    assert verdict.problems == () and len(verdict.films) == len(PROFILES)
    layer = tmp_path / "bag" / "data" / "reel_colour.colour.mkv"
    url, _ = apply_layer(str(layer), film.source, str(tmp_path / "again.mkv"))
    lists = []
    for k, path in enumerate((film.master, url)):
        write_framemd5(probe(path), tmp_path / f"{k}.luma", tmp_path / f"{k}.all")
        lists.append((tmp_path / f"{k}.all").read_text().splitlines())
    assert first_difference(*lists) is None and len(lists[0]) > 6
    # more than was promised: the same bytes, since FFV1 is intra only and the mark is the same
    assert content_digest(url) == content_digest(film.master)


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Finished, Path]:
    folder = tmp_path_factory.mktemp("apply")
    film = finish(folder / "film")
    deliver_bag(film.master, film.source, str(folder / "bag"), ["layer"])
    return film, folder / "bag" / "data" / "reel_colour.colour.mkv"


def test_the_layer_holds_the_chroma_and_nothing_of_the_picture(delivered: tuple[Finished, Path]) -> None:
    film, layer = delivered
    whole, alone = probe(film.master), probe(str(layer))
    with FrameReader(whole) as a, FrameReader(alone) as b:
        (_, wanted), (luma, found) = a.planes(Span(0, 8)), b.planes(Span(0, 8))
    assert np.array_equal(found, wanted) and np.ptp(luma) == 0 and alone.audio == ()


def test_a_layer_of_another_film_is_refused(delivered: tuple[Finished, Path], tmp_path: Path) -> None:
    _, layer = delivered
    other = make_film(tmp_path / "other.mkv", noise(8, 48, 64))
    with pytest.raises(VerifyError, match="made for another film"):
        apply_layer(str(layer), other, str(tmp_path / "out.mkv"))
    assert not (tmp_path / "out.mkv").exists()


def test_what_is_no_layer_or_does_not_fit_is_refused(delivered: tuple[Finished, Path], tmp_path: Path) -> None:
    film, layer = delivered
    with pytest.raises(VerifyError, match="no colour layer"):
        apply_layer(film.source, film.source, str(tmp_path / "out.mkv"))
    with pytest.raises(VerifyError, match=r"8 frames of 64x48 with 8 bits.*needs 8 frames of 32x24"):
        apply_layer(film.master, film.source, str(tmp_path / "out.mkv"))
    with pytest.raises(StoreError, match="exists"):
        apply_layer(str(layer), film.source, film.master)


def test_a_layer_that_is_not_that_of_its_sidecar_is_refused(delivered: tuple[Finished, Path], tmp_path: Path) -> None:
    film, layer = delivered
    copy = tmp_path / "reel.colour.mkv"
    shutil.copy(layer, copy)
    shutil.copy(f"{layer}{names.MARK}", f"{copy}{names.MARK}")
    assert apply_layer(str(copy), film.source, str(tmp_path / "a.mkv"))[0] == str(tmp_path / "a.mkv")
    with copy.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(VerifyError, match="is not the file its sidecar was written for"):
        apply_layer(str(copy), film.source, str(tmp_path / "b.mkv"))
