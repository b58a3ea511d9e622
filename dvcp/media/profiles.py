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
        suffix: of the file name; where two fit a name, the longer one counts.
        codec: FFmpeg's encoder.
        options: of the encoder.
        lossy: its luma is not the source's, sample by sample.
        depth: bits a sample; None = the source's.
        subsample: log2 of the chroma grid's step; None = the source's.
        full_range: of its samples; None = the source's.
        even: sizes are extended to even ones by repeating the last column or line, lines of interlaced film to a multiple of four.
        interlaced: options added for field order top first, bottom first; None = the encoder needs none, or knows no fields.
        attachments: its container holds attached files.
        colour_only: its pictures are the chroma planes alone, each with a sample where the chroma grid has one, under a mid-gray Y
            plane; no sound, subtitles or chapters.
        saves: how many times less space segments and output together take than raw 4:2:0 of the source's depth, at least.
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
    full_range: bool | None = None
    even: bool = False
    interlaced: tuple[tuple[str, str], tuple[str, str]] | None = None
    attachments: bool = False
    colour_only: bool = False
    saves: int = 1


# FFV1 chooses its own number of slices (4 at least above CIF): a fixed one is refused for small pictures
FFV1 = (("level", "3"), ("g", "1"), ("slicecrc", "1"))

MASTER = Profile(
    name="master",
    about="FFV1 version 3 in Matroska, intra only, slices with checksums; depth, size and chroma grid of the source (4:2:0 for gray)",
    container="matroska",
    suffix=".mkv",
    codec="ffv1",
    options=FFV1,
    lossy=False,
    attachments=True,
)
MEZZANINE = Profile(
    name="mezzanine",
    # MOV has no tag for the range of ProRes and every reader takes it for limited
    about="ProRes 422 HQ 10 bit in MOV for editing; full-range sources are brought to limited range",
    container="mov",
    suffix=".mov",
    codec="prores_ks",
    options=(("profile", "3"), ("vendor", "apl0")),
    lossy=True,
    depth=10,
    subsample=(1, 0),
    full_range=False,
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
    saves=20,
)
LAYER = Profile(
    name="layer",
    about="the colour alone, to lay over the untouched source: its chroma planes as FFV1 4:4:4 in Matroska under mid-gray luma",
    container="matroska",
    suffix=".colour.mkv",
    codec="ffv1",
    options=FFV1,
    lossy=False,
    attachments=True,
    colour_only=True,
)

#: by name, the default first
PROFILES = {profile.name: profile for profile in (MASTER, MEZZANINE, ACCESS, LAYER)}


def profile_of(name: str) -> Profile:
    """The profile called ``name``. Raises ConfigError when there is none."""
    if name not in PROFILES:
        raise ConfigError(f"no profile {name!r}", hint=f"one of {', '.join(PROFILES)}")
    return PROFILES[name]


def profile_for(url: str) -> Profile:
    """The profile whose files end as ``url`` does, that with the longest suffix first; the master where none does."""
    longest = sorted(PROFILES.values(), key=lambda profile: -len(profile.suffix))
    return next((profile for profile in longest if url.endswith(profile.suffix)), MASTER)
