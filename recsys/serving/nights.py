"""The site of the nights, as the live service gives it to browsers: only pages and their looks, never another file."""

import base64
import re

from recsys.storage.filesystem import Storage
from recsys.storage.site import INDEX, SITE

#: Asks a browser for a name and a password; the password is the key.
CHALLENGE = 'Basic realm="The nights. Any name, and a key of the service as the password", charset="UTF-8"'
_TYPES = {"html": "text/html", "css": "text/css"}
_FILE = re.compile(r"index\.html|style\.css|nights/[A-Za-z0-9._-]+\.html")


def key_in(authorization: str) -> str | None:
    """The key in the header `Authorization`: a bearer token, or the password of a browser; None where there is none.

    >>> key_in("Bearer recsys_1"), key_in("Basic " + base64.b64encode(b"me:recsys_1").decode()), key_in("Basic ?")
    ('recsys_1', 'recsys_1', None)
    """
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip() or None
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2] or None
    except ValueError:  # no base64, no ASCII, or no UTF-8 in it
        return None


def read_site_file(storage: Storage, name: str) -> tuple[bytes, str] | None:
    """A file of the site and its media type; None where there is no such file.

    Args:
        storage: The root.
        name: Relative to the site; empty: the index.
    """
    if name and not _FILE.fullmatch(name):
        return None
    path = f"{SITE}/{name}" if name else INDEX
    try:
        return storage.read_bytes(path), _TYPES[path.rsplit(".", 1)[-1]]
    except FileNotFoundError:
        return None
