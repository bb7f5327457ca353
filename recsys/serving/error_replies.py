"""Errors of the service in their one shape, whatever raised them; it knows no route.

code → HTTP status is in `STATUS`; a validation error names its field as a path, `history.0.item_id`.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from recsys.serving.contracts import ErrorReply, Fault

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
}
_CODES = {status: code for code, status in STATUS.items() if code not in ("too_slow", "not_kept")}

TOO_MANY = Fault(code="too_many_requests", field=None, message="too many requests wait already; wait, then ask again")


class FaultError(Exception):
    """Ends a request with a fault."""

    def __init__(self, fault: Fault, retry_after_s: float | None = None):
        super().__init__(fault.message)
        self.fault = fault
        self.retry_after_s = retry_after_s
        """When it may be asked again, seconds."""


def respond(fault: Fault, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer that tells a fault."""
    body = ErrorReply(error=fault).model_dump(mode="json")
    return JSONResponse(body, status_code=STATUS[fault.code], headers=dict(headers or {}))


def install(api: FastAPI) -> None:
    """Let every error of the app leave in this shape."""
    api.add_exception_handler(FaultError, _of_fault)  # type: ignore[arg-type]
    api.add_exception_handler(RequestValidationError, _of_validation)  # type: ignore[arg-type]
    api.add_exception_handler(HTTPException, _of_http)  # type: ignore[arg-type]


async def _of_fault(_request: Request, error: FaultError) -> JSONResponse:
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after_s + 0.5)))
    if error.fault.code == "unauthorized":
        headers["WWW-Authenticate"] = "Bearer"
    return respond(error.fault, headers)


async def _of_validation(_request: Request, error: RequestValidationError) -> JSONResponse:
    first = error.errors()[0]
    place = first["loc"][1:]  # the first says whether it is of the body, the path or the query
    kind = first["type"]
    if kind == "json_invalid":
        return respond(Fault(code="invalid", field=None, message=f"the body is no JSON: {first['ctx']['error']}"))
    field = ".".join(str(part) for part in place) or None
    return respond(Fault(code="invalid", field=field, message=_message(first, field)))


def _message(error: Mapping[str, Any], field: str | None) -> str:
    """What is wrong, with the value where it is short."""
    if error["type"] == "extra_forbidden":
        return f"{field}: there is no such field; see /docs"
    text = str(error["msg"]).removeprefix("Value error, ")
    value = error.get("input")
    shown = f", got {value!r}" if isinstance(value, int | float | bool) or (value and len(str(value)) <= 40) else ""
    return f"{field or 'the body'}: {text[0].lower()}{text[1:]}{shown}"


async def _of_http(_request: Request, error: HTTPException) -> JSONResponse:
    code = _CODES.get(error.status_code, "invalid" if error.status_code < 500 else "failed")
    message = {404: "there is no such page; see /docs", 405: "this method is not allowed here; see /docs"}.get(
        error.status_code, str(error.detail)
    )
    return respond(Fault(code=code, field=None, message=message), error.headers)
