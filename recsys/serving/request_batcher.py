"""Collects requests into batches: requests that arrive while a batch is processed form the next batch."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class RequestBatcher(Generic[Item, Result]):
    """A queue in front of a function that processes many items at the price of a few; for one event loop.

    `serve.batch` is not used: it forms a batch before the one before is done. Then each request would be a batch of
    one, unless all requests waited for a fixed time.
    """

    def __init__(
        self,
        process: Callable[[list[Item]], Awaitable[list[Result]]],
        *,
        max_batch_size: int,
        wait_ms: float,
        max_in_flight: int,
    ):
        """Start with an empty queue.

        Args:
            process: Makes the results of a batch, in the same order. Never called twice at a time.
            max_batch_size: The most items of a batch.
            wait_ms: Milliseconds to wait for more items before a batch is processed.
            max_in_flight: The most items that wait or are processed; see `is_full`.
        """
        self._process = process
        self._max_batch_size = max_batch_size
        self._wait_s = wait_ms / 1000
        self._max_in_flight = max_in_flight
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._worker: asyncio.Task[None] | None = None
        self._num_in_flight = 0

    @property
    def is_full(self) -> bool:
        """Whether callers must not submit more items now."""
        return self._num_in_flight >= self._max_in_flight

    async def submit(self, item: Item) -> Result:
        """The result of one item; raises what `process` raised for its batch."""
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, result))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._process_all())
        self._num_in_flight += 1
        try:
            return await result
        finally:
            self._num_in_flight -= 1

    async def _process_all(self) -> None:
        """Process batches until the queue is empty."""
        while self._waiting:
            await asyncio.sleep(self._wait_s)  # also at 0 s other tasks run first and may submit their items
            batch, self._waiting = self._waiting[: self._max_batch_size], self._waiting[self._max_batch_size :]
            wanted = [(item, result) for item, result in batch if not result.done()]  # callers of the others left
            if not wanted:
                continue
            try:
                values = await self._process([item for item, _ in wanted])
            except Exception as error:  # noqa: BLE001 (each caller of the batch gets the error; the queue goes on)
                for _, result in wanted:
                    if not result.done():
                        result.set_exception(error)
                continue
            for (_, result), value in zip(wanted, values, strict=True):
                if not result.done():
                    result.set_result(value)
