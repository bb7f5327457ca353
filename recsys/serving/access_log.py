"""Writes one line of JSON for each request to stderr: caller, route, status and time. Users appear as a hash.

Ray Serve's own access log is off, because it writes paths, and paths contain user ids. The hash has a random key of
this process: lines of one user can be grouped, but nobody can find a user by the id.
"""

import hashlib
import json
import logging
import secrets
import sys
from typing import Any

logger = logging.getLogger("recsys.access")

_KEY = secrets.token_bytes(16)


def log_to_stderr() -> None:
    """Write the lines to stderr, without any prefix."""
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False


def log_request(**fields: Any) -> None:
    """Write one line; fields that are None are left out."""
    logger.info(json.dumps({name: value for name, value in fields.items() if value is not None}))


def hash_user(user_id: str | None) -> str | None:
    """The hash that stands for a user id in the log; None for None."""
    if user_id is None:
        return None
    return hashlib.blake2b(user_id.encode("utf-8", "surrogatepass"), key=_KEY, digest_size=8).hexdigest()
