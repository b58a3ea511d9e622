"""How the files of a delivery are called."""

from __future__ import annotations

import re

from dvcp.media.profiles import LAYER, MASTER, Profile
from dvcp.media.source import stem

PROVENANCE, PREMIS, PTS, README = "provenance.json", "premis.xml", "pts.json", "README.txt"
LISTS = ("shots.otio", "shots.edl", "shots.csv")
LUMA, EVERYTHING, MARK = ".luma.framemd5", ".framemd5", ".synthetic.json"
#: delivered unless asked otherwise
DEFAULT = (MASTER.name, "mezzanine", "access", LAYER.name)


def safe(name: str) -> str:
    """A file name that every file system and every BagIt tool takes as it is (the Library of Congress' does not know ``%25``)."""
    return re.sub(r'[\x00-\x1f\x7f%"*/:<>?\\|]', "_", name).strip(" .") or "_"


def film_name(master: str, profile: Profile) -> str:
    """Name of the delivered file of a profile, after the master's: ``reel_colour.mkv``, ``reel_colour.mov``, ``reel_colour.colour.mkv``."""
    name = stem(master)
    return safe(name.removesuffix(LAYER.suffix.removesuffix(MASTER.suffix)) + profile.suffix)


def still_name(number: int, url: str) -> str:
    """Name of a kept reference, in its folder."""
    return f"references/{number:04d}-{safe(url.rpartition('/')[2])}"
