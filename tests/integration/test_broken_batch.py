"""Every bad film in one batch beside good ones: the run goes on, each says what is wrong with it, and the good ones come out the same.

``docs/broken.md`` is the table of what happened; ``DVCP_WRITE_DOCS=1`` writes it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dvcp.media.source import VIDEO_SUFFIXES
from tests.broken import Broken, make_corpus
from tests.films import automatic_weights, framemd5, make_film

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TABLE = Path(__file__).parents[2] / "docs" / "broken.md"
#: readable, but no master can be made of them
UNMADE = {
    "only-first-decodes.mkv": "more than half of it is lost",
    "none-decodes.mkv": "more than half of it is lost",
    "resolution.ts": "two films in one",
    "shrinks.ts": "two films in one",
    "format.ts": "two films in one",
    "3x5.mkv": "FFV1 takes no picture so small",
    "8192-high.mkv": "FFV1 takes no picture so narrow",
    "wide.mkv": "its data do not fill pictures",
    "rate.avi": "its frames are less than a millisecond apart",
}
HEAD = """# Bad films

What `dvcp colorize FOLDER` made of every damaged or odd film of `tests/broken.py`, in one batch beside two good ones, whose outputs are
bit for bit those of a run without the bad ones. Written by `tests/integration/test_broken_batch.py`. A frame that cannot be decoded
becomes plain gray, keeps its time, is named in a warning and in `provenance.json`; a film of which more than half is lost is refused.

"""


def colorize(folder: Path, weights: Path, out: str) -> tuple[int, list[dict[str, Any]], str]:
    command = [sys.executable, "-m", "dvcp.cli", "colorize", str(folder), "--method", "tcvc", "--weights", str(weights), "--json"]
    done = subprocess.run([*command, "--out", out, "--silence", "60"], capture_output=True, text=True, timeout=500)
    return done.returncode, json.loads(done.stdout), done.stderr


def plain(message: str, folder: Path) -> str:
    """A message without what differs from machine to machine."""
    return re.sub(r"dvcp-[a-z0-9_]{8}", "dvcp-...", message.replace(f"{folder}/", ""))


def told(bad: Broken, outcome: dict[str, Any], folder: Path) -> str:
    lost = f"{outcome['damaged']} of {outcome['frames']} frames gray"
    happened = "refused" if outcome["error"] else lost if outcome["damaged"] else "coloured"
    lines = [outcome["error"]] if outcome["error"] else [w for w in outcome["warnings"] if "guessed" not in w]
    message = "; ".join(plain(line, folder) for line in lines).replace("|", "\\|")
    return f"| `{bad.name}` | {bad.about} | {happened} | {message} |"


def test_bad_films_hurt_nobody(tmp_path: Path) -> None:
    corpus = [bad for bad in make_corpus(tmp_path) if not bad.picture]
    films = tmp_path / "films"
    renamed = {}
    for bad in corpus:
        # Outputs are named by stem, and a folder is searched for films by their endings.
        suffix = bad.path.suffix if bad.path.suffix in VIDEO_SUFFIXES else ".mkv"
        renamed[bad.name] = bad.path.rename(films / f"{bad.path.stem}-{bad.path.suffix[1:]}{suffix}")
    alone = tmp_path / "alone"
    for name, depth in (("good1", 8), ("zgood2", 10)):
        film = make_film(alone, name, depth=depth).gray
        (films / film.name).symlink_to(film)
    weights = automatic_weights(tmp_path / "w.safetensors")
    code, outcomes, stderr = colorize(films, weights, f"{tmp_path}/out/")
    assert code == 1 and "Traceback" not in stderr
    by_path = {Path(o["source"]).name: o for o in outcomes}
    assert len(by_path) == len(corpus) + 2
    for bad in corpus:
        outcome = by_path[renamed[bad.name].name]
        wanted = "error" if bad.name in UNMADE else bad.expect
        mended = outcome["damaged"] or "truncated" in " ".join(outcome["warnings"])
        found = "error" if outcome["error"] else "repaired" if mended else "works"
        assert found == wanted, (bad, outcome)
        assert "\n" not in outcome["error"] and renamed[bad.name].stem in outcome["error"] + outcome["out"], outcome
        assert "fault of dvcp" not in outcome["error"]
    code, good, _ = colorize(alone, weights, f"{tmp_path}/without/")
    assert code == 0 and len(good) == 2
    for outcome in good:
        name = Path(outcome["out"]).name
        assert framemd5(tmp_path / "out" / name) == framemd5(outcome["out"])
        assert (tmp_path / "out" / name).read_bytes() == Path(outcome["out"]).read_bytes()
    rows = [told(bad, by_path[renamed[bad.name].name], tmp_path) for bad in corpus]
    counts = Counter(row.split(" | ")[2].split(" ")[-1] for row in rows)
    summary = f"{len(rows)} films: {counts['coloured']} coloured, {counts['gray']} with some frames gray, {counts['refused']} refused.\n\n"
    table = HEAD + summary + "| file | what is wrong | what happened | message |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
    if os.environ.get("DVCP_WRITE_DOCS"):
        TABLE.write_text(table)
    # What FFmpeg says of a file may change from build to build; what becomes of it may not.
    assert [row.split(" | ")[:3] for row in TABLE.read_text().splitlines()] == [row.split(" | ")[:3] for row in table.splitlines()]
