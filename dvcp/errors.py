"""Every error dvcp raises on purpose: one line that names file, shot and frame and says what to do."""

from __future__ import annotations

from dvcp.store.secrets import redact


class DvcpError(Exception):
    """Base of all dvcp errors.

    Args:
        message: what is wrong, in one line.
        file: the file or URL it happened in.
        shot: shot number (1-based, as shown to people).
        frame: frame number in the file (0-based, as in every file name dvcp writes).
        hint: what the person can do about it.
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        shot: int | None = None,
        frame: int | None = None,
        hint: str | None = None,
    ) -> None:
        # Here and not where it is shown: an error is pickled, logged and stored by programs that know nothing of secrets.
        message, file, hint = redact(message), file and redact(file), hint and redact(hint)
        super().__init__(message, file, shot, frame, hint)
        self.message, self.file, self.shot, self.frame, self.hint = message, file, shot, frame, hint

    def __str__(self) -> str:
        where = [self.file] if self.file else []
        if self.shot is not None:
            where.append(f"shot {self.shot}")
        if self.frame is not None:
            where.append(f"frame {self.frame}")
        line = f"{', '.join(where)}: {self.message}" if where else self.message
        return f"{line} ({self.hint})" if self.hint else line

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions cross process borders (Ray, Prefect); keyword-only arguments would be lost by the default pickle.
        return _rebuild, (type(self), self.message, self.file, self.shot, self.frame, self.hint)


def _rebuild(kind: type[DvcpError], message: str, file: str | None, shot: int | None, frame: int | None, hint: str | None) -> DvcpError:
    return kind(message, file=file, shot=shot, frame=frame, hint=hint)


class MediaError(DvcpError):
    """A source or output that cannot be opened, decoded or encoded. Exit code 3."""

    exit_code = 3


class ReadFailed(MediaError):
    """A source that opened but then failed to give its bytes. Exit code 3."""


class PictureChange(MediaError):
    """A film whose pictures have another size or pixel format from some frame on. Exit code 3."""


class ReferenceError(DvcpError):
    """A painted still or other picture that cannot be read, gives no colour, or serves no shot. Exit code 4."""

    exit_code = 4


class ShotListError(DvcpError):
    """A shot list that does not parse or does not fit its film. Exit code 5."""

    exit_code = 5


class StoreError(DvcpError):
    """Object storage or disk refused: no space, no permission, or an output made from something else. Exit code 6."""

    exit_code = 6


class WeightsError(DvcpError):
    """Weights missing, of the wrong shape, or with another digest than recorded. Exit code 7."""

    exit_code = 7


class ConfigError(DvcpError):
    """A configuration or command line that makes no sense. Exit code 2, as for any usage error."""

    exit_code = 2


class VerifyError(DvcpError):
    """An output that does not agree with its source. Exit code 10."""

    exit_code = 10


class ClusterLost(DvcpError):
    """The Ray cluster went away, has no room, or the run was ended: nothing is wrong with the film. Exit code 8."""

    exit_code = 8


def one_line(error: BaseException) -> str:
    """What an exception of another library says, in one line: its first, or its kind where it says nothing."""
    text = str(getattr(error, "strerror", None) or error)
    return text.splitlines()[0] if text else type(error).__name__
