"""The HTTP side of the live service: FastAPI on Ray Serve; it checks, asks the ranker and tells.

The ranker works in a thread of the same process, since a hop to another one costs as much as half of the ranking; the
event loop answers at once whatever the ranker does.
"""

import asyncio
import importlib.resources
import logging
import os
from collections.abc import Awaitable
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Path, Query, Request
from fastapi.responses import JSONResponse, Response
from ray import serve
from ray.util import metrics

from recsys import __version__
from recsys.config.serve import ServeConfig
from recsys.errors import ConfigError
from recsys.serving import error_replies
from recsys.serving.access_log import hashed, log_to_stderr
from recsys.serving.admission import Admission
from recsys.serving.auth import Keys, bearer_token
from recsys.serving.batching import Ranker
from recsys.serving.border import Border
from recsys.serving.contracts import (
    MAX_ID_CHARS,
    MAX_LIST,
    RANKED,
    Accepted,
    ErrorReply,
    Fault,
    FeedbackBatch,
    FeedbackEvent,
    FoundItems,
    RecommendationRequest,
    Recommendations,
)
from recsys.serving.error_replies import FaultError
from recsys.serving.feedback_log import FeedbackLog
from recsys.serving.snapshots import Load
from recsys.serving.standby import Standby
from recsys.storage.filesystem import Storage

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

#: Seconds that a look-up may take.
_LOOK_UP_S = 5.0
#: When to ask again, by what was wrong.
_RETRY_AFTER_S = {"not_ready": 5.0, "too_many_requests": 1.0}
_PAGE_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}

_ERRORS: dict[int | str, dict[str, Any]] = {status: {"model": ErrorReply} for status in (401, 413, 422, 429, 500, 503)}

api = FastAPI(
    title="Recommendations",
    version=__version__,
    description="Lists for those whom the night could not know, and those whom it did.",
    responses=_ERRORS,
)

# Serve pickles the app where the class is decorated: what it and the methods of the class call must stand before it.


def _is_full() -> bool:
    """Whether the ranker of this replica can take no more."""
    return serve.get_replica_context().servable_object.is_full  # type: ignore[attr-defined, no-any-return]


api.add_middleware(Admission, path=RANKED, is_full=_is_full)
api.add_middleware(Border)
error_replies.install(api)


def _told(request: Request, answer: Recommendations) -> Response:
    """The answer, named for the log; it is valid as it was made, so that FastAPI need not look through it again."""
    request.state.strategy, request.state.run_id = answer.strategy, answer.run_id
    return Response(answer.model_dump_json(), media_type="application/json")


def _too_slow() -> FaultError:
    return FaultError(Fault(code="too_slow", field=None, message="the ranker is late; ask again"), 1.0)


def _read_page() -> dict[str, bytes]:
    """The page's files by name."""
    folder = importlib.resources.files("recsys.serving") / "page"
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name.rsplit(".", 1)[-1] in _PAGE_TYPES}


