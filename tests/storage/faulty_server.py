"""A server in front of an S3 server that fails as networks and S3 do: resets, cut or lost answers, 503, slowness."""

import contextlib
import http.client
import os
import random
import signal
import socket
import struct
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SLOW_DOWN = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)
#: `lost`: the work was done, and nobody hears of it.
KINDS = ("503", "reset", "slow", "lost", "cut")
#: What S3 says, and MinIO if it is full: the HTTP status and the code of a refusal that no second try mends.
REFUSALS = {"ExpiredToken": 400, "AccessDenied": 403, "XMinioStorageFull": 507}
#: Seconds by which an answer of the kind `slow` comes late.
SLOW_S = 0.5
#: Requests that change something.
_WRITES = ("PUT", "POST", "DELETE")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kill:
    """SIGKILL to the client at a writing request: that of this number, or the first whose path has this part."""

    pid: int
    number: int
    path: str
    done: bool

    def comes(self, number: int, path: str) -> bool:
        return self.path in path if self.path else self.number == number


class FaultyServer(ThreadingHTTPServer):
    """Forwards requests; each fault in `faults` spoils one of them, the first fault first."""

    daemon_threads = True

    def __init__(self, host: str, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Forwarder)
        self.upstream = host, port
        self.faults: list[str] = []
        self.num_spoilt = self.num_requests = 0
        self.answers = threading.Event()
        """While it is not set, no request gets an answer."""
        self.answers.set()
        self._share, self._random = 0.0, random.Random()  # noqa: S311 (no secret)
        self._refusal, self._refused_from = "", 0
        self._kill: _Kill | None = None
        self._num_writes = 0
        self._lock = threading.Lock()

    def refuse(self, code: str, num_requests: int) -> None:
        """Refuse all requests after so many with a code of `REFUSALS`, or only the writing ones if the server is full.

        An empty code ends this.
        """
        self._refusal, self._refused_from = code, self.num_requests + num_requests

    def refusal_of(self, method: str) -> str:
        """The code by which the next request is refused; empty: it is not."""
        refused = self._refusal and self.num_requests > self._refused_from
        return self._refusal if refused and (method == "PUT" or self._refusal != "XMinioStorageFull") else ""

    def kill(self, pid: int, *, number: int = 0, path: str = "", done: bool) -> None:
        """Kill a client at one of its writing requests, once.

        Args:
            pid: The client.
            number: Of the request, counted from now and from 1.
            path: Part of its path, instead of the number.
            done: Whether the request is fulfilled before.
        """
        self._num_writes = 0
        self._kill = _Kill(pid=pid, number=number, path=path, done=done)

    def kill_at(self, method: str, path: str) -> _Kill | None:
        """What becomes of the client of a request now."""
        with self._lock:
            self._num_writes += method in _WRITES
            kill = self._kill
            if kill is None or method not in _WRITES or not kill.comes(self._num_writes, path):
                return None
            self._kill = None
            return kill

    def spoil(self, share: float, seed: int) -> None:
        """Spoil this share of the requests, each by a fault of any kind."""
        self._share, self._random = share, random.Random(seed)  # noqa: S311 (no secret)

    def next_fault(self) -> str:
        with self._lock:
            self.num_requests += 1
            if self._random.random() < self._share:
                fault = self._random.choice(KINDS)
            elif self.faults:
                fault = self.faults.pop(0)
            else:
                return ""
            self.num_spoilt += 1
            return fault

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Resets are meant."""


class _Forwarder(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyServer

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.next_fault()
        self.server.answers.wait()
        kill = self.server.kill_at(self.command, self.path)
        if kill is not None and not kill.done:
            os.kill(kill.pid, signal.SIGKILL)
        if fault == "reset" or (kill is not None and not kill.done):
            self._reset()
        elif fault == "503":
            self._answer(503, [("Content-Type", "application/xml")], SLOW_DOWN)
        elif code := self.server.refusal_of(self.command):
            content = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}.</Message></Error>".encode()
            self._answer(REFUSALS[code], [("Content-Type", "application/xml")], content)
        else:
            # Closed even where the server behind hangs up, as it does when its tests are over.
            with contextlib.closing(http.client.HTTPConnection(*self.server.upstream)) as upstream:
                upstream.request(self.command, self.path, body, dict(self.headers))
                reply = upstream.getresponse()
                content, headers = reply.read(), reply.getheaders()
            if kill is not None:
                os.kill(kill.pid, signal.SIGKILL)
            if fault == "slow":
                time.sleep(SLOW_S)
            if fault == "lost" or kill is not None:
                self._reset()
            else:
                self._answer(reply.status, headers, content, cut=fault == "cut")

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _forward  # noqa: N815 (the names that http.server asks for)

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes, *, cut: bool = False) -> None:
        self.send_response_only(status)
        length = dict(headers).get("Content-Length", str(len(content))) if self.command == "HEAD" else str(len(content))
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self.wfile.flush()
            self._reset()

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def log_message(self, *arguments: Any) -> None:
        """Not a word: the tests say what went wrong."""
