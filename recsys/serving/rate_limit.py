"""Limits the requests of each caller with a token bucket of pyrate-limiter.

The buckets are in the memory of one process: a service of N processes lets up to N times as many requests through.
"""

import math
import threading
from collections.abc import Callable, Mapping
from typing import Annotated

from pydantic import Field
from pyrate_limiter import Rate, TokenBucket

from recsys.config.section import Section

#: The bucket takes whole requests per interval. In 10⁹ ms (11.5 days), even 0.001 requests a second are 1000.
_INTERVAL_MS = 1_000_000_000


class RateLimit(Section):
    """The rate limit of one caller."""

    requests_per_second: Annotated[float, Field(ge=0.001, le=10_000)]
    """Requests a second on average. Above 100 it may be up to 1 % less, because the bucket counts microseconds."""
    burst: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Requests at once after a pause; null: the requests of one second, at least 1."""

    @property
    def burst_size(self) -> int:
        """Requests at once after a pause."""
        return max(1, math.ceil(self.requests_per_second)) if self.burst is None else self.burst


class RateLimiter:
    """The buckets of all callers that have a limit: two numbers each. Any number of threads may use it."""

    def __init__(self, clock: Callable[[], float]):
        """``clock`` gives seconds that never go back; they count in whole milliseconds."""
        self._clock = clock
        self._lock = threading.Lock()
        self._bucket = TokenBucket()  # the arithmetic only; the state of each caller is in _states
        self._limits: Mapping[str, RateLimit] = {}
        self._rates: dict[str, list[Rate]] = {}
        self._states: dict[str, tuple[float, ...]] = {}

    def take(self, caller: str, limits: Mapping[str, RateLimit]) -> float:
        """Count one request of a caller.

        Args:
            caller: Its name. A caller without an entry in ``limits`` has no limit.
            limits: All limits. Pass another mapping to change them, do not change this one: then callers without a
                limit are forgotten, and callers with a new limit start with a full bucket.

        Returns:
            0.0 where the request may proceed, else the seconds to wait; a refused request is not counted.
        """
        with self._lock:
            if limits is not self._limits:
                self._adopt(limits)
            if caller not in self._rates:
                return 0.0
            now_ms = int(self._clock() * 1000)
            self._states[caller], decision = self._bucket.step(self._rates[caller], self._states[caller], now_ms, 1)
        return (decision.retry_after_ms or 0) / 1000

    def _adopt(self, limits: Mapping[str, RateLimit]) -> None:
        rates = {caller: [_rate_of(limit)] for caller, limit in limits.items()}
        self._states = {
            caller: self._states[caller]
            if self._limits.get(caller) == limits[caller]
            else self._bucket.initial(rates[caller])
            for caller in limits
        }
        self._limits, self._rates = limits, rates


def _rate_of(limit: RateLimit) -> Rate:
    return Rate(math.floor(limit.requests_per_second * _INTERVAL_MS / 1000), _INTERVAL_MS, limit.burst_size)
