"""One line of JSON a request: who asked what, how it went and how long it took; users only by a hash.

It knows no model. The hash is keyed anew in each process: lines of one user can be told to belong together, and nobody
can be found by their id.
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
    """Write the lines, and nothing but them, to stderr."""
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False


def log_request(**facts: Any) -> None:
    """Write one line; facts that are None are left out."""
    logger.info(json.dumps({name: value for name, value in facts.items() if value is not None}))


def hashed(user_id: str | None) -> str | None:
    """A user's id as it may stand in a log."""
    if user_id is None:
        return None
    return hashlib.blake2b(user_id.encode("utf-8", "surrogatepass"), key=_KEY, digest_size=8).hexdigest()
