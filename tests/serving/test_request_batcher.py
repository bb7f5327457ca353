"""Items that arrive during a batch form the next one; a failed or cancelled item does not disturb the others."""

import asyncio

import pytest

from recsys.serving.request_batcher import RequestBatcher


class Doubling:
    """Doubles numbers when the test lets it; remembers the batches, and fails for a batch with 13."""

    def __init__(self) -> None:
        self.may_go_on, self.has_begun = asyncio.Event(), asyncio.Event()
        self.batches: list[list[int]] = []

    async def __call__(self, numbers: list[int]) -> list[int]:
        self.batches.append(numbers)
        self.has_begun.set()
        await self.may_go_on.wait()
        if 13 in numbers:
            raise ValueError("13")
        return [2 * number for number in numbers]

    def batcher(self, **settings: int) -> RequestBatcher[int, int]:
        return RequestBatcher(self, **{"max_batch_size": 10, "wait_ms": 0, "max_in_flight": 10} | settings)


async def submitted(batcher: RequestBatcher[int, int], *numbers: int) -> list["asyncio.Task[int]"]:
    tasks = [asyncio.create_task(batcher.submit(number)) for number in numbers]
    await asyncio.sleep(0)
    return tasks


def test_items_that_arrive_during_a_batch_form_the_next_batches_of_the_largest_size() -> None:
    async def run() -> tuple[list[list[int]], list[int]]:
        process = Doubling()
        batcher = process.batcher(max_batch_size=3)
        first = await submitted(batcher, 1)
        await process.has_begun.wait()
        rest = await submitted(batcher, 2, 3, 4, 5)
        process.may_go_on.set()
        return process.batches, list(await asyncio.gather(*first, *rest))

    batches, results = asyncio.run(run())
    assert batches == [[1], [2, 3, 4], [5]]
    assert results == [2, 4, 6, 8, 10]


def test_items_that_arrive_together_are_one_batch() -> None:
    async def run() -> list[list[int]]:
        process = Doubling()
        process.may_go_on.set()
        await asyncio.gather(*await submitted(process.batcher(), 1, 2, 3))
        return process.batches

    assert asyncio.run(run()) == [[1, 2, 3]]


def test_a_cancelled_item_is_not_processed() -> None:
    async def run() -> tuple[list[list[int]], list[int]]:
        process = Doubling()
        batcher = process.batcher()
        first = await submitted(batcher, 1)
        await process.has_begun.wait()
        cancelled, kept = await submitted(batcher, 2, 3)
        cancelled.cancel()
        process.may_go_on.set()
        results = list(await asyncio.gather(*first, kept))
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        return process.batches, results

    assert asyncio.run(run()) == ([[1], [3]], [2, 6])


def test_an_error_reaches_the_callers_of_its_batch_and_the_queue_goes_on() -> None:
    async def run() -> tuple[list[int | BaseException], list[int]]:
        process = Doubling()
        batcher = process.batcher(max_batch_size=2)
        tasks = await submitted(batcher, 13, 1, 2)
        process.may_go_on.set()
        *failed, last = await asyncio.gather(*tasks, return_exceptions=True)
        return [*failed, last], await asyncio.gather(*await submitted(batcher, 3))

    (one, other, last), later = asyncio.run(run())
    assert [repr(one), repr(other), last, later] == ["ValueError('13')", "ValueError('13')", 4, [6]]


def test_it_is_full_while_as_many_items_wait_as_may() -> None:
    async def run() -> list[bool]:
        process = Doubling()
        batcher = process.batcher(max_in_flight=2)
        full = [batcher.is_full]
        one = await submitted(batcher, 1)
        await process.has_begun.wait()
        full.append(batcher.is_full)
        other = await submitted(batcher, 2)
        full.append(batcher.is_full)
        process.may_go_on.set()
        await asyncio.gather(*one, *other)
        return [*full, batcher.is_full]

    assert asyncio.run(run()) == [False, False, True, False]
