"""The HTTP API of the live service: FastAPI on Ray Serve.

A thread of the same process ranks, because passing a request to another process costs as much as half of the ranking.
The event loop stays free: it answers health checks while the thread ranks.
"""

import asyncio
import datetime as dt
import logging
import os
from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from ray import serve
from ray.util import metrics

from recsys import __version__
from recsys.config.live_service import ServeConfig
from recsys.data.events.event_checks import RowRules
from recsys.errors import ConfigError, StorageError
from recsys.serving.access_log import hash_user, log_to_stderr
from recsys.serving.admission import AdmissionControl
from recsys.serving.auth import CHALLENGE, Keys, key_in
from recsys.serving.awaited_answers import LOOK_UP_S, looked_up, result_of
from recsys.serving.contracts import (
    MAX_LIST,
    RANK_PATH,
    RECOMMENDATIONS_PATH,
    Accepted,
    ErrorDetail,
    ErrorReply,
    FeedbackBody,
    FeedbackEvent,
    PathId,
    RankedCandidates,
    RankRequest,
    RecommendationRequest,
    Recommendations,
    too_long_id,
)
from recsys.serving.error_replies import NOT_KEPT, TOO_SLOW, ApiError, install_error_handlers
from recsys.serving.feedback_checks import check_feedback
from recsys.serving.feedback_log import FeedbackLog
from recsys.serving.live_ranker import LiveRanker
from recsys.serving.look_up_replies import ExplainedUser, FoundItems, SimilarItems
from recsys.serving.page_files import PageFiles
from recsys.serving.popular_fallback import PopularFallback
from recsys.serving.request_middleware import RequestMiddleware
from recsys.serving.site_files import read_site_file
from recsys.serving.snapshot_reload import Load
from recsys.storage.filesystem import Storage

logger = logging.getLogger(__name__)

#: Seconds in which the published list must be found for a request that is late already.
_FALLBACK_S = 1.0

_ERRORS: dict[int | str, dict[str, Any]] = {status: {"model": ErrorReply} for status in (401, 413, 422, 429, 500, 503)}

api = FastAPI(
    title="Recommendations",
    version=__version__,
    description="Ranked lists of items: published lists for users of the nightly run, and lists ranked now for new "
    "users, new events and searches.",
    responses=_ERRORS,
)

# `serve.ingress` pickles the app. So everything that the app calls must be defined above the class.


def _service() -> "Service":
    """The service of this replica."""
    return serve.get_replica_context().servable_object  # type: ignore[return-value]  # Ray names its callable only


async def _admit(
    request: Request,
    credentials: Annotated[
        HTTPAuthorizationCredentials | None,
        Depends(HTTPBearer(auto_error=False, description="A key of `serve.keys_file`, where the service needs keys.")),
    ],
) -> None:
    """Check the caller's key and rate limit."""
    _admit_key(request, None if credentials is None else credentials.credentials)


async def _admit_reader(request: Request) -> None:
    """Check the key of somebody who opens a page in a browser, which can only send it as a password."""
    _admit_key(request, key_in(request.headers.get("Authorization", "")), challenge=CHALLENGE)


def _admit_key(request: Request, key: str | None, challenge: str = "Bearer") -> None:
    caller = _service().keys.admit(key)
    if caller.name is None:
        message = "send a known key: Authorization: Bearer …"
        raise ApiError(ErrorDetail(code="unauthorized", field="Authorization", message=message), challenge=challenge)
    request.state.caller = caller.name
    if caller.wait_s:
        message = "this key sends more requests than its rate limit allows; wait, then try again"
        raise ApiError(ErrorDetail(code="too_many_requests", field=None, message=message), caller.wait_s)


_ADMITTED = [Depends(_admit)]

api.add_middleware(AdmissionControl, paths=(RECOMMENDATIONS_PATH, RANK_PATH), is_full=lambda: _service().is_full)
api.add_middleware(RequestMiddleware)
install_error_handlers(api)


