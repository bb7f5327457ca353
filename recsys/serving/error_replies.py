"""Turns every error of the service into the one error reply of the API.

`STATUS` maps error codes to HTTP statuses. A validation error names its field as a path, such as `history.0.item_id`.
"""

import math
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from recsys.serving.contracts import FEEDBACK_KINDS, ErrorDetail, ErrorReply

STATUS = {
    "invalid": 422,
    "unauthorized": 401,
    "not_found": 404,
    "not_allowed": 405,
    "too_large": 413,
    "too_many_requests": 429,
    "failed": 500,
    "not_ready": 503,
    "too_slow": 503,
    "not_kept": 503,
    "unreadable": 503,
}
#: Seconds after which a caller may try again, by error code.
RETRY_AFTER_S = {"not_kept": 5, "not_ready": 5, "too_many_requests": 1, "too_slow": 1, "unreadable": 5}
_CODES = {status: code for code, status in STATUS.items() if code not in ("too_slow", "not_kept", "unreadable")}

TOO_MANY_REQUESTS = ErrorDetail(
    code="too_many_requests", field=None, message="too many requests are waiting; wait, then try again"
)
TOO_SLOW = ErrorDetail(code="too_slow", field=None, message="the ranker did not answer in time; try again")
NOT_KEPT = ErrorDetail(code="not_kept", field=None, message="the events are not stored; send them again")


class ApiError(Exception):
    """Ends a request with an error reply."""

    def __init__(self, detail: ErrorDetail, retry_after_s: float | None = None, challenge: str = "Bearer"):
        super().__init__(detail.message)
        self.detail = detail
        self.retry_after_s = retry_after_s
        """Seconds after which the caller may try again; None: as usual for the code."""
        self.challenge = challenge
        """How a caller without a known key may send one, as the header `WWW-Authenticate` says it."""


def error_response(detail: ErrorDetail, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The reply for an error, with `Retry-After` where trying again may help."""
    body = ErrorReply(error=detail).model_dump(mode="json")
    retry_after = {"Retry-After": str(RETRY_AFTER_S[detail.code])} if detail.code in RETRY_AFTER_S else {}
    return JSONResponse(body, status_code=STATUS[detail.code], headers=retry_after | dict(headers or {}))


def install_error_handlers(api: FastAPI) -> None:
    """Make FastAPI reply to each kind of error in the same form."""
    api.add_exception_handler(ApiError, _api_error)  # type: ignore[arg-type]
    api.add_exception_handler(RequestValidationError, _validation_error)  # type: ignore[arg-type]
    api.add_exception_handler(HTTPException, _http_error)  # type: ignore[arg-type]


async def _api_error(_request: Request, error: ApiError) -> JSONResponse:
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    if error.detail.code == "unauthorized":
        headers["WWW-Authenticate"] = error.challenge
    return error_response(error.detail, headers)


async def _validation_error(_request: Request, error: RequestValidationError) -> JSONResponse:
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        message = f"the body is not JSON: {first['ctx']['error']}"
        return error_response(ErrorDetail(code="invalid", field=None, message=message))
    place = first["loc"][1:]  # the first part says whether the field is in the body, the path or the query
    place = place[1:] if place and place[0] in FEEDBACK_KINDS else place
    field = ".".join(str(part) for part in place) or None
    return error_response(ErrorDetail(code="invalid", field=field, message=_validation_message(first, field)))


def _validation_message(error: Mapping[str, Any], field: str | None) -> str:
    """What is wrong, with the value where it is short."""
    if error["type"] == "extra_forbidden":
        return f"{field}: there is no such field; see /docs"
    text = str(error["msg"]).removeprefix("Value error, ")
    value = error.get("input")
    wanted = isinstance(value, int | float) or value  # 0 and False too, but no empty text
    shown = f", got {value!r}" if wanted and len(str(value)) <= 40 else ""
    return f"{field or 'the body'}: {text[0].lower()}{text[1:]}{shown}"


async def _http_error(_request: Request, error: HTTPException) -> JSONResponse:
    code = _CODES.get(error.status_code, "invalid" if error.status_code < 500 else "failed")
    message = {404: "there is no such page; see /docs", 405: "this method is not allowed here; see /docs"}.get(
        error.status_code, str(error.detail)
    )
    return error_response(ErrorDetail(code=code, field=None, message=message), error.headers)
