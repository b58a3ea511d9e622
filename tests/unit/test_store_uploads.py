"""dvcp.store.uploads on a real S3 server: unfinished uploads of one object, and a put that meets another."""

from __future__ import annotations

from http.client import HTTPResponse
from types import SimpleNamespace
from typing import cast

import pytest

from dvcp.store import files, uploads
from dvcp.store.output import Output, abort_stale_uploads
from dvcp.store.remote import Remote
from tests.faulty_proxy import faulty
from tests.s3_server import S3Server, reached

_CONFLICT = b"<Error><Code>ConditionalRequestConflict</Code><Message>A conflicting operation is under way.</Message></Error>"


def test_uploads_of_one_object_alone_are_aborted(s3_url: str) -> None:
    film, longer, below = (Remote(f"{s3_url}/film.mkv{end}") for end in ("", ".mkv", "/a"))
    begun = [remote.call_once("create_multipart_upload")["UploadId"] for remote in (film, longer, below)]

    def left() -> set[str]:
        return {u["UploadId"] for u in film.fs.list_multipart_uploads("dvcp")} & set(begun)

    abort_stale_uploads(Output(film.url))
    assert left() == set(begun), "another process may be at it"
    assert uploads.abort_uploads(film, hours=0, exact=True) == 1
    assert left() == set(begun[1:])
    assert uploads.abort_uploads(Remote(s3_url), hours=0) == 2


@pytest.mark.parametrize("winner", [b"", b"theirs"], ids=["failed", "won"])
def test_a_put_that_meets_another_is_tried_again(s3: S3Server, s3_url: str, winner: bytes) -> None:
    """The store answers 409 while another put of the object is under way, whether that one fails or not."""
    url = f"{s3_url}/source.json"
    with faulty(s3.endpoint) as proxy, reached(proxy.env):
        ask = proxy.ask

        def conflict(method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[HTTPResponse, bytes]:
            if method != "PUT":
                return ask(method, path, headers, body)
            proxy.ask = ask  # type: ignore[method-assign]
            if winner:
                uploads.put_bytes(winner, Remote(url))
            answer = SimpleNamespace(status=409, reason="Conflict", getheaders=lambda: [("Content-Type", "application/xml")])
            return cast(HTTPResponse, answer), _CONFLICT

        proxy.ask = conflict  # type: ignore[method-assign]
        assert files.put_bytes(b"mine", url, exclusive=True) is not bool(winner)
        assert proxy.counts.requests["PUT"] == (3 if winner else 2)
    assert files.get_bytes(url) == (winner or b"mine")
