"""An HTTP client that keeps each reply. It sends at a steady rate (open loop), or again after each answer.

wrk does not separate accepted from refused requests and does not keep replies. This client has one event loop and one
connection for each open request. A request costs it about 0.1 ms, so that it disturbs the measurement little.
"""

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import httptools

#: Seconds after which an idle connection is not used again, since the server may be closing it.
_IDLE_S = 2.0
#: Seconds to wait for an answer.
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The result of one request."""

    place: int
    """Number of the body that was sent."""
    sent: float
    """Time of sending, on `time.perf_counter`'s clock."""
    seconds: float
    status: int
    """0: the connection broke before an answer came, or no answer came in a minute."""
    retry_after: bool
    """Whether the reply has a Retry-After header."""
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
        """Requests that wait for an answer."""

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
            pass  # no server listens: no answer
        finally:
            self.under_way -= 1
        seconds = time.perf_counter() - sent
        return Reply(place=place, sent=sent, seconds=seconds, status=status, retry_after=retry_after, body=answer)

    def close(self) -> None:
        """Close the idle connections."""
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
    """A client whose connections are closed at the end."""
    one = Client(url)
    try:
        yield one
    finally:
        one.close()


async def again_and_again(
    asks: Client, bodies: Sequence[bytes], clients: int, goes_on: Callable[[], bool], retries: int = 0
) -> list[list[Reply]]:
    """Run clients that each send the next request when the last one is answered; return all attempts of each request.

    Args:
        asks: Sends the requests.
        bodies: Sent in turn.
        clients: Number of clients.
        goes_on: Whether clients send another request.
        retries: Further attempts after a server error or no answer.
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
    """Send requests at a steady rate, independent of the answers. Overdue requests are sent at once."""
    gc.disable()  # a collection takes 0.1 s, in which nothing would be sent or read
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
        """Send a request; the future holds status, whether there is a Retry-After, and body. Status 0: no answer."""
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
