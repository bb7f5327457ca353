"""The site of the nights, as the live service gives it to browsers: only pages and their looks, never another file."""

import re

from recsys.serving.page_files import media_type
from recsys.storage.filesystem import Storage
from recsys.storage.site import INDEX, SITE

_FILE = re.compile(r"index\.html|style\.css|nights/[A-Za-z0-9._-]+\.html")


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
        return storage.read_bytes(path), media_type(path)
    except FileNotFoundError:
        return None
