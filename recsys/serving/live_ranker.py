"""Answers requests in a thread beside the event loop, with the newest snapshot; health checks never wait for it."""

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from ray.util import metrics

from recsys.config.live_service import ServeConfig
from recsys.serving.contracts import ErrorDetail, RankedCandidates, RankRequest, RecommendationRequest, Recommendations
from recsys.serving.error_replies import TOO_MANY_REQUESTS
from recsys.serving.live_snapshot import LiveSnapshot
from recsys.serving.look_up_replies import ExplainedUser, FoundItem, SimilarItems
from recsys.serving.request_batcher import RequestBatcher
from recsys.serving.snapshot_reload import Load, SnapshotReloader
from recsys.serving.timely_rows import UnreadableError
from recsys.storage.filesystem import Storage

logger = logging.getLogger(__name__)

Request = TypeVar("Request")
Result = TypeVar("Result")

NOT_READY = ErrorDetail(
    code="not_ready", field=None, message="no published run is loaded yet; publish one, or try again later"
)
UNREADABLE = ErrorDetail(
    code="unreadable", field="user_id", message="what the run has of this user cannot be read now; try again later"
)
#: What callers without a key read of a fault.
_FAULT = "the newest run cannot be loaded; ask with a key, or see the log of the service"


class LiveRanker:
    """The snapshot of one process and the thread that ranks. Expected errors are returned, not raised."""

    def __init__(self, storage: str, config: ServeConfig, load: Load):
        """Load nothing before `start`."""
        self._config = config
        self._snapshots = SnapshotReloader(Storage(storage), load)
        self._rank_thread = ThreadPoolExecutor(1, thread_name_prefix="rank")
        self._load_thread = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._look_up_thread = ThreadPoolExecutor(1, thread_name_prefix="look-up")  # ranking must not hold look-ups up
        self._batcher = self._batched(answer_batch)
        self._rank_batcher = self._batched(_rank_batch)
        self._batch_sizes = metrics.Histogram(
            "recsys_batch_size", "Requests that were ranked together.", boundaries=[1, 2, 4, 8, 16, 32, 64]
        )
        self._age = metrics.Gauge("recsys_snapshot_age_seconds", "Seconds since the loaded run was published.")
        self._failures = metrics.Gauge("recsys_snapshot_failures", "Failed attempts to load the newest run, in a row.")

    async def start(self) -> None:
        """Load the published run, if there is one, and then look for newer runs from time to time."""
        await self._refresh()
        self._watcher = asyncio.create_task(self._watch())

    @property
    def is_full(self) -> bool:
        """Whether requests to rank are refused now, because `serve.max_queued` of a kind wait or are being ranked."""
        return self._batcher.is_full or self._rank_batcher.is_full

    async def rank(self, request: RankRequest) -> RankedCandidates | ErrorDetail:
        """The candidates of a request in their order, or the error of this request."""
        return TOO_MANY_REQUESTS if self.is_full else await self._rank_batcher.submit(request)

    async def recommend(self, request: RecommendationRequest) -> Recommendations | ErrorDetail:
        """A list, or the error of this request."""
        return TOO_MANY_REQUESTS if self.is_full else await self._batcher.submit(request)

    async def published_list(self, user_id: str, top_k: int | None) -> Recommendations | ErrorDetail:
        """The published list of a user."""
        return await self._look_up(
            self._look_up_thread,
            lambda snapshot: snapshot.published_list(user_id, top_k, _now()) or _unknown_user(snapshot),
        )

    async def explain_user(self, user_id: str) -> ExplainedUser | ErrorDetail:
        """What the nightly run knows of a user, and what each signal says for the list."""
        return await self._look_up(
            self._rank_thread, lambda snapshot: snapshot.explain_user(user_id, _now()) or _unknown_user(snapshot)
        )

    async def similar(self, item_id: str, top_k: int | None) -> SimilarItems | ErrorDetail:
        """The items that go with an item."""
        return await self._look_up(
            self._rank_thread, lambda snapshot: snapshot.similar(item_id, top_k, _now()) or _unknown_item(snapshot)
        )

    async def published_fallback(self, request: RecommendationRequest, warning: str) -> Recommendations | None:
        """The published list of a known user for a request that is not ranked in time; None where there is none."""
        snapshot = self._snapshots.current
        if snapshot is None or request.user_id is None:
            return None
        return await _in_thread(self._look_up_thread, partial(snapshot.published_fallback, request, warning, _now()))

    async def find_items(self, text: str, limit: int) -> list[FoundItem] | ErrorDetail:
        """Items of the catalog by words of their titles."""
        return await self._look_up(self._rank_thread, lambda snapshot: snapshot.find_items(text, limit))

    def state(self, *, details: bool = True) -> dict[str, Any]:
        """The loaded run, for `/readyz`; without `details` its `fault` names no file, address or setting."""
        snapshot, fault = self._snapshots.current, self._snapshots.error
        return {
            "ready": snapshot is not None,
            "run_id": None if snapshot is None else snapshot.latest.run_id,
            "published_at": None if snapshot is None else snapshot.latest.published_at,
            "fault": fault if details or fault is None else _FAULT,
        }

    def _batched(
        self, answer: Callable[[LiveSnapshot, list[Request]], list[Result | ErrorDetail]]
    ) -> RequestBatcher[Request, Result | ErrorDetail]:
        """Collects requests of one kind; `answer` is called in the thread that ranks."""

        async def process(requests: list[Request]) -> list[Result | ErrorDetail]:
            snapshot = self._snapshots.current
            if snapshot is None:
                return [NOT_READY] * len(requests)
            self._batch_sizes.observe(len(requests))
            return await _in_thread(self._rank_thread, partial(answer, snapshot, requests))

        return RequestBatcher(
            process,
            max_batch_size=self._config.max_batch_size,
            wait_ms=self._config.batch_wait_ms,
            max_in_flight=self._config.max_queued,
        )

    async def _look_up(
        self, thread: ThreadPoolExecutor, look_up: Callable[[LiveSnapshot], Result | ErrorDetail]
    ) -> Result | ErrorDetail:
        """What `look_up` finds in the newest snapshot, or the error that says why it finds nothing."""
        snapshot = self._snapshots.current
        if snapshot is None:
            return NOT_READY
        try:
            return await _in_thread(thread, partial(look_up, snapshot))
        except UnreadableError:
            return UNREADABLE

    async def _refresh(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._load_thread, self._snapshots.refresh)
        if self._snapshots.current is not None:
            published = dt.datetime.fromisoformat(self._snapshots.current.latest.published_at)
            self._age.set(time.time() - published.timestamp())
        self._failures.set(self._snapshots.num_failures)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._config.refresh_s)
            try:
                await self._refresh()
            except Exception:
                logger.exception("looking for a newer run failed; it is tried again in %g s", self._config.refresh_s)


