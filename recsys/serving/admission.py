"""Refuses requests that are ranked while the service has too many of them, before their bodies are read.

A refusal inside of the app, after the body was parsed and checked, costs several times as much. At a load far above
the capacity, such refusals would take all the time.
"""

from collections.abc import Callable, Collection

from starlette.types import ASGIApp, Receive, Scope, Send

from recsys.serving.error_replies import TOO_MANY_REQUESTS, error_response


class AdmissionControl:
    """ASGI middleware for some paths."""

    def __init__(self, app: ASGIApp, paths: Collection[str], is_full: Callable[[], bool]):
        """``is_full`` says whether requests to ``paths`` are refused now."""
        self._app, self._paths, self._is_full = app, frozenset(paths), is_full
        self._refusal = error_response(TOO_MANY_REQUESTS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on."""
        if scope["type"] == "http" and scope["path"] in self._paths and self._is_full():
            await self._refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)
