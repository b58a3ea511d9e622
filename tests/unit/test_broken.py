"""The corpus of bad files through everything that reads them: no crash, no hang, errors of one line that name the file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dvcp.errors import DvcpError, MediaError
from dvcp.media import reader as reader_module
from dvcp.media.probe import probe
from dvcp.media.reader import FrameReader
from dvcp.media.source import open_input
from dvcp.media.stills import read_still
from dvcp.runtime.expendable import Expendable
from dvcp.shots.detect import detect_shots
from dvcp.timing import Span
from tests import broken_pictures
from tests.broken import CASES, Broken, make_corpus
from tests.unit.media_clips import packet_places

PICTURES = [name for name, *_ in broken_pictures.pictures()]


@dataclass(frozen=True)
class Read:
    """What became of a film: frames, frames announced, frames that could be decoded, errors of the others, shots."""

    frames: int
    announced: int
    decoded: int
    errors: tuple[str, ...]
    shots: int


def read_film(url: str) -> Read:
    """Every frame, one by one, then each found by a seek, and the cuts."""
    info = probe(url)
    errors = []
    with FrameReader(info) as reader:
        for frame in range(len(info.frames)):
            try:
                assert reader.luma(Span(frame, frame + 1)).shape == (1, info.height, info.width)
            except MediaError as error:
                errors.append(str(error))
        for frame in reversed(range(len(info.frames))):
            with contextlib.suppress(MediaError):
                reader.luma(Span(frame, frame + 1))
    shots = detect_shots(info).shots
    return Read(len(info.frames), info.announced_frames, len(info.frames) - len(errors), tuple(errors), len(shots))


def look(url: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Shape and warnings of a still."""
    still = read_still(url)
    return still.rgb.shape, still.warnings


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Broken]:
    return {bad.name if not bad.picture else f"picture {bad.name}": bad for bad in make_corpus(tmp_path_factory.mktemp("broken"))}


@pytest.fixture(scope="module")
def child() -> Iterator[Expendable]:
    with Expendable(silence_s=20, memory_mb=6000) as made:
        yield made


def test_there_are_enough_of_them_and_the_same_each_time(corpus: dict[str, Broken], tmp_path: Path) -> None:
    assert len(corpus) >= 45 + len(PICTURES)
    again = make_corpus(tmp_path)
    for one, other in zip(corpus.values(), again, strict=True):
        assert one.about and (one.name, one.expect) == (other.name, other.expect)
        if one.path.is_file() and not one.path.is_symlink():
            assert one.path.read_bytes() == other.path.read_bytes(), one.name


@pytest.mark.parametrize("name", [name for name, *_ in CASES])
def test_a_bad_film(name: str, corpus: dict[str, Broken], child: Expendable) -> None:
    bad = corpus[name]
    url = str(bad.path)
    try:
        read = child.call(read_film, url, file=url)
    except DvcpError as error:
        _one_line(error, url)
        assert bad.expect == "error", str(error)
        return
    assert bad.expect != "error", f"{read}"
    for line in read.errors:
        assert line.startswith(url) and "\n" not in line
    whole = read.decoded == read.frames >= read.announced
    assert (bad.expect == "works") == whole, f"{read}"
    assert read.shots >= 1


def _without_packets(film: Path, behind: int, keep: int, out: Path) -> str:
    """A copy in which of all packets behind some only the first ``keep`` bytes are left."""
    data = bytearray(film.read_bytes())
    for position, size in packet_places(str(film))[behind:]:
        data[position + keep : position + size] = b"\xff" * (size - keep)
    out.write_bytes(data)
    return str(out)


def test_lost_frames_of_a_film_without_times_keep_their_place(
    corpus: dict[str, Broken], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = probe(_without_packets(corpus["no-times.avi"].path, 5, 12, tmp_path / "half.avi"))
    assert info.counted and len(info.frames) == 12
    opened = []
    monkeypatch.setattr(reader_module, "open_input", lambda url: opened.append(url) or open_input(url))
    with FrameReader(info) as reader:
        assert reader.luma(Span(0, 5)).shape == (5, 48, 64)
        for frame in range(5, 12):
            with pytest.raises(MediaError, match=rf"half\.avi, frame {frame}: cannot be decoded"):
                reader.luma(Span(frame, frame + 1))
        assert len(opened) == 1, "each lost frame would read the film from its start"
        assert reader.luma(Span(0, 1)).shape == (1, 48, 64) and len(opened) == 2


def test_a_bare_stream_without_key_frames_has_no_frames(corpus: dict[str, Broken], tmp_path: Path) -> None:
    units = corpus["no-container.mkv"].path.read_bytes().split(b"\0\0\1")
    (tmp_path / "a.mkv").write_bytes(b"\0\0\1".join(unit for unit in units if not unit or unit[0] & 31 != 5))
    with pytest.raises(MediaError, match="has a video stream but no frames"):
        probe(str(tmp_path / "a.mkv"))


@pytest.mark.parametrize("name", PICTURES)
def test_a_bad_picture(name: str, corpus: dict[str, Broken], child: Expendable) -> None:
    bad = corpus[f"picture {name}"]
    url = str(bad.path)
    try:
        shape, warnings = child.call(look, url, file=url)
    except DvcpError as error:
        _one_line(error, url)
        assert bad.expect == "error", str(error)
        return
    assert bad.expect == ("repaired" if warnings else "works") and len(shape) == 3
    assert all(line.startswith(f"{url}: ") and "\n" not in line for line in warnings)


def _one_line(error: DvcpError, url: str) -> None:
    text = str(error)
    assert text.startswith(url) and "\n" not in text and error.hint and "process that read it" not in text, text
