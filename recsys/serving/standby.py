"""What is popular, kept at hand for requests whose ranking takes too long; it knows replies, no ranker."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from recsys.serving.contracts import MAX_LIST, RecommendationRequest, Recommendations
from recsys.serving.error_replies import FaultError

#: What is asked for: as much as any request may want, and nothing known.
POPULAR = RecommendationRequest(k=MAX_LIST)


class Standby:
    """The newest reply to a request of which nothing is known."""

    def __init__(self, ask: Callable[[RecommendationRequest], Awaitable[Recommendations]], every_s: float, top_k: int):
        """Nothing is at hand yet; ``ask`` is called each ``every_s`` seconds by `keep`, lists are of ``top_k``."""
        self._ask, self._every_s, self._top_k = ask, every_s, top_k
        self._popular: Recommendations | None = None

    async def keep(self) -> None:
        """Ask again and again; a failure leaves what is at hand."""
        while True:
            with contextlib.suppress(FaultError, TimeoutError):
                self._popular = await self._ask(POPULAR)
            await asyncio.sleep(self._every_s if self._popular is not None else 1.0)

    def answer(self, request: RecommendationRequest, why: str) -> Recommendations | None:
        """What is popular and not excluded; None where nothing is at hand, or where attributes would have to pass."""
        if self._popular is None or request.filters:
            return None
        excluded = set(request.exclude) | {event.item_id for event in request.history}
        kept = [item for item in self._popular.items if item.item_id not in excluded][: request.k or self._top_k]
        items = [item.model_copy(update={"rank": rank}) for rank, item in enumerate(kept, 1)]
        return self._popular.model_copy(update={"items": items, "warnings": [why]})
