"""What drivers of stores raise (each has its own classes), told apart by whether it may pass, and as one line that says what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dvcp.errors import DvcpError, StoreError
from dvcp.store.local import local_path
from dvcp.store.secrets import redact

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_UNREACHABLE = {"ConnectionError", "TimeoutError", "HTTPClientError", "ClientConnectionError"}
_NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError"}
#: by name, because the drivers they come from may not be installed
_PASSING = _UNREACHABLE | {"IncompleteRead", "ClientPayloadError", "ResponseParserError", "ResponseStreamingError"}
#: a certificate does not become valid by waiting
_LASTING = {"SSLError", "ClientSSLError", "ClientConnectorCertificateError", "UnknownSchemeError"}
_PASSING_CODES = {"SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling", "ThrottlingException", "BadDigest",
                  "IncompleteBody", "XAmzContentSHA256Mismatch", "OperationAborted"}  # fmt: skip
_PASSING_STATUS = {408, 429, 500, 502, 503, 504}
#: as s3fs numbers the same answers where it keeps nothing else of them
_PASSING_ERRNO = {errno.EREMOTEIO, errno.EBUSY, errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT, errno.ECONNREFUSED, errno.ECONNABORTED}


def passing(error: BaseException) -> bool:
    """Whether the same request may succeed a moment later: 5xx, 429, SlowDown, timeouts, dropped connections, bodies cut short."""
    if isinstance(error, DvcpError | FileNotFoundError | PermissionError | FileExistsError):
        return False
    code, status = answered(error)
    if code is not None:
        return code in _PASSING_CODES or status in _PASSING_STATUS
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds & _LASTING:
        return False
    if kinds & _PASSING or getattr(error, "status", getattr(error, "code", None)) in _PASSING_STATUS:
        return True
    return isinstance(error, OSError) and error.errno in _PASSING_ERRNO


def answered(error: BaseException) -> tuple[str | None, int]:
    """Code and HTTP status of the answer behind an error of an S3 store; (None, 0) where there was no answer."""
    response: dict[str, Any] = getattr(error, "response", None) or getattr(error.__cause__, "response", None) or {}
    if not isinstance(response, dict) or "Error" not in response:
        return None, 0
    return str(response["Error"].get("Code")), int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


@contextmanager
def guard(url: str) -> Iterator[None]:
    """Turn whatever a driver raises in the block into a StoreError that says what to do."""
    try:
        yield
    except DvcpError:
        raise
    except Exception as error:
        raise explain(url, error) from error


def explain(url: str, error: Exception) -> StoreError:
    """``error``, raised for ``url``, as one line without secrets."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    code = getattr(error, "errno", None)
    remote = local_path(url) is None
    if code in _NO_SPACE:
        return StoreError("no space left", file=url, hint="free some space or choose another place, then run again")
    if isinstance(error, PermissionError) or code == errno.EROFS:
        hint = "check the access key, the secret and the bucket's policy" if remote else "check the owner and the mode of the folder"
        return StoreError("permission denied", file=url, hint=hint)
    if kinds & _UNREACHABLE:
        hint = f"check the network and AWS_ENDPOINT_URL={os.environ.get('AWS_ENDPOINT_URL', 'unset')}"
        return StoreError(f"the store cannot be reached: {detail(error)}", file=url, hint=hint)
    if kinds & _NO_CREDENTIALS:
        return StoreError("no credentials for this store", file=url, hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    if isinstance(error, FileNotFoundError):
        return StoreError("no such object or bucket" if remote else "no such file or folder", file=url, hint="check the name")
    return StoreError(detail(error), file=url)


def detail(error: BaseException) -> str:
    """What an error says, in one line without secrets; its class where it says nothing."""
    return redact(" ".join(str(error).split())) or type(error).__name__
