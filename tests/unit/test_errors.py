from __future__ import annotations

import pickle

import pytest

from dvcp import errors
from dvcp.errors import ConfigError, DvcpError, MediaError, ShotListError

EVERY = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, DvcpError)]


@pytest.mark.parametrize("kind", EVERY)
def test_every_error_crosses_process_borders_whole(kind: type[DvcpError]) -> None:
    error = kind("is broken", file="a.mkv", shot=3, frame=71, hint="mend it")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind and str(again) == str(error) == "a.mkv, shot 3, frame 71: is broken (mend it)"
    assert (again.message, again.file, again.shot, again.frame, again.hint) == ("is broken", "a.mkv", 3, 71, "mend it")


def test_the_line_names_only_what_is_known() -> None:
    assert str(MediaError("is broken")) == "is broken"
    assert str(MediaError("is broken", frame=0)) == "frame 0: is broken"
    assert str(ShotListError("does not parse", file="x.csv")) == "x.csv: does not parse"
    assert str(ConfigError("makes no sense", hint="think")) == "makes no sense (think)"


def test_exit_codes_tell_the_kinds_apart() -> None:
    kinds = DvcpError.__subclasses__()
    assert len({kind.exit_code for kind in kinds}) == len(kinds) > 5
    assert ConfigError.exit_code == 2, "the shell's code of a usage error"
    assert all(kind.exit_code not in (0, DvcpError.exit_code) for kind in kinds)
