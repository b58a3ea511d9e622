"""A store behind a bad network: an HTTP proxy before a real S3 server that makes requests fail, counts them, and can be cut.

It passes the Host header on as the client signed it, so signatures hold.
"""

from __future__ import annotations

import http.client
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from tests.s3_server import KEY, SECRET

#: what can go wrong: an answer of 500 or 503, the connection dropped before or after the server did its work, the answer's body cut in the
#: middle, a long wait before the answer
FAULTS = ("error", "slow_down", "drop_before", "drop_after", "cut_body", "delay")
_BODY = b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>%s</Message></Error>'
_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "proxy-connection", "expect"}


@dataclass
class Counts:
    """What went through.

    Attributes:
        requests: by kind: GET, RANGE, HEAD, PUT, PART, BEGIN, COMPLETE, ABORT, LIST, UPLOADS, DELETE.
        sent, received: bytes of bodies to clients, and from them.
        faults: by kind of :data:`FAULTS`, and "cut".
    """

    requests: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    received: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return self.requests.total()


class FaultyProxy:
    """A running proxy; see :func:`faulty`.

    Attributes:
        endpoint: ``http://127.0.0.1:<port>``.
        counts: since the start or the last :meth:`reset`.
        share: of requests that fail, 0 to 1.
        most: faults still to come; None for no end.
        only: kinds of requests that may fail; None for all.

    The last three may be changed at any time.
    """

    def __init__(self, endpoint: str, share: float, seed: int, faults: Sequence[str], delay_s: float) -> None:
        self.share, self.counts = share, Counts()
        self.most: int | None = None
        self.only: Collection[str] | None = None
        self._target = urlsplit(endpoint).netloc
        self._chance, self._faults, self._delay_s = random.Random(seed), tuple(faults), delay_s
        self._lock = threading.Lock()
        self._cut_until = 0.0
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def env(self) -> dict[str, str]:
        """As :attr:`tests.s3_server.S3Server.env`, through the proxy."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true", "FSSPEC_S3_ENDPOINT_URL": self.endpoint, "FSSPEC_S3_KEY": KEY, "FSSPEC_S3_SECRET": SECRET,
        }  # fmt: skip

    def cut(self, seconds: float) -> None:
        """From now on, for so long, every connection is dropped before the server hears of it. Returns at once."""
        self._cut_until = time.monotonic() + seconds

    def reset(self) -> Counts:
        """Count anew; what was counted so far."""
        with self._lock:
            old, self.counts = self.counts, Counts()
        return old

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def judge(self, kind: str, received: int) -> str:
        """Count a request and say what befalls it; "" for nothing."""
        with self._lock:
            self.counts.requests[kind] += 1
            self.counts.received += received
            fault = ""
            if time.monotonic() < self._cut_until:
                fault = "cut"
            elif self._chance.random() < self.share and self.most != 0 and (self.only is None or kind in self.only):
                self.most = None if self.most is None else self.most - 1
                fault = self._chance.choice(self._faults)
            if fault:
                self.counts.faults[fault] += 1
            return fault

    def answered(self, sent: int) -> None:
        with self._lock:
            self.counts.sent += sent

    def ask(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        """The real server's answer."""
        connection = http.client.HTTPConnection(self._target, timeout=60)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()

    def delay(self) -> None:
        time.sleep(self._delay_s)


@contextmanager
def faulty(
    endpoint: str, share: float = 0.0, seed: int = 1, faults: Sequence[str] = FAULTS, delay_s: float = 0.5
) -> Iterator[FaultyProxy]:
    """A proxy before the S3 server at ``endpoint``.

    Args:
        share: of requests that fail.
        faults: those that may befall them.
        delay_s: how long an answer is held back by the fault "delay".
    """
    proxy = FaultyProxy(endpoint, share, seed, faults, delay_s)
    try:
        yield proxy
    finally:
        proxy.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are no news here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: FaultyProxy

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.owner.judge(_kind(self.command, self.path, self.headers.get("Range")), len(body))
        if fault in ("cut", "drop_before"):
            return self._drop()
        if fault == "error":
            return self._answer(500, _BODY % (b"InternalError", b"We encountered an internal error."))
        if fault == "slow_down":
            return self._answer(503, _BODY % (b"SlowDown", b"Please reduce your request rate."))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        try:
            answer, data = self.owner.ask(self.command, self.path, headers, body)
        except OSError:
            return self._drop()
        if fault == "drop_after" or (fault == "cut_body" and (len(data) < 2 or self.command == "HEAD")):
            return self._drop()
        if fault == "delay":
            self.owner.delay()
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP | {"content-length"}:
                self.send_header(name, value)
        # The answer to HEAD tells a length without a body.
        self.send_header("Content-Length", answer.getheader("Content-Length") or "0" if self.command == "HEAD" else str(len(data)))
        self.end_headers()
        if fault == "cut_body":
            data = data[: len(data) // 2]
        self.wfile.write(data)
        self.owner.answered(len(data))
        if fault == "cut_body":
            self._drop()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _drop(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        """What went through is counted, not printed."""


def _kind(method: str, path: str, ranged: str | None) -> str:
    query = parse_qs(urlsplit(path).query, keep_blank_values=True)
    if method == "GET":
        if "uploads" in query:
            return "UPLOADS"
        return "LIST" if "list-type" in query else "RANGE" if ranged else "GET"
    if method == "PUT":
        return "PART" if "partNumber" in query else "PUT"
    if method == "POST":
        return "BEGIN" if "uploads" in query else "COMPLETE"
    if method == "DELETE":
        return "ABORT" if "uploadId" in query else "DELETE"
    return method