async def _in_thread(thread: ThreadPoolExecutor, work: Callable[[], Result]) -> Result:
    return await asyncio.get_running_loop().run_in_executor(thread, work)


def answer_batch(snapshot: LiveSnapshot, requests: list[RecommendationRequest]) -> list[Recommendations | ErrorDetail]:
    """A list or an error for each request. A request that fails does not fail the others of its batch."""
    errors = [snapshot.catalog.filter_error(request.filters) for request in requests]
    valid = [request for request, error in zip(requests, errors, strict=True) if error is None]
    answers = iter(_answers(snapshot.answer, valid))
    return [
        next(answers) if error is None else ErrorDetail(code="invalid", field=error[0], message=error[1])
        for error in errors
    ]


def _rank_batch(snapshot: LiveSnapshot, requests: list[RankRequest]) -> list[RankedCandidates | ErrorDetail]:
    return _answers(snapshot.rank, requests)


def _answers(
    answer: Callable[[Sequence[Request], dt.datetime], Sequence[Result]], requests: list[Request]
) -> list[Result | ErrorDetail]:
    """The answers of a batch. Where it fails, each request is answered by itself, and those that fail get an error."""
    try:
        return list(answer(requests, _now()))
    except Exception:
        logger.exception("a batch of %d requests failed: each request is now answered by itself", len(requests))
        return [_answer_one(answer, request) for request in requests]


def _answer_one(
    answer: Callable[[Sequence[Request], dt.datetime], Sequence[Result]], request: Request
) -> Result | ErrorDetail:
    """The answer, or the error of this one request or of the files of its user."""
    try:
        return answer([request], _now())[0]
    except Exception as error:
        logger.exception("a request could not be answered")
        return ErrorDetail(
            code="failed", field=None, message=f"the service failed ({type(error).__name__}); see the service's log"
        )


def _unknown_user(snapshot: LiveSnapshot) -> ErrorDetail:
    return ErrorDetail(
        code="not_found",
        field="user_id",
        message=f"the run {snapshot.latest.run_id} has no list of this user; send POST /v1/recommendations with the "
        "user's history or a query",
    )


def _unknown_item(snapshot: LiveSnapshot) -> ErrorDetail:
    return ErrorDetail(
        code="not_found",
        field="item_id",
        message=f"the catalog of the run {snapshot.latest.run_id} does not have this item; find items with GET "
        "/v1/items?search=",
    )


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
