"""Scratch folders: gone after use, gone after a kill, never taken from a process that lives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from threading import Thread

from dvcp.store.scratch import scratch, sweep

HOLD = "import sys, time\nfrom dvcp.store.scratch import scratch\nwith scratch(sys.argv[1]) as f:\n print(f, flush=True)\n time.sleep(60)"


def test_gone_after_the_block_and_after_an_error(tmp_path: Path) -> None:
    with scratch(str(tmp_path)) as folder:
        (Path(folder) / "film").write_bytes(b"1")
    try:
        with scratch(str(tmp_path)):
            raise ValueError
    except ValueError:
        pass
    assert not list(tmp_path.iterdir())


def test_the_dead_leave_nothing_and_the_living_keep_theirs(tmp_path: Path) -> None:
    held = [subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    folders = [Path(process.stdout.readline().strip()) for process in held if process.stdout]
    try:
        assert sweep(str(tmp_path)) == 0 and all(folder.is_dir() for folder in folders)
        held[0].kill()
        held[0].wait()
        with scratch(str(tmp_path)):
            assert not folders[0].exists() and folders[1].is_dir()
    finally:
        for process in held:
            process.kill()
            process.wait()
    assert sweep(str(tmp_path)) == 1 and not list(tmp_path.iterdir())


def test_many_at_once_do_not_sweep_each_other(tmp_path: Path) -> None:
    lost = []

    def use() -> None:
        for k in range(40):
            with scratch(str(tmp_path)) as folder:
                (Path(folder) / "x").write_bytes(b"1" * k)
                if not (Path(folder) / "x").exists():
                    lost.append(folder)

    threads = [Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not lost and not list(tmp_path.iterdir())


def test_no_such_folder_is_swept_clean(tmp_path: Path) -> None:
    assert sweep(str(tmp_path / "nowhere")) == 0
