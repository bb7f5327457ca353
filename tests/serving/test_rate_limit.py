"""A bucket admits at most burst + rate · time requests, and a caller who waits the given time is admitted."""

import math

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.serving.rate_limit import RateLimit, RateLimiter


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


LIMITS = st.builds(
    RateLimit,
    requests_per_second=st.one_of(st.floats(0.001, 1), st.floats(1, 10_000), st.sampled_from([0.57, 1, 3, 7, 300])),
    burst=st.one_of(st.none(), st.integers(1, 20)),
)
PAUSES_S = st.lists(st.one_of(st.just(0.0), st.floats(0, 0.01), st.floats(0, 3)), min_size=1, max_size=80)


@given(LIMITS, PAUSES_S)
def test_no_period_admits_more_than_the_burst_and_the_rate(limit: RateLimit, pauses_s: list[float]) -> None:
    clock, limits = Clock(), {"shop": limit}
    limiter = RateLimiter(clock)
    admitted = []
    for pause_s in pauses_s:
        clock.now_s += pause_s
        if limiter.take("shop", limits) == 0:
            admitted.append(clock.now_s)
    for first, start in enumerate(admitted):
        for last, end in enumerate(admitted[first:], first):
            refilled = limit.requests_per_second * (end - start + 0.001)  # the clock counts whole milliseconds
            assert last - first + 1 <= limit.burst_size + refilled + 1e-6


@given(LIMITS, PAUSES_S)
def test_a_caller_is_admitted_after_the_given_wait_and_not_sooner(limit: RateLimit, pauses_s: list[float]) -> None:
    clock, limits = Clock(), {"shop": limit}
    limiter = RateLimiter(clock)
    for pause_s in pauses_s:
        clock.now_s += pause_s
        wait_s = limiter.take("shop", limits)
        if wait_s:
            assert wait_s <= 1.01 / limit.requests_per_second + 0.001
            arrived_s = int(clock.now_s * 1000)
            clock.now_s = (arrived_s + wait_s * 1000 - 1 + 0.5) / 1000
            assert limiter.take("shop", limits) > 0
            clock.now_s = (arrived_s + wait_s * 1000 + 0.5) / 1000
            assert limiter.take("shop", limits) == 0


@given(st.sampled_from([0.001, 0.5, 2, 50, 300, 10_000]), st.integers(1, 5))
def test_a_caller_slightly_below_the_rate_is_never_refused(rate: float, burst: int) -> None:
    clock, limits = Clock(), {"shop": RateLimit(requests_per_second=rate, burst=burst)}
    limiter = RateLimiter(clock)
    for _ in range(50):
        assert limiter.take("shop", limits) == 0
        clock.now_s += 1.01 / rate + 0.001


@pytest.mark.parametrize(("rate", "burst", "size"), [(0.2, None, 1), (2.5, None, 3), (50, None, 50), (50, 2, 2)])
def test_a_pause_fills_the_bucket_up_to_the_burst(rate: float, burst: int | None, size: int) -> None:
    limit = RateLimit(requests_per_second=rate, burst=burst)
    assert limit.burst_size == size
    clock, limiter, limits = Clock(), RateLimiter(Clock()), {"shop": limit}
    clock.now_s += 1e6
    assert [limiter.take("shop", limits) == 0 for _ in range(size + 1)] == [True] * size + [False]


def test_callers_have_separate_buckets_and_a_caller_without_a_limit_is_always_admitted() -> None:
    limiter = RateLimiter(Clock())
    limits = {name: RateLimit(requests_per_second=1, burst=1) for name in ("shop", "search")}
    assert limiter.take("shop", limits) == 0
    assert limiter.take("shop", limits) == 1.0
    assert limiter.take("search", limits) == 0
    assert {limiter.take("free", limits) for _ in range(100)} == {0.0}


def test_new_limits_keep_the_state_of_callers_whose_limit_is_the_same() -> None:
    limiter, slow = RateLimiter(Clock()), RateLimit(requests_per_second=0.01, burst=1)
    before = {"shop": slow, "search": slow, "gone": slow}
    for caller in before:
        assert limiter.take(caller, before) == 0
    after = {"shop": slow, "search": RateLimit(requests_per_second=1, burst=2)}
    assert limiter.take("shop", after) == 100
    assert [limiter.take("search", after) for _ in range(3)] == [0, 0, 1]
    assert limiter.take("gone", after) == 0


def test_only_callers_with_a_limit_take_memory() -> None:
    limiter = RateLimiter(Clock())
    for night in range(50):
        limits = {f"caller-{night}-{number}": RateLimit(requests_per_second=1) for number in range(3)}
        for caller in [*limits, f"free-{night}"]:
            limiter.take(caller, limits)
        assert set(limiter._states) == set(limits)


@pytest.mark.parametrize("values", [{"requests_per_second": 0}, {"requests_per_second": math.nan}, {"burst": 0}, {}])
def test_a_limit_of_zero_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(pydantic.ValidationError):
        RateLimit.model_validate(({"requests_per_second": 1} if "burst" in values else {}) | values)
