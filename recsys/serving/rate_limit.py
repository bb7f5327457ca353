"""How often a caller may ask: one token bucket a caller; it knows callers by name, neither keys nor HTTP.

The buckets are those of this process: a service of N such processes lets up to N times as much through.
"""

import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Annotated

from pydantic import Field
from pyrate_limiter import Rate, TokenBucket

from recsys.config.section import Section

#: Milliseconds over which a rate is told to the bucket, which takes whole requests only: 11.5 days, so that a rate of
#: 0.001 a second is still one thousand requests.
_INTERVAL_MS = 1_000_000_000


class RateLimit(Section):
    """What a caller may ask for."""

    requests_per_second: Annotated[float, Field(ge=0.001, le=10_000)]
    """Requests that come back each second; above 100 a second up to 1 % fewer, the bucket counts in microseconds."""
    burst: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Requests that may come at once after a pause; null: those of one second, at least 1."""

    @property
    def burst_size(self) -> int:
        """Requests that may come at once after a pause."""
        return max(1, math.ceil(self.requests_per_second)) if self.burst is None else self.burst


class RateLimiter:
    """Counts what callers ask, two numbers a caller that has a limit."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        """``clock`` tells seconds from any start that never run back; they count in whole milliseconds."""
        self._clock = clock
        self._lock = threading.Lock()
        self._bucket = TokenBucket()  # knows the arithmetic only; what it must remember is in _states
        self._limits: Mapping[str, RateLimit] = {}
        self._rates: dict[str, list[Rate]] = {}
        self._states: dict[str, tuple[float, ...]] = {}

    def take(self, caller: str, limits: Mapping[str, RateLimit]) -> float:
        """Count one request of a caller: 0.0 where it may go on, else the seconds after which it may, uncounted.

        A caller that ``limits`` does not name has none. Do not change ``limits`` in place: where it is another mapping
        than before, callers that it no longer names are forgotten, and those with a new limit begin with a full bucket.
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
