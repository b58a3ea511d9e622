"""Objects written whole, and checked: what the store holds is what was sent, and nothing unfinished stays behind.

The ETag of an object put at once is the MD5 of its content on most stores, that of one put in parts the MD5 of the parts' MD5s; where it
agrees, nothing has to be read. Where it does not (a store that encrypts gives another), the object is read back.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from dvcp.errors import StoreError
from dvcp.pulse import pulse
from dvcp.store.explain import answered, detail
from dvcp.store.remote import Facts, Remote
from dvcp.store.retry import retried
from dvcp.store.secrets import redact

log = logging.getLogger(__name__)

#: bytes of a part; a file of up to two goes at once
PART = 16 << 20
#: S3 takes 10,000
_MOST_PARTS = 9000
_PARTS_AT_ONCE = 4
#: times an object is put whose content comes out wrong
_PUTS = 3
_EXISTS = "PreconditionFailed"
#: another put of the same object is under way
_CONFLICT = "ConditionalRequestConflict"
_TOKEN = "dvcp-put"


def put_file(source: str, sha256: str, to: Remote) -> None:
    """Store the local file ``source``, of that sha256 (hex), and check what is stored.

    Raises:
        StoreError: the store keeps something else than what was sent; else what drivers raise.
    """
    length = os.path.getsize(source)
    for attempt in range(1, _PUTS + 1):
        try:
            expected = _send(source, length, to)
        except FileNotFoundError as error:
            # Somebody tidied our unfinished upload away.
            if answered(error)[0] != "NoSuchUpload" or attempt == _PUTS:
                raise
            continue
        facts = to.facts()
        if facts is not None and facts.size == length and (facts.tag == expected or _sha256(to, facts) == sha256):
            return
        log.warning("%s: the store keeps %s instead of %d bytes that were sent; put again", redact(to.url), facts, length)
    raise StoreError("the store keeps something else than what was sent", file=to.url, hint="check the store, then run again")


def put_bytes(data: bytes, to: Remote) -> None:
    """As :func:`put_file`, of bytes; one request on S3, whose answer carries the ETag."""
    for _ in range(_PUTS):
        if to.s3:
            tag = _tag(to.call("put_object", Body=data))
        else:
            retried(to.url, lambda: to.fs.pipe_file(to.key, data))
            tag = ""
        if (tag and tag == _md5(data)) or to.content() == data:
            return
        log.warning("%s: the store keeps something else than the %d bytes that were sent; put again", redact(to.url), len(data))
    raise StoreError("the store keeps something else than what was sent", file=to.url, hint="check the store, then run again")


def create(data: bytes, to: Remote) -> bool:
    """Store ``data`` unless there is something; whether it is this call's own that is there now.

    The answer to a put can be lost, and the same put, tried again, is then refused because of itself. So every such object carries a mark
    of its own, by which a refused call knows its own work.
    """
    # Asked first, because some stores accept If-None-Match and ignore it.
    if to.facts() is not None:
        return False
    token, puts = uuid.uuid4().hex, 0

    def put() -> str:
        nonlocal puts
        puts += 1
        if not to.s3:
            to.fs.pipe_file(to.key, data, mode="create")
            return ""
        try:
            return _tag(to.call_once("put_object", Body=data, IfNoneMatch="*", Metadata={_TOKEN: token}))
        except OSError as error:
            # The other put may fail yet: it does not say that there is something.
            if answered(error)[0] == _CONFLICT:
                raise OSError(errno.EBUSY, detail(error)) from error
            raise

    try:
        tag = retried(to.url, put)
    except FileExistsError:
        return _is_ours(to, token) if to.s3 else puts > 1 and to.content() == data
    except NotImplementedError:
        put_bytes(data, to)
        return True
    except OSError as error:
        # s3fs knows the failed precondition only by a field that AWS sends and other servers leave out; they give a plain OSError.
        if answered(error)[0] == _EXISTS:
            return _is_ours(to, token)
        if error.errno != errno.ENOSYS:
            raise
        put_bytes(data, to)
        return True
    if (tag and tag == _md5(data)) or to.content() == data:
        return True
    raise StoreError("the store keeps something else than what was sent", file=to.url, hint="check the store, then run again")


def abort_uploads(of: Remote, hours: float = 24, *, exact: bool = False) -> int:
    """Abort the multipart uploads under a folder of an S3 store that began more than ``hours`` ago: what killed processes leave.

    Args:
        of: the folder; with ``exact`` the one object whose uploads are meant.

    Returns how many; 0 for other stores, and for servers that do not list uploads or not for us.
    """
    if not of.s3:
        return 0
    key, before = of.place()["Key"], datetime.now(UTC) - timedelta(hours=hours)

    def stale(upload: dict[str, Any]) -> bool:
        begun = upload.get("Initiated")
        return (not exact or upload["Key"] == key) and (begun is None or begun < before)

    try:
        return _abort_each(of, key if exact or not key else f"{key}/", stale)
    except OSError as error:
        if error.errno != errno.ENOSYS and not isinstance(error, PermissionError):
            raise
        # Many a key may write objects and not list uploads: no film that is done may fail for it.
        log.info("%s: unfinished uploads cannot be listed: %s", redact(of.url), detail(error))
        return 0


def _send(source: str, length: int, to: Remote) -> str:
    """Put a file, in parts where it is large; the ETag it should have."""
    if not to.s3:
        retried(to.url, lambda: to.fs.put_file(source, to.key))
        return ""
    if length > 2 * PART:
        return _send_parts(source, length, to)
    with open(source, "rb") as stream:
        data = stream.read()
    to.call("put_object", Body=data)
    return _md5(data)


def _send_parts(source: str, length: int, to: Remote) -> str:
    size = max(PART, -(-length // _MOST_PARTS))
    tries = 0

    def begin() -> dict[str, Any]:
        nonlocal tries
        tries += 1
        return to.call_once("create_multipart_upload")

    begun = retried(to.url, begin)
    upload, key = str(begun["UploadId"]), to.place()["Key"]
    pool = ThreadPoolExecutor(_PARTS_AT_ONCE)

    def part(number: int) -> tuple[dict[str, Any], bytes]:
        with open(source, "rb") as stream:
            stream.seek((number - 1) * size)
            data = stream.read(size)
        answer = to.call("upload_part", UploadId=upload, PartNumber=number, Body=data)
        pulse()
        return {"PartNumber": number, "ETag": answer["ETag"]}, hashlib.md5(data, usedforsecurity=False).digest()

    try:
        if tries > 1 or begun["ResponseMetadata"].get("RetryAttempts"):
            # A lost answer to an earlier try left an upload that nobody knows. Another process that puts the same object starts again.
            with suppress(PermissionError):
                _abort_each(to, key, lambda other: other["Key"] == key and other["UploadId"] != upload)
        sent = list(pool.map(part, range(1, -(-length // size) + 1)))
        _complete(to, upload, [told for told, _ in sent])
    except BaseException:
        pool.shutdown(cancel_futures=True)
        with suppress(Exception):
            _abort(to, key, upload)
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    return f"{_md5(b''.join(digest for _, digest in sent))}-{len(sent)}"


def _complete(to: Remote, upload: str, parts: list[dict[str, Any]]) -> None:
    try:
        to.call("complete_multipart_upload", UploadId=upload, MultipartUpload={"Parts": parts})
    except FileNotFoundError:
        # It reads the same when an earlier try did complete it and its answer was lost: whoever checks the object will see.
        if to.facts() is None:
            raise


def _abort_each(of: Remote, prefix: str, doomed: Callable[[dict[str, Any]], bool]) -> int:
    """Abort those uploads under a prefix that are ``doomed``; how many."""
    return sum(_abort(of, upload["Key"], upload["UploadId"]) for upload in _uploads(of, prefix) if doomed(upload))


def _uploads(of: Remote, prefix: str) -> Iterator[dict[str, Any]]:
    bucket, marks = of.place()["Bucket"], dict[str, str]()

    def page() -> dict[str, Any]:
        answer: dict[str, Any] = of.fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix, **marks)
        return answer

    while True:
        said = retried(of.url, page)
        yield from said.get("Uploads", [])
        new = {"KeyMarker": said.get("NextKeyMarker") or "", "UploadIdMarker": said.get("NextUploadIdMarker") or ""}
        if not said.get("IsTruncated") or new == marks:
            return
        marks = new


def _abort(of: Remote, key: str, upload: str) -> bool:
    """Whether there was such an upload."""
    bucket = of.place()["Bucket"]
    try:
        retried(of.url, lambda: of.fs.call_s3("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload))
    except FileNotFoundError:
        return False
    except Exception as error:
        log.warning("%s: an unfinished upload stays behind: %s", redact(of.url), detail(error))
        raise
    return True


def _is_ours(to: Remote, token: str) -> bool:
    try:
        return bool(to.call("head_object").get("Metadata", {}).get(_TOKEN) == token)
    except FileNotFoundError:
        return False


def _sha256(of: Remote, facts: Facts) -> str:
    digest = hashlib.sha256()
    for piece in of.blocks(facts):
        pulse()
        digest.update(piece)
    return digest.hexdigest()


def _tag(answer: dict[str, Any]) -> str:
    return str(answer.get("ETag", "")).strip('"')


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
