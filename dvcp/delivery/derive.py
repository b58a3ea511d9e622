"""Other films of a master: copies in other profiles, the colour layer alone, and the master again from layer and source."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dvcp.delivery.mark import Mark, read_mark
from dvcp.delivery.names import MARK
from dvcp.delivery.sidecar import read_sidecar
from dvcp.errors import StoreError, VerifyError
from dvcp.media.assemble import assemble
from dvcp.media.probe import VideoInfo, probe
from dvcp.media.profiles import MASTER, Profile
from dvcp.media.reader import FrameReader
from dvcp.media.source import content_digest
from dvcp.media.writer import SegmentWriter
from dvcp.methods.base import Samples
from dvcp.shots.survey import survey
from dvcp.store import files
from dvcp.store.output import Output
from dvcp.timing import Span

#: frames held at a time
BATCH = 8

Pictures = Callable[[Span], tuple[Samples, Samples]]


def derive(master: VideoInfo, source: VideoInfo, profile: Profile, out: Path, mark: Mark) -> list[str]:
    """Transcode the master into another profile, with the source's sound and metadata and the mark. Returns warnings.

    Args:
        master: the finished film.
        source: what it was made from.
        profile: what to make.
        out: local file to write.
        mark: of the master.

    Raises:
        MediaError: the master cannot be decoded, or an encoder refuses.
        StoreError: no space.
    """
    with FrameReader(master) as reader:
        return _write(reader.planes, source, profile, out, mark)


def apply_layer(layer_url: str, source_url: str, out_url: str) -> tuple[str, list[str]]:
    """Lay a colour layer over the film it was made for: the master again, every sample of every plane. Returns its URL and warnings.

    Raises:
        VerifyError: the layer carries no mark, was made for another film, or does not fit it.
        StoreError: the output exists, or cannot be written.
        MediaError: a file that cannot be decoded.
    """
    output = Output.at(out_url, source_url, "_colour" + MASTER.suffix)
    if files.exists(output.file_url):
        raise StoreError("exists", file=output.file_url, hint="choose another --out or remove it")
    layer, source = probe(layer_url), probe(source_url)
    # As when the film was coloured: what cannot be decoded is plain gray.
    source = replace(source, damaged=survey(source, cuts=False).damaged)
    mark = read_mark(layer.metadata)
    if mark is None:
        raise VerifyError("carries no mark of synthetic colour, so it is no colour layer of dvcp's", file=layer_url)
    digest = content_digest(source_url)
    _refuse_other(layer_url, mark, source_url, digest)
    rows, columns = source.colour.chroma_shape(source.height, source.width)
    found = (len(layer.frames), layer.width, layer.height, layer.colour.depth)
    wanted = (len(source.frames), columns, rows, source.colour.depth)
    if found != wanted:
        message = "holds {} frames of {}x{} with {} bits".format(*found)
        raise VerifyError(message, file=layer_url, hint="the film needs {} frames of {}x{} with {} bits".format(*wanted))
    local = files.local_path(output.file_url)
    if local:
        os.makedirs(os.path.dirname(local), exist_ok=True)
    with (
        FrameReader(layer) as colours,
        FrameReader(source) as pictures,
        tempfile.TemporaryDirectory(prefix=".dvcp-", dir=os.path.dirname(local) if local else None) as scratch,
    ):
        joined = Path(scratch) / f"joined{MASTER.suffix}"
        warnings = _write(lambda span: (pictures.luma(span), colours.planes(span)[1]), source, MASTER, joined, mark)
        files.put_file(joined, output.file_url)
    return output.file_url, warnings


def _refuse_other(layer_url: str, mark: Mark, source_url: str, digest: str) -> None:
    hint = f"it belongs to the film with sha256 {mark.source}"
    if mark.source != digest:
        raise VerifyError(f"was made for another film than {source_url}", file=layer_url, hint=hint)
    sidecar = read_sidecar(layer_url + MARK)
    if sidecar is not None and (sidecar.get("sha256"), sidecar.get("colour_source_sha256")) != (content_digest(layer_url), digest):
        message = "is not the file its sidecar was written for, or the sidecar belongs to another film"
        raise VerifyError(message, file=layer_url, hint=f"see {layer_url}{MARK}")


def _write(pictures: Pictures, source: VideoInfo, profile: Profile, out: Path, mark: Mark) -> list[str]:
    whole = Span(0, len(source.frames))
    with tempfile.TemporaryDirectory(prefix=".dvcp-", dir=out.parent) as scratch:
        segment = str(Path(scratch) / "segment.mkv")
        with SegmentWriter(segment, source, profile) as writer:
            for first in range(0, whole.stop, BATCH):
                writer.write(*pictures(Span(first, min(first + BATCH, whole.stop))))
        return assemble([(segment, whole)], source, str(out), profile, mark.tags())
