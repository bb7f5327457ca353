"""Waits for the answers of the ranker, and raises those that are errors."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from recsys.serving.contracts import ErrorDetail
from recsys.serving.error_replies import TOO_SLOW, ApiError

Answer = TypeVar("Answer")

#: Seconds that a request may take that has no deadline of its own.
LOOK_UP_S = 5.0


async def result_of(answering: Awaitable[Answer | ErrorDetail], timeout_s: float) -> Answer:
    """The answer.

    Raises:
        ApiError: the answer is an error.
        TimeoutError: there is none after `timeout_s`.
    """
    answer = await asyncio.wait_for(answering, timeout_s)
    if isinstance(answer, ErrorDetail):
        raise ApiError(answer)
    return answer


async def looked_up(answering: Awaitable[Answer | ErrorDetail]) -> Answer:
    """The answer to a request without a deadline of its own.

    Raises:
        ApiError: the answer is an error, or comes too late.
    """
    try:
        return await result_of(answering, LOOK_UP_S)
    except TimeoutError:
        raise ApiError(TOO_SLOW) from None
