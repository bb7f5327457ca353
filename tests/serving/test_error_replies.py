"""Error replies name what is wrong."""

import asyncio
import json
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from recsys.serving.contracts import ErrorDetail, RecommendationRequest
from recsys.serving.error_replies import install_error_handlers


def reply_to(body: dict[str, Any]) -> ErrorDetail:
    """The error of a body."""
    api: Any = FastAPI()
    install_error_handlers(api)
    with pytest.raises(ValidationError) as refused:
        RecommendationRequest.model_validate(body)
    error = RequestValidationError([fault | {"loc": ("body", *fault["loc"])} for fault in refused.value.errors()])
    reply = asyncio.run(api.exception_handlers[RequestValidationError](None, error))
    return ErrorDetail(**json.loads(reply.body)["error"])


@pytest.mark.parametrize("value", [0, -1, False, 0.5, "x"])
def test_a_short_value_is_shown(value: Any) -> None:
    assert reply_to({"k": value}).message.endswith(f", got {value!r}")


def test_a_long_value_is_not_sent_back() -> None:
    for value in (10**4000, "x" * 41, ["x" * 41]):
        assert len(reply_to({"k": value}).message) < 100
