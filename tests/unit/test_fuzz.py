from __future__ import annotations

import collections
import io
import os
import random
import signal
from pathlib import Path

import pytest
from PIL import Image, UnidentifiedImageError

from dvcp.errors import MediaError
from dvcp.runtime.expendable import Expendable
from tests import fuzz
from tests.broken_pictures import colours, saved


def crash(url: str) -> int:
    os.kill(os.getpid(), signal.SIGSEGV)
    return 0


def stumble(url: str) -> int:
    raise IndexError("list index out of range")


def ramble(url: str) -> int:
    raise MediaError("this\nand that", file=url, hint="none")


def swell(url: str) -> int:
    return fuzz.MEMORY_MB + 1


def refuse(url: str) -> int:
    raise MediaError("is no film", file=url, hint="give another")


def test_a_short_run_finds_nothing_and_sees_both_films_and_pictures(tmp_path: Path) -> None:
    tally = fuzz.run(seed=11, seconds=400, keep=tmp_path, most=300)
    assert tally.findings == [] and list(tmp_path.iterdir()) == []
    assert tally.outcomes["read_film: read"] > 10 and tally.outcomes["read_picture: read"] > 3
    assert sum(tally.outcomes.values()) > tally.outcomes["read_film: read"] + tally.outcomes["read_picture: read"]


def test_each_kind_of_finding_is_one() -> None:
    outcomes = collections.Counter[str]()
    with Expendable() as child:
        for read, said in ((crash, "died"), (stumble, "IndexError"), (ramble, "not an error of one line"), (swell, "takes 2049 MiB")):
            finding = fuzz.examine(read, "a.mkv", child, outcomes)
            assert finding is not None and said in finding
        assert fuzz.examine(refuse, "a.mkv", child, outcomes) is None
    assert outcomes["refuse: MediaError: is no film"] == 1


def test_the_same_seed_does_the_same_damage() -> None:
    whole, other = bytes(range(256)) * 8, bytes(500)
    made = [[fuzz.damaged(whole, [other], rng) for _ in range(50)] for rng in (random.Random(3), random.Random(3), random.Random(4))]
    assert made[0] == made[1] != made[2]
    assert sum(data != whole for data in made[0]) > 40


def test_a_sealed_png_has_every_checksum_right() -> None:
    whole = saved(Image.fromarray(colours()), "PNG")
    assert fuzz.sealed(whole) == whole
    spoilt = bytearray(whole)
    spoilt[29] ^= 0xFF  # in the checksum of the header
    with pytest.raises(UnidentifiedImageError), Image.open(io.BytesIO(spoilt)):
        pass
    assert fuzz.sealed(bytes(spoilt)) == whole
