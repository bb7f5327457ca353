"""Refuses requests that would have to wait too long, before anything of them is read; it knows no model.

What is refused inside the app, after the body was parsed and checked, costs several times as much: under a load that is
many times what can be answered, refusing would take all the time there is.
"""

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from recsys.serving.error_replies import TOO_MANY, respond

#: Seconds after which to ask again.
_RETRY_AFTER = {"Retry-After": "1"}


class Admission:
    """ASGI middleware before one route."""

    def __init__(self, app: ASGIApp, path: str, is_full: Callable[[], bool]):
        """``is_full`` says whether requests to ``path`` are to be refused now."""
        self._app, self._path, self._is_full = app, path, is_full
        self._refusal = respond(TOO_MANY, _RETRY_AFTER)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, or not."""
        if scope["type"] == "http" and scope["path"] == self._path and self._is_full():
            await self._refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)
