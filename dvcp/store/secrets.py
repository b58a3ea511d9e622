"""What opens a store, carried between processes without ever being shown; and texts with whatever is secret hidden."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

#: variables that drivers of stores read
_FAMILIES = ("AWS_", "FSSPEC_", "AZURE_STORAGE_")
_SINGLE = ("GOOGLE_APPLICATION_CREDENTIALS",)
#: names whose value opens something; the id of an access key does not
_OPENS = re.compile(
    r"secret|token|password|passwd|passphrase|authorization|sas|signature|connection_string|credential|(account|storage|private)_?key", re.I
)
_NAMES_A_FILE = re.compile(r"_FILE$|_CREDENTIALS$|_DIR$|_PROFILE$|_URI$|_ENDPOINT")
#: shorter values would hide half of every text, and open nothing
_SHORTEST = 5
_HIDDEN = "***"
_SIGNED = re.compile(
    r"(?P<url>\b[a-zA-Z][\w+.-]*://[^\s?'\"<>]+)\?(?P<query>[^\s'\"<>)]*"
    r"\b(?:X-(?:Amz|Goog)-\w+|Signature|sig|token|access_token|AWSAccessKeyId|GoogleAccessId|Key-Pair-Id|Policy|key|secret|password)="
    r"[^\s'\"<>)]*)", re.I,
)  # fmt: skip
_USER = re.compile(r"(\b[a-zA-Z][\w+.-]*://)[^\s/@:'\"]*:[^\s/@'\"]+@")

#: what :meth:`Secrets.apply` has brought: for each variable the value before, None for none, and the one brought
_brought: dict[str, tuple[str | None, str | None]] = {}


@dataclass(frozen=True)
class Secrets:
    """Variables of the environment that drivers of stores read. Hashable and picklable; neither ``repr`` nor ``str`` shows a value.

    Attributes:
        variables: (name, value), sorted by name.
    """

    variables: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @classmethod
    def of_environment(cls) -> Secrets:
        """Those of this process."""
        return cls(tuple(sorted(_of(os.environ))))

    def apply(self) -> None:
        """Make them those of this process. What an earlier call brought and these lack is as it was before; what the process had of its
        own stays. File systems made before are forgotten when anything changed, since they keep the keys they were made with.
        """
        wanted = dict(self.variables)
        stale = [name for name in _brought if name not in wanted]
        changed = {name: value for name, value in wanted.items() if os.environ.get(name) != value}
        for name in stale:
            own, brought = _brought.pop(name)
            if os.environ.get(name) == brought:
                del os.environ[name]
                if own is not None:
                    os.environ[name] = own
        for name, value in changed.items():
            current = os.environ.get(name)
            own, brought = _brought.pop(name, (current, current))
            own = own if current == brought else current
            if value != own:
                _brought[name] = (own, value)
        os.environ.update(changed)
        if stale or changed:
            forget_stores()


def forget_stores() -> None:
    """Forget fsspec's file systems and read its configuration again: both are made once from the environment, and kept."""
    import fsspec
    from fsspec import config

    config.conf.clear()
    config.set_conf_files(config.conf_dir, config.conf)
    config.set_conf_env(config.conf)
    for kind in list(fsspec.registry.values()):
        kind.clear_instance_cache()


def drop_overrides() -> None:
    """Remove ``FSSPEC_S3_*`` from this process's environment: they would win over ``AWS_*``."""
    for name in [name for name in os.environ if name.startswith("FSSPEC_S3")]:
        del os.environ[name]


def redact(text: str) -> str:
    """``text`` with every secret value of this process's environment, passwords in URLs and the query of signed URLs hidden."""
    for value in sorted(_values(), key=len, reverse=True):
        text = text.replace(value, _HIDDEN)
    return _USER.sub(rf"\1{_HIDDEN}@", _SIGNED.sub(rf"\g<url>?{_HIDDEN}", text))


def redacted(value: Any) -> Any:
    """A JSON value with :func:`redact` applied to every string in it, names of fields excepted."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {name: redacted(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(inner) for inner in value]
    return value


def _of(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value in environment.items() if name.startswith(_FAMILIES) or name in _SINGLE)


def _values() -> set[str]:
    found: set[str] = set()
    for name, value in _of(os.environ):
        # FSSPEC_S3='{"key": ..., "secret": ...}' holds several.
        inside = list(_pairs(value)) if value.lstrip().startswith("{") else [(name, value)]
        found |= {v for n, v in inside if len(v) >= _SHORTEST and _OPENS.search(n) and not _NAMES_A_FILE.search(n)}
        found |= set(re.findall(r"(?:AccountKey|SharedAccessSignature)=([^;]{5,})", value))
    return found | {quote(value, safe="") for value in found}


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    try:
        held = json.loads(text)
    except ValueError:
        return
    yield from _strings("", held)


def _strings(name: str, held: Any) -> Iterator[tuple[str, str]]:
    if isinstance(held, str):
        yield name, held
    elif isinstance(held, dict):
        for inner, value in held.items():
            yield from _strings(str(inner), value)
