"""The files of the page at `/`, which are read once, when the service starts."""

import importlib.resources

from fastapi.responses import Response

from recsys.serving.contracts import ErrorDetail
from recsys.serving.error_replies import ApiError

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


def media_type(name: str) -> str:
    """The media type of a file of a page, by its ending."""
    return _TYPES[name.rsplit(".", 1)[-1]]


class PageFiles:
    """The files by name."""

    def __init__(self) -> None:
        """Read all of them."""
        folder = importlib.resources.files("recsys.serving") / "page"
        self._files = {
            file.name: file.read_bytes() for file in folder.iterdir() if file.name.rsplit(".", 1)[-1] in _TYPES
        }

    def response(self, name: str) -> Response:
        """The reply with a file.

        Raises:
            ApiError: there is no such file.
        """
        if name not in self._files:
            raise ApiError(ErrorDetail(code="not_found", field=None, message="the page has no such file"))
        return Response(self._files[name], media_type=media_type(name))
