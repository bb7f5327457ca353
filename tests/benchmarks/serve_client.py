"""A client that sees each reply: at a steady rate whatever the answers (an open loop), or asking again when answered.

wrk does neither tell accepted from refused requests, nor look into a reply. One event loop, a connection a request that
is under way; a request costs it about 0.1 ms, so that it does not disturb what it measures.
"""

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import httptools

#: Seconds after which a connection is not used again, since the server may be about to close it.
_IDLE_S = 2.0
#: Seconds after which an answer is no longer waited for.
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came of one request."""

    place: int
    """Which of the bodies was sent."""
    sent: float
    """Moment, on `time.perf_counter`'s clock."""
    seconds: float
    status: int
    """0: the connection broke before there was an answer, or there was none in a minute."""
    retry_after: bool
    """Whether it says when to come again."""
    body: bytes


class Client:
    """Requests to one server."""

    def __init__(self, url: str):
        """``url`` is the server's address, such as http://127.0.0.1:8000."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._address = parts.hostname, parts.port
        self._head = f"POST /v1/recommendations HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        self._idle: list[_Connection] = []
        self.under_way = 0
        """Requests that wait for their answer."""

    async def ask(self, place: int, body: bytes) -> Reply:
        """Send one body and wait for the answer."""
        request = f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        sent = time.perf_counter()
        self.under_way += 1
        status, retry_after, answer = 0, False, b""
        try:
            connection = await self._connection()
            try:
                status, retry_after, answer = await asyncio.wait_for(connection.ask(request), _PATIENCE_S)
            except TimeoutError:
                connection.close()
            if connection.is_open:
                self._idle.append(connection)
        except OSError:
            pass  # nobody listens: no answer
        finally:
            self.under_way -= 1
        seconds = time.perf_counter() - sent
        return Reply(place=place, sent=sent, seconds=seconds, status=status, retry_after=retry_after, body=answer)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            self._idle.pop().close()

    async def _connection(self) -> "_Connection":
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and time.perf_counter() - connection.used < _IDLE_S:
                return connection
            connection.close()
        _, connection = await asyncio.get_running_loop().create_connection(_Connection, *self._address)
        return connection


@contextlib.asynccontextmanager
async def client(url: str) -> AsyncIterator[Client]:
    """A client that is closed at the end."""
    one = Client(url)
    try:
        yield one
    finally:
        one.close()


async def again_and_again(
    asks: Client, bodies: Sequence[bytes], clients: int, goes_on: Callable[[], bool], retries: int = 0
) -> list[list[Reply]]:
    """Some clients, each asking again when it is answered; of each request all its attempts.

    ``retries`` are made of a request that was answered with a fault of the server's, or not at all.
    """
    asked: list[list[Reply]] = []

    async def one_client() -> None:
        while goes_on():
            place = len(asked) % len(bodies)
            attempts: list[Reply] = []
            asked.append(attempts)
            while True:
                attempts.append(await asks.ask(place, bodies[place]))
                if 0 < attempts[-1].status < 500 or len(attempts) > retries:
                    break

    await asyncio.gather(*(one_client() for _ in range(clients)))
    return asked


async def at_rate(asks: Client, bodies: Sequence[bytes], per_s: float, seconds: float) -> list[Reply]:
    """Requests at a steady rate, however late the answers come; those that come late by ourselves are sent at once."""
    gc.disable()  # a look at all replies so far takes a tenth of a second, in which nothing would be sent or read
    try:
        start, number = time.perf_counter(), round(per_s * seconds)
        tasks: list[asyncio.Task[Reply]] = []
        while len(tasks) < number:
            due = min(number, int((time.perf_counter() - start) * per_s) + 1)
            for count in range(len(tasks), due):
                place = count % len(bodies)
                tasks.append(asyncio.create_task(asks.ask(place, bodies[place])))
            await asyncio.sleep(0.001)
        return await asyncio.gather(*tasks)
    finally:
        gc.enable()


class _Connection(asyncio.Protocol):
    """One HTTP/1.1 connection, one request at a time."""

    def __init__(self) -> None:
        self.is_open = False
        self.used = time.perf_counter()
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[tuple[int, bool, bytes]] | None = None
        self._retry_after, self._parts = False, list[bytes]()

    def ask(self, request: bytes) -> "asyncio.Future[tuple[int, bool, bytes]]":
        """Status, whether it says when to come again, and body; status 0 where the connection breaks."""
        self._retry_after, self._parts = False, []
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def close(self) -> None:
        self.is_open = False
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self.is_open = transport, True

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, _: Exception | None) -> None:
        self.is_open = False
        self._resolve(0)

    def on_header(self, name: bytes, _: bytes) -> None:
        self._retry_after |= name.lower() == b"retry-after"

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)

    def on_message_complete(self) -> None:
        self.used = time.perf_counter()
        if not self._parser.should_keep_alive():
            self.close()
        self._resolve(self._parser.get_status_code())

    def _resolve(self, status: int) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((status, self._retry_after, b"".join(self._parts)))
