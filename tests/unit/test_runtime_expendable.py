from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dvcp.errors import MediaError, ReferenceError
from dvcp.media.probe import probe
from dvcp.pulse import pulse
from dvcp.runtime import expendable
from dvcp.runtime.expendable import Expendable
from tests.processes import lives
from tests.unit.media_clips import make_film, noise


def own_pid() -> int:
    return os.getpid()


def kill_yourself(number: int) -> None:
    os.kill(os.getpid(), number)


def sleep(seconds: float, every: float | None = None) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(min(seconds, every or seconds))
        if every:
            pulse()
    return "awake"


def refuse() -> None:
    raise ReferenceError("no", file="still.png", frame=3, hint="yes")


def fail(kind: type[Exception]) -> None:
    raise kind("what a day")


class Odd(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def fail_oddly() -> None:
    raise Odd(1, 2)


def allocate(mebibytes: int) -> int:
    return int(np.ones(mebibytes << 20, np.uint8).sum())


def allocate_beside_torch(mebibytes: int) -> int:
    import torch

    return int(torch.ones(mebibytes << 20, dtype=torch.uint8).numel()) + allocate(mebibytes)


def speak() -> None:
    print("on stdout")
    logging.getLogger("dvcp.test").warning("from the log")
    warnings.warn("from a warning", stacklevel=1)


@pytest.fixture(scope="module")
def child() -> Iterator[Expendable]:
    with Expendable(silence_s=20) as made:
        yield made


def test_a_result_comes_back_and_the_process_is_kept(child: Expendable, tmp_path: Path) -> None:
    film = make_film(tmp_path / "in.mkv", noise(3, 48, 64))
    info = child.call(probe, film, file=film)
    assert info.to_json() == probe(film).to_json()
    first = child.call(own_pid, file="")
    assert first != os.getpid() and child.call(own_pid, file="") == first


def test_exceptions_arrive_as_they_are(child: Expendable) -> None:
    with pytest.raises(ReferenceError) as caught:
        child.call(refuse, file="another")
    assert str(caught.value) == "still.png, frame 3: no (yes)"
    with pytest.raises(KeyError, match="what a day") as foreign:
        child.call(fail, KeyError, file="")
    assert "in fail" in foreign.value.__notes__[0]
    with pytest.raises(RuntimeError, match="Odd: 1 and 2"):
        child.call(fail_oddly, file="")
    with pytest.raises(SystemExit, match="what a day"):
        child.call(fail, SystemExit, file="")


@pytest.mark.parametrize(("number", "told"), [(signal.SIGSEGV, "signal 11 SIGSEGV"), (signal.SIGKILL, "SIGKILL, as when memory runs out")])
def test_a_death_is_an_error_of_the_file_and_the_next_call_works(child: Expendable, number: int, told: str) -> None:
    before = child.call(own_pid, file="")
    with pytest.raises(MediaError, match=told) as caught:
        child.call(kill_yourself, number, file="reel.mkv")
    assert str(caught.value).startswith("reel.mkv: ") and "\n" not in str(caught.value)
    assert child.call(own_pid, file="") != before


def test_a_death_between_two_calls_goes_unnoticed(child: Expendable) -> None:
    before = child.call(own_pid, file="")
    os.kill(before, signal.SIGKILL)
    while lives(before):
        time.sleep(0.01)
    assert child.call(own_pid, file="") != before


def test_silence_ends_it_and_a_pulse_prolongs_it() -> None:
    # Signs are sent once a second at most.
    with Expendable(silence_s=3) as child:
        assert child.call(sleep, 5, 0.1, file="long.mkv") == "awake"
        pid = child.call(own_pid, file="")
        with pytest.raises(MediaError, match="stopped responding: no sign of life") as caught:
            child.call(sleep, 60, file="stuck.mkv")
        assert caught.value.file == "stuck.mkv" and not lives(pid)
        assert child.call(own_pid, file="") != pid


def test_memory_is_bounded() -> None:
    with Expendable(memory_mb=3000) as child:
        assert child.call(allocate_beside_torch, 100, file="small.png") == 200 << 20
        with pytest.raises(MediaError, match="takes more memory than 3000 MiB") as caught:
            child.call(allocate, 4000, file="bomb.png")
        assert caught.value.file == "bomb.png"
        assert child.call(allocate, 100, file="small.png") == 100 << 20


def test_what_it_says_reaches_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    with Expendable() as child:
        child.call(speak, file="")
    out, err = capfd.readouterr()
    assert out == "" and all(words in err for words in ("on stdout", "from the log", "from a warning"))


def test_a_function_of_the_program_itself_is_refused(child: Expendable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_pid, "__module__", "__main__")
    with pytest.raises(ValueError, match="own_pid lives in the program's own module"):
        child.call(own_pid, file="")


def test_closing_ends_it() -> None:
    with Expendable() as child:
        pid = child.call(own_pid, file="")
        assert lives(pid)
    assert not lives(pid)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_the_end_of_the_parent_is_its_end(number: int) -> None:
    """Also while the child is busy, and though the parent's own module is a script that must not run again in the child."""
    script = textwrap.dedent("""
        import sys, threading
        from dvcp.runtime.expendable import Expendable
        from tests.unit import test_runtime_expendable as own

        child = Expendable()
        box = []
        starter = threading.Thread(target=lambda: box.append(child.call(own.own_pid, file="")))
        starter.start(), starter.join()  # the thread that started it ends, and that must not end the child
        print(box[0], flush=True)
        with child:
            child.call(own.sleep, 60, file="")
    """)
    parent = subprocess.Popen([sys.executable, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert parent.stdin is not None and parent.stdout is not None
    parent.stdin.write(script.encode())
    parent.stdin.close()
    pid = int(parent.stdout.readline())
    time.sleep(0.5)
    assert lives(pid) and parent.poll() is None
    parent.send_signal(number)
    parent.wait(60)
    end = time.monotonic() + 5
    while lives(pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert not lives(pid)
    parent.stdout.close()


def test_an_interrupted_call_leaves_no_answer_behind() -> None:
    with Expendable() as child:
        pid = child.call(own_pid, file="")
        before = signal.signal(signal.SIGALRM, _interrupt)
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(KeyboardInterrupt):
            child.call(sleep, 1, file="")
        signal.signal(signal.SIGALRM, before)
        assert not lives(pid)
        assert child.call(own_pid, file="") != pid


def test_a_pulse_costs_nothing_where_nobody_listens() -> None:
    pulse()
    assert expendable.pulse._send is None


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
