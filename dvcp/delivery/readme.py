"""The page for whoever opens the bag when dvcp is long forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dvcp.delivery.mark import DIGITAL_SOURCE_TYPE, STATEMENT

_ABOUT = {
    "master": "the preservation master: FFV1 version 3 in Matroska. Its luma plane (Y') is the source's, sample by sample.",
    "mezzanine": "for editing: Apple ProRes 422 HQ in QuickTime, made from the master; not lossless.",
    "access": "for viewing: H.264 in MP4, made from the master; not lossless.",
    "layer": "the colour alone: planes Cb and Cr of the master as planes 2 and 3 of FFV1 pictures of their own size; plane 1 is empty.",
}


def readme(provenance: Mapping[str, Any]) -> bytes:
    """``README.txt`` of a delivery, UTF-8. The same provenance gives the same bytes. Raises KeyError where something is missing in it."""
    delivery, source, method = provenance["delivery"], provenance["source"], provenance["method"]
    shots, segments = provenance["shots"], provenance["segments"]
    films = [f"{film['file']}\n    {_ABOUT.get(film['profile'], film['profile'])}" for film in delivery["files"]]
    guessed = sum(1 for shot in shots if shot["guessed"])
    stills = len(delivery["references"])
    return "\n".join(
        [
            "A FILM WITH SYNTHETIC COLOUR",
            "",
            STATEMENT,
            "Everything else (luma, sound, times, subtitles, metadata) was copied from the source film.",
            f"Every film here says so in its own metadata (COLOUR_SYNTHETIC=yes, DIGITAL_SOURCE_TYPE={DIGITAL_SOURCE_TYPE}).",
            "",
            "WHERE IT COMES FROM",
            "",
            f"Source film: {source['url']}",
            f"sha256 of the source: {source['sha256']}",
            "The source is not in this bag. Keep it: nothing here replaces it.",
            f"{segments[-1]['stop'] if segments else 0} frames in {len(shots)} shots. Colour method: {method['name']}. "
            f"Software: {delivery['software']}.",
            f"Pictures the colours were taken from: {stills} (references/). Shots whose key frame a program coloured: {guessed}.",
            f"Packed {delivery['made']} on {delivery['host']}.",
            "",
            "WHAT IS HERE",
            "",
            *films,
            "FILM.luma.framemd5, FILM.framemd5",
            "    MD5 of the luma plane, and of everything, of every frame and every packet of sound. Any FFmpeg computes them:",
            "    ffmpeg -copyts -i FILM -map 0:v:0 -vf extractplanes=y -fps_mode passthrough -enc_time_base demux -f framemd5 -",
            "    ffmpeg -copyts -i FILM -map 0:v:0 -map 0:a? -c:a copy -fps_mode passthrough -enc_time_base demux -f framemd5 -",
            "    The hashes of the master's luma are those of the source's.",
            "FILM.synthetic.json",
            "    the mark of synthetic colour, and the file's sha256.",
            "pts.json",
            "    the exact time of every frame in ticks: first, then [step, how often]; Matroska rounds to 1 ms.",
            "provenance.json, premis.xml",
            "    for every shot: references, method, weights, engine, confidence. The same as PREMIS 3 for archive systems.",
            "shots.otio, shots.edl, shots.csv",
            "    the shots; frame numbers count from 0, timecodes from the film's own.",
            "references/",
            "    the pictures, as they were.",
            "",
            "TO CHECK",
            "",
            "This is a BagIt bag (RFC 8493): manifest-sha256.txt lists sha256 and name of every file in data/.",
            "The bag with the source film, by dvcp: dvcp verify BAG --source FILM",
            "To get back the master from the source and the layer: dvcp apply LAYER FILM --out MASTER, or lay planes 2 and 3 of the layer",
            "under the source's luma with any tool.",
            "",
        ]
    ).encode()
