"""What every request passes: a name, a limit on its body, a line in the log; it knows no route and no model.

It speaks ASGI itself, so that a body is refused while it comes in and nothing is held of it.
"""

import secrets
import time
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recsys.serving.access_log import log_request
from recsys.serving.contracts import MAX_BODY_BYTES, Fault
from recsys.serving.error_replies import respond
from recsys.serving.request_metrics import RequestMetrics

#: The page loads nothing from elsewhere, and no other page may frame it.
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
#: What is counted for callers who hang up before they are answered; nobody is sent it.
_GONE = 499
#: The OpenAPI page brings its scripts from a content delivery network.
_OPEN_PAGES = ("/docs", "/redoc")


class Border:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp):
        self._app = app
        self._metrics: RequestMetrics | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = secrets.token_hex(8)
        start = time.monotonic()
        state: dict[str, Any] = scope.setdefault("state", {})
        status, begun, num_bytes = _GONE, False, 0

        async def counted() -> Message:
            nonlocal num_bytes
            message = await receive()
            num_bytes += len(message.get("body", b""))
            if num_bytes > MAX_BODY_BYTES:
                # of this kind, since FastAPI would take another for a body that cannot be read
                raise HTTPException(413, f"the body is larger than {MAX_BODY_BYTES:,} bytes")
            return message

        async def named(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                headers = {"X-Request-Id": request_id} | ({} if scope["path"] in _OPEN_PAGES else _HEADERS)
                message["headers"] = [
                    *message.get("headers", ()),
                    *((name.lower().encode(), value.encode()) for name, value in headers.items()),
                ]
            await send(message)

        try:
            await self._app(scope, counted, named)
        except Exception as error:
            state["error"] = f"{type(error).__name__}: {error}"
            if begun:
                raise
            fault = Fault(code="failed", field=None, message=f"an error of ours; the log has it as {request_id}")
            await respond(fault)(scope, receive, named)
        finally:
            route = getattr(scope.get("route"), "path", None)  # a path may hold a user's id, a route does not
            seconds = time.monotonic() - start
            self._metrics = self._metrics or RequestMetrics()
            self._metrics.answered(route, status, state.get("strategy"), seconds)
            log_request(
                request_id=request_id,
                method=scope["method"],
                route=route,
                status=status,
                ms=round(seconds * 1000, 2),
                **{name: state.get(name) for name in ("caller", "user", "strategy", "run_id", "error")},
            )
