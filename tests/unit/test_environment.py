from __future__ import annotations

import pytest

from dvcp.environment import whole_number
from dvcp.errors import ConfigError
from dvcp.media.source import decode_threads


@pytest.mark.parametrize("told, number", [(None, 7), ("", 7), (" 3 ", 3), ("0", 0)])
def test_a_number_or_the_default(monkeypatch: pytest.MonkeyPatch, told: str | None, number: int) -> None:
    monkeypatch.delenv("DVCP_X", raising=False)
    if told is not None:
        monkeypatch.setenv("DVCP_X", told)
    assert whole_number("DVCP_X", 7) == number


@pytest.mark.parametrize("told", ["all", "-1", "1.5", "2²"])
def test_what_is_no_number_is_named(monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    monkeypatch.setenv("DVCP_DECODE_THREADS", told)
    with pytest.raises(ConfigError, match=rf"DVCP_DECODE_THREADS={told} is no whole number \(e\.g\. DVCP_DECODE_THREADS=2"):
        decode_threads()
