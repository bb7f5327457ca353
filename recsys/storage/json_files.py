"""JSON as it is stored: the same values give the same bytes, and a damaged file is an error that names it."""

import json
import math
from collections.abc import Mapping
from typing import Any

from recsys.errors import InputError

#: What a user can do about a damaged pointer or manifest.
WAY_OUT = "restore the file, or delete it and publish a night again"


def to_json(value: object) -> bytes:
    """Sorted keys, two spaces, a trailing newline; a float that JSON cannot hold (NaN, infinity) becomes null."""
    text = json.dumps(_finite(value), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def decode_object(data: bytes, url: str) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        InputError: the bytes are not JSON, or not an object; the message names `url`.
    """
    try:
        record = json.loads(data)
    except ValueError as error:
        raise InputError(f"{url}: is damaged ({error}); {WAY_OUT}") from error
    if not isinstance(record, dict):
        raise InputError(f"{url}: is damaged (no JSON object); {WAY_OUT}")
    return record


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(child) for child in value]
    return value
