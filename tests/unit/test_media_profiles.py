from __future__ import annotations

import pytest

from dvcp.errors import ConfigError
from dvcp.media.profiles import ACCESS, LAYER, MASTER, MEZZANINE, PROFILES, Profile, profile_for, profile_of


@pytest.mark.parametrize("url, profile", [
    ("a.mkv", MASTER), ("s3://b/reel.colour.mkv", LAYER), ("colour.mkv", MASTER), ("a.mov", MEZZANINE), ("a.colour.mp4", ACCESS),
    ("a", MASTER),
])  # fmt: skip
def test_the_longest_suffix_that_fits_tells_the_profile(url: str, profile: Profile) -> None:
    assert profile_for(url) is profile


def test_every_profile_is_found_by_its_name_and_its_suffix() -> None:
    for name, profile in PROFILES.items():
        assert profile_of(name) is profile is profile_for(f"reel{profile.suffix}")


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no profile 'proxy'.*master, mezzanine, access, layer"):
        profile_of("proxy")
