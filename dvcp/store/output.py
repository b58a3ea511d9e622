"""Where one output lives, and the claim that keeps a run from mixing with what another film left there."""

from __future__ import annotations

import json
import os
import shutil
import socket
from dataclasses import dataclass
from datetime import UTC, datetime

from dvcp.errors import ConfigError, StoreError
from dvcp.store import files, uploads
from dvcp.store.explain import guard
from dvcp.store.remote import Remote
from dvcp.store.secrets import redact

_CHOOSE = "choose another --out or remove it"


@dataclass(frozen=True)
class Output:
    """One output file and the folder of everything about it.

    Attributes:
        file_url: the delivered film, ``.../film.mkv``.
    """

    file_url: str

    @classmethod
    def at(cls, out: str, source_url: str, profile_suffix: str) -> Output:
        """The output ``out`` names: a file, or a folder (ends in ``/``, or is a local folder) that gets ``<source stem><profile_suffix>``.

        Args:
            out: path or URL.
            source_url: path or URL of the source.
            profile_suffix: end of the file name, e.g. ``.mkv`` or ``_colour.mov``.

        Raises:
            ConfigError: the output would be the source itself.
        """
        local = files.local_path(out)
        if out.endswith("/") or (local and os.path.isdir(local)):
            stem = os.path.splitext(files.split(files.absolute(source_url))[1])[0]
            out = files.join(files.absolute(out), stem + profile_suffix)
        url = files.absolute(out)
        if _same(url, files.absolute(source_url)):
            raise ConfigError("the output would overwrite its own source", file=url, hint="choose another --out")
        return cls(url)

    @property
    def name(self) -> str:
        """File name of the output."""
        return files.split(self.file_url)[1]

    @property
    def ledger_url(self) -> str:
        """The folder beside the output: ``film.dvcp`` for ``film.mkv``."""
        folder, name = files.split(self.file_url)
        return files.join(folder, os.path.splitext(name)[0] + ".dvcp")

    def report_url(self, name: str) -> str:
        """URL of the file ``name`` in the folder beside the output."""
        return files.join(self.ledger_url, name)


def claim(output: Output, source_digest: str, source_name: str) -> None:
    """Take the output for one source, before any work is done. Claiming again for the same source is how a run resumes.

    Writes ``source.json`` (once) and ``opened.json`` (each time, which proves that the folder can be written).

    Args:
        output: where to.
        source_digest: sha256 (hex) of the source's content.
        source_name: for people; not compared, so a renamed source resumes.

    Raises:
        StoreError: output or folder were made from something else, cannot be claimed, or cannot be written.
    """
    url = output.report_url("source.json")
    wanted = {"source_sha256": source_digest, "output": output.name}
    found = files.get_bytes(url)
    if found is None:
        if files.exists(output.file_url):
            raise StoreError("exists and was not made by dvcp", file=output.file_url, hint=_CHOOSE)
        body = json.dumps(wanted | {"source": redact(source_name)}, indent=1).encode()
        if not files.put_bytes(body, url, exclusive=True):
            found = files.get_bytes(url)  # another run was a moment faster; it may be of the same film
            if found is None:
                raise StoreError("another run's claim came and went", file=url, hint="let no other run use this --out, then run again")
    if found is not None:
        _compare(output, found, wanted)
    opened = {"opened": datetime.now(UTC).isoformat(timespec="seconds"), "host": socket.gethostname(), "pid": os.getpid()}
    files.put_bytes(json.dumps(opened).encode(), output.report_url("opened.json"))
    folder = files.local_path(files.split(output.file_url)[0])
    if folder and not os.access(folder, os.W_OK | os.X_OK):
        raise StoreError("permission denied", file=folder, hint="check the owner and the mode of the folder")


def abort_stale_uploads(output: Output) -> None:
    """Abort what killed processes left on S3 of the output file itself: its multipart uploads that began more than a day ago.

    Raises:
        StoreError: the store does not answer.
    """
    if files.local_path(output.file_url) is None:
        with guard(output.file_url):
            uploads.abort_uploads(Remote(output.file_url), exact=True)


def free_space(url: str) -> int | None:
    """Bytes free on the disk ``url`` lies or would lie on, None for an object store."""
    path = files.local_path(url)
    if path is None:
        return None
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return shutil.disk_usage(path).free


def _compare(output: Output, found: bytes, wanted: dict[str, str]) -> None:
    try:
        claimed = json.loads(found)
        same = {name: str(claimed[name]) for name in wanted}
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError("source.json cannot be read", file=output.ledger_url, hint=_CHOOSE) from error
    if same["source_sha256"] != wanted["source_sha256"]:
        raise StoreError(f"exists and was made from something else ({claimed.get('source')})", file=output.file_url, hint=_CHOOSE)
    if same != wanted:
        # Two outputs of one stem (film.mkv, film.mov) would share records, reports and provenance.
        raise StoreError(f"this folder belongs to the output {same['output']}", file=output.ledger_url, hint=_CHOOSE)


def _same(a: str, b: str) -> bool:
    if a == b:
        return True
    return os.path.exists(a) and os.path.exists(b) and os.path.samefile(a, b)
