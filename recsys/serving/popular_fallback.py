"""Keeps a list of popular items ready, for requests that are not ranked within `serve.deadline_ms`."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from recsys.serving.contracts import MAX_LIST, RecommendationRequest, Recommendations
from recsys.serving.error_replies import ApiError

logger = logging.getLogger(__name__)

#: The request whose answer is kept: nothing is known of the user, and the list is as long as any request may want.
POPULAR = RecommendationRequest(k=MAX_LIST)
#: Seconds between attempts while there is no list yet.
_RETRY_S = 1.0


class PopularFallback:
    """The newest list of popular items."""

    def __init__(
        self,
        recommend: Callable[[RecommendationRequest], Awaitable[Recommendations]],
        refresh_s: float,
        top_k: int,
    ):
        """Have no list yet.

        Args:
            recommend: Answers a request.
            refresh_s: Seconds between calls of `recommend`.
            top_k: The length of a list for requests that ask for no length.
        """
        self._recommend, self._refresh_s, self._top_k = recommend, refresh_s, top_k
        self._popular: Recommendations | None = None

    async def keep_fresh(self) -> None:
        """Ask for the list from time to time, for ever. After any failure the list stays as it was."""
        while True:
            try:
                self._popular = await self._recommend(POPULAR)
            except (ApiError, TimeoutError) as error:
                logger.info("the list of popular items stays as it is: %s", error or "it took too long")
            except Exception:
                logger.exception("the list of popular items stays as it is")
            await asyncio.sleep(self._refresh_s if self._popular is not None else _RETRY_S)

    def answer(self, request: RecommendationRequest, warning: str) -> Recommendations | None:
        """Popular items that are neither excluded nor in the history, with a warning.

        None where there is no list yet, or where the request has filters, which this list cannot apply.
        """
        if self._popular is None or request.filters:
            return None
        excluded = set(request.exclude) | {event.item_id for event in request.history}
        kept = [item for item in self._popular.items if item.item_id not in excluded][: request.k or self._top_k]
        items = [item.model_copy(update={"rank": rank}) for rank, item in enumerate(kept, 1)]
        return self._popular.model_copy(update={"items": items, "warnings": [warning]})