@serve.ingress(api)
class Service:
    """One replica."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it, in the loop that the log and the standby need
        self, load: Load, storage: str, config: ServeConfig, top_k: int
    ) -> None:
        """Load the published night, the keys and the page; lists are of ``top_k`` where nobody says otherwise."""
        log_to_stderr()
        self._ranker = Ranker(storage, config, load)
        self._config = config
        self._keys = Keys.load(config.keys_file)
        self._feedback = FeedbackLog(Storage(storage), f"serve-{os.getpid()}")
        self._page = _read_page()
        self._fallbacks = metrics.Counter(
            "recsys_fallbacks_total", "Requests that a cheaper strategy answered, as the ranker was late."
        )
        self._standby = Standby(self._ask_popular, config.refresh_s, top_k)
        await self._ranker.start()
        self._keeping = asyncio.create_task(self._standby.keep())

    @property
    def is_full(self) -> bool:
        """Whether requests for lists are refused for now."""
        return self._ranker.is_full

    @api.post(RANKED, response_model=Recommendations)
    async def recommend(self, body: RecommendationRequest, request: Request) -> Response:
        """A list for whoever asks, by what is known of them: published, personalized, by query, or popular."""
        self._admit(request)
        request.state.user = hashed(body.user_id)
        try:
            answer = await self._asked(self._ranker.rank(body), self._config.deadline_ms / 1000)
        except TimeoutError:
            late = f"the ranker took longer than {self._config.deadline_ms:g} ms: this is what is popular"
            standby = self._standby.answer(body, late)
            if standby is None:
                raise _too_slow() from None
            answer = standby
            self._fallbacks.inc()
        return _told(request, answer)

    @api.get(
        "/v1/users/{user_id}/recommendations",
        response_model=Recommendations,
        responses={404: {"model": ErrorReply}},
    )
    async def published(
        self,
        user_id: Annotated[str, Path(min_length=1, max_length=MAX_ID_CHARS)],
        request: Request,
        k: Annotated[int | None, Query(ge=1, le=MAX_LIST)] = None,
    ) -> Response:
        """The list that the night made for a user."""
        self._admit(request)
        request.state.user = hashed(user_id)
        return _told(request, await self._looked_up(self._ranker.published(user_id, k)))

    @api.get("/v1/items")
    async def items(
        self,
        request: Request,
        search: Annotated[str, Query(min_length=1, max_length=200)],
        limit: Annotated[int, Query(ge=1, le=50)] = 10,
    ) -> FoundItems:
        """Items of the catalog whose titles hold every word."""
        self._admit(request)
        return FoundItems(items=await self._looked_up(self._ranker.items(search, limit)))

    @api.post("/v1/events", status_code=202)
    async def events(self, body: FeedbackEvent | FeedbackBatch, request: Request) -> Accepted:
        """Keep what users did for the next night; the answer comes when it is on disk or in the bucket."""
        self._admit(request)
        try:
            return await self._feedback.append([body] if isinstance(body, FeedbackEvent) else body.events)
        except (OSError, ConfigError) as error:
            logger.warning("feedback cannot be kept: %s", error)
            fault = Fault(code="not_kept", field=None, message="the events could not be kept; send them again")
            raise FaultError(fault, 5.0) from error

    @api.get("/healthz")
    async def healthz(self) -> dict[str, str]:
        """Whether the front is alive."""
        return {"status": "alive"}

    @api.get("/readyz")
    async def readyz(self) -> JSONResponse:
        """Whether a night is loaded, and what is wrong with a newer one or with the keys."""
        state = self._ranker.state()
        return JSONResponse(
            state | {"keys_fault": self._keys.fault is not None}, status_code=200 if state["ready"] else 503
        )

    @api.get("/", include_in_schema=False)
    async def page(self) -> Response:
        """A page to try the service."""
        return self._file("index.html")

    @api.get("/page/{name}", include_in_schema=False)
    async def page_file(self, name: str) -> Response:
        """What the page is made of."""
        return self._file(name)

    def _file(self, name: str) -> Response:
        if name not in self._page:
            raise FaultError(Fault(code="not_found", field=None, message="the page has no such file"))
        return Response(self._page[name], media_type=_PAGE_TYPES[name.rsplit(".", 1)[-1]])

    def _admit(self, request: Request) -> None:
        """Let a caller in by its key, as often as its rate allows."""
        caller = self._keys.admit(bearer_token(request.headers.get("Authorization")))
        if caller.name is None:
            raise FaultError(
                Fault(code="unauthorized", field="Authorization", message="send a known key: Authorization: Bearer …")
            )
        request.state.caller = caller.name
        if caller.wait_s:
            message = "this key asks more often than it may; wait, then ask again"
            raise FaultError(Fault(code="too_many_requests", field=None, message=message), caller.wait_s)

    async def _asked(self, answering: Awaitable[Answer | Fault], timeout_s: float) -> Answer:
        """What the ranker answers."""
        answer = await asyncio.wait_for(answering, timeout_s)
        if isinstance(answer, Fault):
            raise FaultError(answer, retry_after_s=_RETRY_AFTER_S.get(answer.code))
        return answer

    async def _looked_up(self, answering: Awaitable[Answer | Fault]) -> Answer:
        """What the ranker answers where it has nothing to rank."""
        try:
            return await self._asked(answering, _LOOK_UP_S)
        except TimeoutError:
            raise _too_slow() from None

    async def _ask_popular(self, request: RecommendationRequest) -> Recommendations:
        return await self._asked(self._ranker.rank(request), _LOOK_UP_S)