@serve.ingress(api)
class Service:
    """The live service in one process (a replica)."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it in the event loop, which the feedback log needs
        self, load: Load, storage: str, config: ServeConfig, top_k: int, rules: RowRules
    ) -> None:
        """Load the published run, the keys and the page.

        Args:
            load: Loads a published run.
            storage: Its root.
            config: The section `serve`.
            top_k: Items of a list where a request does not say.
            rules: Those of the nights: feedback and ids that break them are refused.
        """
        log_to_stderr()
        self._ranker = LiveRanker(storage, config, load)
        self._config = config
        self._rules = rules
        self.keys = Keys.load(config.keys_file)
        self._storage = Storage(storage)
        self._feedback = FeedbackLog(self._storage, f"serve-{os.getpid()}", interval_s=config.feedback_interval_s)
        self._page = PageFiles()
        # Ray Serve counts and times all requests by route and status; see docs on metrics of Ray Serve
        self._lists = metrics.Counter("recsys_lists_total", "Lists by strategy.", tag_keys=("strategy",))
        self._fallbacks = metrics.Counter(
            "recsys_fallbacks_total",
            "Requests that got a published list or popular items because they were not ranked in time.",
        )
        self._fallback = PopularFallback(self._recommend_popular, config.refresh_s, top_k)
        await self._ranker.start()
        self._refreshing = asyncio.create_task(self._fallback.keep_fresh())

    @property
    def is_full(self) -> bool:
        """Whether requests for lists are refused now."""
        return self._ranker.is_full

    @api.post(RECOMMENDATIONS_PATH, response_model=Recommendations, dependencies=_ADMITTED)
    async def recommend(self, body: RecommendationRequest, request: Request) -> Response:
        """A ranked list for a user, a session or a search. With no information at all, the list has popular items."""
        request.state.user = hash_user(body.user_id)
        self._check_ids(body.ids())
        try:
            answer = await result_of(self._ranker.recommend(body), self._config.deadline_ms / 1000)
        except TimeoutError:
            late = f"ranking took longer than {self._config.deadline_ms:g} ms"
            fallback = await self._published_in_time(body, f"{late}: this is the published list")
            fallback = fallback or self._fallback.answer(body, f"{late}: these are popular items")
            if fallback is None:
                raise ApiError(TOO_SLOW) from None
            answer = fallback
            self._fallbacks.inc()
        return self._list_response(request, answer)

    @api.post(RANK_PATH, response_model=RankedCandidates, dependencies=_ADMITTED)
    async def rank(self, body: RankRequest, request: Request) -> Response:
        """The candidates of the request in the order of their scores, with reasons."""
        request.state.user = hash_user(body.user_id)
        self._check_ids(body.ids())
        try:
            answer = await result_of(self._ranker.rank(body), self._config.deadline_ms / 1000)
        except TimeoutError:
            raise ApiError(TOO_SLOW) from None
        return self._list_response(request, answer)

    @api.get(
        "/v1/users/{user_id:path}/recommendations",  # an id may hold slashes
        response_model=Recommendations,
        responses={404: {"model": ErrorReply}},
        dependencies=_ADMITTED,
    )
    async def published(
        self,
        user_id: PathId,
        request: Request,
        k: Annotated[int | None, Query(ge=1, le=MAX_LIST)] = None,
    ) -> Response:
        """The list that the nightly run published for a user."""
        request.state.user = hash_user(user_id)
        self._check_ids([("user_id", user_id)])
        return self._list_response(request, await looked_up(self._ranker.published_list(user_id, k)))

    @api.get(
        "/v1/users/{user_id:path}/explanation",
        responses={404: {"model": ErrorReply}},
        dependencies=_ADMITTED,
    )
    async def explanation(self, user_id: PathId, request: Request) -> ExplainedUser:
        """What the nightly run knows of a user, and what each signal says for the items of the list."""
        request.state.user = hash_user(user_id)
        self._check_ids([("user_id", user_id)])
        return await looked_up(self._ranker.explain_user(user_id))

    @api.get("/v1/items", dependencies=_ADMITTED)
    async def items(
        self,
        search: Annotated[str, Query(min_length=1, max_length=200)],
        limit: Annotated[int, Query(ge=1, le=50)] = 10,
    ) -> FoundItems:
        """Items of the catalog whose title contains every word of the search."""
        return FoundItems(items=await looked_up(self._ranker.find_items(search, limit)))

    @api.get(
        "/v1/items/{item_id:path}/similar",  # an id may hold slashes
        responses={404: {"model": ErrorReply}},
        dependencies=_ADMITTED,
    )
    async def similar(
        self,
        item_id: PathId,
        k: Annotated[int | None, Query(ge=1, le=MAX_LIST)] = None,
    ) -> SimilarItems:
        """Items that go with an item, with scores and reasons."""
        self._check_ids([("item_id", item_id)])
        return await looked_up(self._ranker.similar(item_id, k))

    @api.post("/v1/events", status_code=202, dependencies=_ADMITTED)
    async def events(self, body: FeedbackBody) -> Accepted:
        """Store what users did, for the next nightly run. The reply comes when the events are on disk or in S3."""
        check_feedback(body, self._rules, dt.datetime.now(dt.UTC))
        try:
            return await self._feedback.append([body] if isinstance(body, FeedbackEvent) else body.events)
        except (OSError, ConfigError, StorageError) as error:
            logger.warning("feedback cannot be stored: %s", error)
            raise ApiError(NOT_KEPT) from error

    @api.get("/healthz")
    async def healthz(self) -> dict[str, str]:
        """Whether the service runs."""
        return {"status": "alive"}

    @api.get("/readyz")
    async def readyz(self, request: Request) -> JSONResponse:
        """The loaded run; `fault`: why a newer run could not be loaded; `keys_fault`: whether the keys file is bad."""
        caller = self.keys.caller_of(key_in(request.headers.get("Authorization", "")))
        state = self._ranker.state(details=caller is not None)
        return JSONResponse(
            state | {"keys_fault": self.keys.error is not None}, status_code=200 if state["ready"] else 503
        )

    @api.get("/", include_in_schema=False)
    async def page(self) -> Response:
        """A page to try the service."""
        return self._page.response("index.html")

    @api.get("/page/{name}", include_in_schema=False)
    async def page_file(self, name: str) -> Response:
        """A file of the page."""
        return self._page.response(name)

    @api.get("/nights", include_in_schema=False)
    async def nights(self) -> Response:
        """The site of the nights; its links need the slash at the end."""
        return RedirectResponse("nights/")

    @api.get("/nights/{name:path}", include_in_schema=False, dependencies=[Depends(_admit_reader)])
    async def nights_file(self, name: str) -> Response:
        """A file of the site of the nights."""
        found = await asyncio.to_thread(read_site_file, self._storage, name)
        if found is None:
            message = "the site has no such page; the nightly job writes it" if name else "no night has a page yet"
            raise ApiError(ErrorDetail(code="not_found", field=None, message=message))
        return Response(found[0], media_type=found[1], headers={"Cache-Control": "no-cache"})

    def _list_response(self, request: Request, answer: Recommendations | RankedCandidates) -> Response:
        """The reply with a list, which is counted and logged. It is valid, so FastAPI need not validate it again."""
        request.state.strategy, request.state.run_id = answer.strategy, answer.run_id
        self._lists.inc(1.0, {"strategy": answer.strategy})
        return Response(answer.model_dump_json(), media_type="application/json")

    def _check_ids(self, ids: Iterable[tuple[str, str | None]]) -> None:
        """Refuse a request with an id that the nightly run would not read."""
        if (error := too_long_id(ids, self._rules.max_id_chars)) is not None:
            raise ApiError(error)

    async def _published_in_time(self, request: RecommendationRequest, warning: str) -> Recommendations | None:
        """The published list of a known user, without what the request excludes; None where there is none at once."""
        try:
            return await asyncio.wait_for(self._ranker.published_fallback(request, warning), _FALLBACK_S)
        except Exception as error:  # noqa: BLE001 (popular items are the answer then)
            logger.warning("a published list cannot be looked up: %s: %s", type(error).__name__, error)
            return None

    async def _recommend_popular(self, request: RecommendationRequest) -> Recommendations:
        return await result_of(self._ranker.recommend(request), LOOK_UP_S)
