"""What is delivered, as a table: container, codec and how far each leaves the film as it is."""

from __future__ import annotations

from dataclasses import dataclass

from dvcp.errors import ConfigError


@dataclass(frozen=True)
class Profile:
    """One kind of delivered file.

    Attributes:
        name: what people call it.
        about: one line for them.
        container: FFmpeg's muxer.
        suffix: of the file name.
        codec: FFmpeg's encoder.
        options: of the encoder.
        lossy: its luma is not the source's, sample by sample.
        depth: bits a sample; None = the source's.
        subsample: log2 of the chroma grid's step; None = the source's.
        even: odd sizes are extended by repeating the last column or row.
        interlaced: options added for field order top first, bottom first.
    """

    name: str
    about: str
    container: str
    suffix: str
    codec: str
    options: tuple[tuple[str, str], ...]
    lossy: bool
    depth: int | None = None
    subsample: tuple[int, int] | None = None
    even: bool = False
    interlaced: tuple[tuple[str, str], tuple[str, str]] | None = None


MASTER = Profile(
    name="master",
    about="FFV1 version 3 in Matroska, intra only, slices with checksums; depth, size and chroma grid of the source (4:2:0 for gray)",
    container="matroska",
    suffix=".mkv",
    codec="ffv1",
    # FFV1 chooses its own number of slices (4 at least above CIF): a fixed one is refused for small pictures
    options=(("level", "3"), ("g", "1"), ("slicecrc", "1")),
    lossy=False,
)
ACCESS = Profile(
    name="access",
    # 4:2:0 cropping in H.264 counts in twos, so an odd size cannot be tagged away
    about="H.264 4:2:0 8 bit in MP4 for viewing, without B-frames; deeper sources are rounded, odd sizes extended to even ones",
    container="mp4",
    suffix=".mp4",
    codec="libx264",
    options=(("crf", "18"), ("preset", "veryfast"), ("bf", "0")),
    lossy=True,
    depth=8,
    subsample=(1, 1),
    even=True,
    interlaced=(("x264-params", "tff=1"), ("x264-params", "bff=1")),
)

#: by name, the default first
PROFILES = {profile.name: profile for profile in (MASTER, ACCESS)}


def profile_of(name: str) -> Profile:
    """The profile called ``name``. Raises ConfigError when there is none."""
    if name not in PROFILES:
        raise ConfigError(f"no profile {name!r}", hint=f"one of {', '.join(PROFILES)}")
    return PROFILES[name]


def profile_for(url: str) -> Profile:
    """The profile whose files end as ``url`` does; the master where none does."""
    return next((profile for profile in PROFILES.values() if url.endswith(profile.suffix)), MASTER)
