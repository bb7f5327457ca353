"""What holds a snapshot and ranks: requests that arrive while others are ranked are ranked together.

It knows no HTTP. All work is done in one thread beside the event loop, so that health checks never wait for it.
"""

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from ray.util import metrics

from recsys.config.serve import ServeConfig
from recsys.serving.contracts import Fault, FoundItem, RecommendationRequest, Recommendations
from recsys.serving.error_replies import TOO_MANY
from recsys.serving.live import LiveSnapshot
from recsys.serving.snapshots import Load, Snapshots
from recsys.storage.filesystem import Storage

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

NOT_READY = Fault(code="not_ready", field=None, message="no night is loaded yet; publish one, or try again in a moment")


class Ranker:
    """One a process."""

    def __init__(self, storage: str, config: ServeConfig, load: Load):
        """Nothing is loaded before `start`."""
        self._config = config
        self._snapshots = Snapshots(Storage(storage), load)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rank")
        self._loading = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._batch_sizes = metrics.Histogram(
            "recsys_batch_size", "Requests that were ranked together.", boundaries=[1, 2, 4, 8, 16, 32, 64]
        )
        self._age = metrics.Gauge("recsys_snapshot_age_seconds", "Seconds since the loaded night was published.")
        self._failures = metrics.Gauge("recsys_snapshot_failures", "Attempts to load a night that failed.")
        self._waiting: list[tuple[RecommendationRequest, asyncio.Future[Recommendations | Fault]]] = []
        self._ranking: asyncio.Task[None] | None = None
        self._in_hand = 0

    async def start(self) -> None:
        """Load the published night, if there is one, and begin to look for newer ones."""
        await self._refresh()
        self._watching = asyncio.create_task(self._watch())

    @property
    def is_full(self) -> bool:
        """Whether it has as much in hand as it may."""
        return self._in_hand >= self._config.max_queued

    async def rank(self, request: RecommendationRequest) -> Recommendations | Fault:
        """An answer, or what is wrong: with the request, or as there are too many."""
        if self.is_full:
            return TOO_MANY
        answer: asyncio.Future[Recommendations | Fault] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, answer))
        if self._ranking is None or self._ranking.done():
            self._ranking = asyncio.create_task(self._rank_waiting())
        self._in_hand += 1
        try:
            return await answer
        finally:
            self._in_hand -= 1

    async def _rank_waiting(self) -> None:
        """Rank until nothing waits; what comes meanwhile is ranked together, in the next round.

        `serve.batch` forms a batch before it waits for the one that is being ranked: without a wait of its own, each
        request would be a batch by itself, however many there are.
        """
        while self._waiting:
            await asyncio.sleep(self._config.batch_wait_ms / 1000)  # 0: those that came with this one are let in
            size = self._config.max_batch_size
            batch, self._waiting = self._waiting[:size], self._waiting[size:]
            wanted = [(request, answer) for request, answer in batch if not answer.done()]  # the others gave up
            if not wanted:
                continue
            try:
                found = await self._rank_together([request for request, _ in wanted])
            except Exception as error:  # noqa: BLE001 (whatever it is, those who wait are told, and the next are ranked)
                for _, answer in wanted:
                    if not answer.done():
                        answer.set_exception(error)
                continue
            for (_, answer), one in zip(wanted, found, strict=True):
                if not answer.done():
                    answer.set_result(one)

    async def _rank_together(self, requests: list[RecommendationRequest]) -> list[Recommendations | Fault]:
        live = self._snapshots.current
        if live is None:
            return [NOT_READY] * len(requests)
        self._batch_sizes.observe(len(requests))
        return await self._in_thread(partial(_answer, live, requests))

    async def published(self, user_id: str, top_k: int | None) -> Recommendations | Fault:
        """The night's list of a user."""
        live = self._snapshots.current
        if live is None:
            return NOT_READY
        found = await self._in_thread(partial(live.published_list, user_id, top_k, _now()))
        return found or Fault(
            code="not_found",
            field="user_id",
            message=f"the night {live.latest.run_id} has no list of this user; ask POST /v1/recommendations with what "
            "is known of them",
        )

    async def items(self, text: str, limit: int) -> list[FoundItem] | Fault:
        """Items of the catalog by the words of their titles."""
        live = self._snapshots.current
        if live is None:
            return NOT_READY
        return await self._in_thread(partial(live.find_items, text, limit))

    def state(self) -> dict[str, Any]:
        """What is loaded, for readiness."""
        live = self._snapshots.current
        return {
            "ready": live is not None,
            "run_id": None if live is None else live.latest.run_id,
            "published_at": None if live is None else live.latest.published_at,
            "fault": self._snapshots.fault,
        }

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _refresh(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._loading, self._snapshots.refresh)
        if self._snapshots.current is not None:
            published = dt.datetime.fromisoformat(self._snapshots.current.latest.published_at)
            self._age.set(time.time() - published.timestamp())
        self._failures.set(self._snapshots.num_failures)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._config.refresh_s)
            await self._refresh()


def _answer(live: LiveSnapshot, requests: list[RecommendationRequest]) -> list[Recommendations | Fault]:
    faults = [live.filters.fault(request.filters) for request in requests]
    sound = [request for request, fault in zip(requests, faults, strict=True) if fault is None]
    try:
        answers: Iterator[Recommendations | Fault] = iter(live.answer(sound, _now()))
    except Exception:
        logger.exception("%d requests could not be answered together: each is answered by itself", len(sound))
        answers = (_alone(live, request) for request in sound)
    return [
        next(answers) if fault is None else Fault(code="invalid", field=fault[0], message=fault[1]) for fault in faults
    ]


def _alone(live: LiveSnapshot, request: RecommendationRequest) -> Recommendations | Fault:
    """An answer to one request; what is wrong with it, or with its user's files, is no other's trouble."""
    try:
        return live.answer([request], _now())[0]
    except Exception as error:
        logger.exception("a request could not be answered")
        return Fault(code="failed", field=None, message=f"an error of ours: {type(error).__name__}; the log has it")


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
