"""A process that may die: what reads files of strangers runs there, because a damaged one can end a process, or never come back."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import pickle
import resource
import select
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from dvcp import pulse
from dvcp.errors import DvcpError, MediaError

#: seconds that the imports of a function may take on a busy machine, before its own silence counts
START_S = 120

P = ParamSpec("P")
R = TypeVar("R")


class Expendable:
    """One child process that runs functions, is started at the first call, and is replaced when it dies.

    It shares nothing with this process but environment, import path and stderr (its stdout goes there too), and ends with it, however that
    ends. Use as a context manager. One call at a time: calls of several threads wait for each other.
    """

    def __init__(self, silence_s: float = 120, memory_mb: int | None = None) -> None:
        """
        Args:
            silence_s: seconds a call may show no sign of life (:func:`dvcp.pulse.pulse`) before the child is killed.
            memory_mb: most memory the child may ask for, imports included (RLIMIT_DATA, so files and libraries mapped do not count).
        """
        self._silence, self._memory = silence_s, memory_mb
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._line: Connection[Any, Any] | None = None
        self._leash = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the child. The next call starts another."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            assert self._line is not None
            self._line.close()
            os.close(self._leash)
            self._child = None

    def call(self, function: Callable[..., R], *args: Any, file: str, **kwargs: Any) -> R:
        """Run ``function(*args, **kwargs)`` in the child. The function must be one of an importable module, arguments and result picklable.

        Args:
            file: what the function reads, for the message when it takes the child down.

        Raises:
            MediaError: the child died, ran out of memory, or was silent for too long and was killed.
            ValueError: the function lives in ``__main__``.
            Exception: whatever the function raised, as it was (RuntimeError with its text when it cannot be pickled).
        """
        if function.__module__ == "__main__":
            raise ValueError(f"{function.__qualname__} lives in the program's own module, which the child must not run again")
        request = pickle.dumps((function, args, kwargs))
        with self._lock:
            try:
                succeeded, result = self._ask(request, file)
            except BaseException:
                # After an interrupt too the child is in the middle of something: no later call may get that answer.
                self.close()
                raise
        if succeeded:
            done: R = result
            return done
        if isinstance(result, MemoryError):
            limit = f"{self._memory} MiB" if self._memory else "there is"
            hint = "it is damaged, or too large for this machine"
            raise MediaError(f"reading it takes more memory than {limit}", file=file, hint=hint) from result
        raise result

    def _ask(self, request: bytes, file: str) -> tuple[bool, Any]:
        hint = "it is damaged in a way the decoder cannot bear; make it anew with ffmpeg, or leave it out"
        if self._child is not None and self._child.poll() is not None:
            self.close()
        if self._child is None:
            self._start()
        assert self._line is not None and self._child is not None
        try:
            self._line.send_bytes(request)
            patience = max(START_S, self._silence)
            while self._line.poll(patience):
                answer = self._line.recv_bytes()
                if answer:
                    succeeded, result = pickle.loads(answer)
                    return bool(succeeded), result
                patience = self._silence
        except (EOFError, OSError):
            code = self._child.wait()
            raise MediaError(f"the process that read it died ({_cause(code)})", file=file, hint=hint) from None
        message = f"the process that read it stopped responding: no sign of life for {patience:g} s"
        raise MediaError(message, file=file, hint=hint)

    def _start(self) -> None:
        self._line, theirs = Pipe()
        held, self._leash = os.pipe()
        code = f"from dvcp.runtime.expendable import serve; serve({theirs.fileno()}, {held}, {self._memory}, {logging.getLogger().level})"
        path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
        # A session of its own: Ctrl-C is for the parent, which ends the child itself. stdout is the parent's own, often for a machine.
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-c", code], env={**os.environ, "PYTHONPATH": path}, pass_fds=(theirs.fileno(), held),
            stdin=subprocess.DEVNULL, stdout=2, start_new_session=True,
        )  # fmt: skip
        theirs.close()
        os.close(held)


def serve(line: int, leash: int, memory_mb: int | None, log_level: int) -> None:
    """The child's side: answer calls that come on the socket ``line`` until its other end or that of the pipe ``leash`` is closed.

    An answer is a pickled (True, result) or (False, exception); an empty message is a sign of life.
    """
    _tie(leash)
    if memory_mb is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_mb << 20, memory_mb << 20))
    logging.basicConfig(level=log_level)
    connection: Connection[Any, Any] = Connection(line)
    lock = threading.Lock()

    def send(message: bytes) -> None:
        with lock:
            connection.send_bytes(message)

    pulse.listen(lambda: send(b""))
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            send(_answer(connection.recv_bytes(), lambda: send(b"")))


def _answer(request: bytes, begun: Callable[[], None]) -> bytes:
    try:
        function, args, kwargs = pickle.loads(request)
        begun()
        return pickle.dumps((True, function(*args, **kwargs)))
    except BaseException as error:
        return _pickled(error)


def _pickled(error: BaseException) -> bytes:
    if not isinstance(error, DvcpError):
        error.add_note("".join(traceback.format_exception(error)).rstrip())
    try:
        data = pickle.dumps((False, error))
        pickle.loads(data)  # some can be written but not read back
    except Exception:
        return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
    return data


def _tie(leash: int) -> None:
    """Have the kernel end this process when the other end of the pipe closes, even while it is stuck inside a decoder.

    PR_SET_PDEATHSIG would end it with the thread that started it, which in a thread pool is not the program.
    """
    fcntl.fcntl(leash, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(leash, fcntl.F_SETFL, os.O_ASYNC)  # SIGIO, whose default action is to end the process
    if select.select([leash], [], [], 0)[0]:
        os._exit(1)  # it closed before


def _cause(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    why = ", as when memory runs out" if code == -signal.SIGKILL else ""
    return f"signal {-code} {signal.Signals(-code).name}{why}"
