"""Applies to every request: a limit on the body, security headers, a line in the access log, a reply to any error.

It is plain ASGI, so that it refuses a large body while the body arrives and never holds it in memory. The request id is
Ray Serve's: Serve takes the caller's `X-Request-ID` or makes one, and sends it back with the response.
"""

import time
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recsys.serving.access_log import log_request
from recsys.serving.contracts import MAX_BODY_BYTES, ErrorDetail
from recsys.serving.error_replies import error_response

#: The page loads nothing from other hosts, and no other page may show it in a frame.
_SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
#: The status in the log where the caller closed the connection before the response (as nginx has it).
_CLOSED_BY_CALLER = 499
#: FastAPI's pages of the API load their scripts from a content delivery network.
_API_PAGES = ("/docs", "/redoc")


class RequestMiddleware:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.monotonic()
        request_id = Headers(scope=scope).get("X-Request-ID", "")
        state: dict[str, Any] = scope.setdefault("state", {})
        status, has_begun, num_bytes = _CLOSED_BY_CALLER, False, 0

        async def receive_limited() -> Message:
            nonlocal num_bytes
            message = await receive()
            num_bytes += len(message.get("body", b""))
            if num_bytes > MAX_BODY_BYTES:
                # of this class, because FastAPI reports any other one as a body that cannot be parsed
                raise HTTPException(413, f"the body is larger than {MAX_BODY_BYTES:,} bytes")
            return message

        async def send_with_headers(message: Message) -> None:
            nonlocal status, has_begun
            if message["type"] == "http.response.start":
                status, has_begun = message["status"], True
                if scope["path"] not in _API_PAGES:
                    MutableHeaders(scope=message).update(_SECURITY_HEADERS)
            await send(message)

        try:
            await self._app(scope, receive_limited, send_with_headers)
        except Exception as error:
            state["error"] = f"{type(error).__name__}: {error}"
            if has_begun:
                raise
            message = f"the service failed; its log names this request {request_id}"
            await error_response(ErrorDetail(code="failed", field=None, message=message))(
                scope, receive, send_with_headers
            )
        finally:
            log_request(
                request_id=request_id,
                method=scope["method"],
                route=getattr(scope.get("route"), "path", None),  # never the path, which may contain a user id
                status=status,
                ms=round((time.monotonic() - start) * 1000, 2),
                **{name: state.get(name) for name in ("caller", "user", "strategy", "run_id", "error")},
            )
