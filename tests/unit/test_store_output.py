"""dvcp.store.output: names, claims and refusals, on the local disk and on a real S3 server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dvcp.errors import ConfigError, StoreError
from dvcp.store import files
from dvcp.store.output import Output, claim, free_space

A, B = "aa" * 32, "bb" * 32


def test_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    named = Output.at("s3://b/x/film.v2.mkv", "s3://in/source.mp4", ".mov")
    assert named.file_url == "s3://b/x/film.v2.mkv"
    assert named.ledger_url == "s3://b/x/film.v2.dvcp"
    assert named.report_url("pts.json") == "s3://b/x/film.v2.dvcp/pts.json"
    assert Output.at("s3://b/x/", "in/reel 1.mp4", "_colour.mkv").file_url == "s3://b/x/reel 1_colour.mkv"
    assert Output.at("out/", "s3://in/reel.mp4", ".mkv").file_url == f"{tmp_path}/out/reel.mkv"
    assert Output.at("out.mkv", "s3://in/reel.mp4", ".mov").file_url == f"{tmp_path}/out.mkv"
    assert Output.at(str(tmp_path), "reel.mp4", ".mkv").file_url == f"{tmp_path}/reel.mkv"


def test_never_the_source_itself(tmp_path: Path) -> None:
    source = tmp_path / "film.mkv"
    source.write_bytes(b"1")
    (tmp_path / "link.mkv").symlink_to(source)
    for out in (str(source), f"{tmp_path}/", f"file://{source}", f"{tmp_path}/link.mkv"):
        with pytest.raises(ConfigError, match="overwrite its own source"):
            Output.at(out, str(source), ".mkv")
    with pytest.raises(ConfigError):
        Output.at("s3://b/x/", "s3://b/x/film.mkv", ".mkv")


def test_claim_again_for_the_same_source(store_url: str) -> None:
    output = Output(files.join(store_url, "film.mkv"))
    claim(output, A, "reel.mp4")
    claim(output, A, "renamed.mp4")
    files.put_bytes(b"film", output.file_url)
    claim(output, A, "reel.mp4")
    stored = json.loads(files.get_bytes(output.report_url("source.json")) or b"")
    assert stored == {"source_sha256": A, "output": "film.mkv", "source": "reel.mp4"}


def test_claim_refuses_what_another_source_made(store_url: str) -> None:
    output = Output(files.join(store_url, "film.mkv"))
    claim(output, A, "reel.mp4")
    with pytest.raises(StoreError, match=r"exists and was made from something else \(reel\.mp4\) \(choose another --out or remove it\)"):
        claim(output, B, "other.mp4")


def test_claim_refuses_a_film_of_unknown_origin(store_url: str) -> None:
    output = Output(files.join(store_url, "film.mkv"))
    files.put_bytes(b"somebody's film", output.file_url)
    with pytest.raises(StoreError, match="not made by dvcp"):
        claim(output, A, "reel.mp4")
    assert not files.exists(output.ledger_url)
    assert files.get_bytes(output.file_url) == b"somebody's film"


def test_claim_refuses_the_folder_of_another_output(tmp_path: Path) -> None:
    claim(Output(f"{tmp_path}/film.mov"), A, "reel.mp4")
    (tmp_path / "film.mkv").write_bytes(b"somebody's film")
    with pytest.raises(StoreError, match=r"belongs to the output film\.mov"):
        claim(Output(f"{tmp_path}/film.mkv"), A, "reel.mp4")


@pytest.mark.parametrize("damage", [b"", b"[]", b"{}"])
def test_claim_refuses_a_damaged_claim(tmp_path: Path, damage: bytes) -> None:
    output = Output(f"{tmp_path}/film.mkv")
    files.put_bytes(damage, output.report_url("source.json"))
    with pytest.raises(StoreError, match=r"source\.json cannot be read"):
        claim(output, A, "reel.mp4")


def test_a_claim_that_came_and_went(tmp_path: Path) -> None:
    output = Output(f"{tmp_path}/film.mkv")
    os.mkdir(output.ledger_url)
    os.symlink("nowhere", output.report_url("source.json"))  # there for whoever wants to make it, not for whoever reads it
    with pytest.raises(StoreError, match=r"source\.json: another run's claim came and went"):
        claim(output, A, "reel.mp4")


def test_racing_claims_have_one_winner(store_url: str) -> None:
    output = Output(files.join(store_url, "film.mkv"))

    def attempt(digest: str) -> str | None:
        try:
            claim(output, digest, "reel.mp4")
        except StoreError:
            return None
        return digest

    with ThreadPoolExecutor(8) as pool:
        won = {digest for digest in pool.map(attempt, [A, B] * 4) if digest}
    assert won == {json.loads(files.get_bytes(output.report_url("source.json")) or b"")["source_sha256"]}


@pytest.mark.parametrize("claimed_before", [False, True])
def test_folder_that_may_not_be_written(claimed_before: bool) -> None:
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    output = Output(f"{folder}/film.mkv")
    if claimed_before:
        claim(output, A, "reel.mp4")
        os.chmod(output.ledger_url, 0o777)
        os.chmod(output.report_url("opened.json"), 0o666)
    os.chmod(folder, 0o555)
    code = f"""
import os
from dvcp.store.output import Output, StoreError, claim
if os.geteuid() == 0: os.setuid(65534)
try: claim(Output({output.file_url!r}), {A!r}, "reel.mp4")
except StoreError as error: print(error)
"""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    os.chmod(folder, 0o755)
    shutil.rmtree(folder)
    assert "permission denied (check the owner and the mode of the folder)" in done.stdout, done.stderr


def test_free_space(tmp_path: Path) -> None:
    assert free_space(f"{tmp_path}/not/yet/there.mkv") == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.05)
    assert free_space("s3://b/x") is None
