"""Services as plain processes: nothing of them outlives its block, and whoever waits for one learns why it did not come up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy.services import ServiceError, answers, free_ports, program, running
from tests.processes import lives

#: a child in a session of its own, and its child: what a kill of the process group would miss
ESCAPING = "setsid sleep 600 & sleep 600 & echo started; trap '' TERM; wait"


@pytest.mark.parametrize("grace", [0.0, 0.3])
def test_nothing_outlives_the_block(tmp_path: Path, grace: float) -> None:
    with running("stubborn", ["sh", "-c", ESCAPING], os.environ, tmp_path, grace=grace) as service:
        service.wait(lambda: "started" in service.tail(), 20)
        service.wait(lambda: len(service.processes()) == 3, 20)
        pids = service.processes()
    assert service.pid in pids
    end = time.monotonic() + 5  # the kernel empties a process's environment before it calls it dead
    while any(lives(pid) for pid in pids):
        assert time.monotonic() < end, [pid for pid in pids if lives(pid)]
        time.sleep(0.01)


def test_nothing_outlives_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), running("one", ["sleep", "600"], os.environ, tmp_path) as service:
        _ = 1 / 0
    assert service.process.returncode == -signal.SIGTERM


def test_a_service_that_ends_says_what_it_said(tmp_path: Path) -> None:
    with running("broken", ["sh", "-c", "echo no room left; exit 3"], os.environ, tmp_path) as service:
        with pytest.raises(ServiceError, match=r"broken ended with 3: no room left"):
            service.wait(lambda: False, 20)
        with pytest.raises(ServiceError, match="failed with 3"):
            service.finish(20)


def test_patience_ends(tmp_path: Path) -> None:
    with running("slow", ["sleep", "600"], os.environ, tmp_path) as service:
        with pytest.raises(ServiceError, match=r"not ready after 0\.1 s"):
            service.wait(lambda: False, 0.1, 0.01)
        with pytest.raises(ServiceError, match=r"not done after 0\.1 s"):
            service.finish(0.1)


def test_answers_and_ports(tmp_path: Path) -> None:
    ports = free_ports(5)
    assert len(set(ports)) == 5 and all(port < 32768 for port in ports)
    assert not answers(f"http://127.0.0.1:{ports[0]}/")
    (tmp_path / "there").write_text("yes")
    server = [sys.executable, "-m", "http.server", str(ports[0]), "--bind", "127.0.0.1"]
    with running("web", server, os.environ, tmp_path) as service:
        service.wait(lambda: answers(f"http://127.0.0.1:{ports[0]}/there"), 30)
        assert not answers(f"http://127.0.0.1:{ports[0]}/not-there")


def test_programs_are_found_beside_the_interpreter() -> None:
    ray = program("ray")
    assert ray is not None and Path(ray).parent == Path(sys.executable).parent
    assert program("no-such-program") is None


def joined(code: str, node: str, folder: Path, tell: int | None = None) -> tuple[int, float]:
    """Exit code and seconds of ``deploy.join.join`` in a process of its own, in ``folder``; ``tell`` is a signal it gets as soon as there
    is a file ``ready``."""
    script = f"import sys; from deploy.join import join; sys.exit(join(['sh', '-c', {code!r}], ['sh', '-c', {node!r}], grace=5))"
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", script], cwd=folder, env=os.environ | {"PYTHONPATH": os.getcwd()})
    if tell is not None:
        while not (folder / "ready").exists():
            assert process.poll() is None, "it ended before it was told to"
            time.sleep(0.05)
        process.send_signal(tell)
    return process.wait(60), time.monotonic() - began


def test_command_and_node_end_together(tmp_path: Path) -> None:
    assert joined("exit 7", "exec sleep 600", tmp_path)[0] == 7
    code, seconds = joined("exec sleep 600", "exit 0", tmp_path)
    assert code == 1 and seconds < 50, "a worker without its node must not go on"


def test_the_command_is_asked_to_end_before_its_node(tmp_path: Path) -> None:
    node = "trap 'sleep 0.1; exit 0' TERM; while :; do sleep 0.05; done"
    code, seconds = joined("trap 'exit 5' TERM; touch ready; while :; do sleep 0.05; done", node, tmp_path, signal.SIGTERM)
    assert code == 5 and seconds < 50
