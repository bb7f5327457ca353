"""Dataclasses as JSON and back. Reading refuses missing and wrongly typed fields.

Fields that a dataclass does not have are left out: a newer release may have added them. JSON has no NaN, so it is
stored as null (`recsys.storage.json_files.to_json`): null is read as NaN where a field must be a number.
"""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

#: A dataclass that is read strictly has this as `__pydantic_config__`.
STRICT = ConfigDict(strict=True, extra="ignore")

T = TypeVar("T")

_adapters: dict[Any, TypeAdapter[Any]] = {}


def as_json(record: object) -> dict[str, Any]:
    """A dataclass as plain values for JSON.

    Raises:
        PydanticSerializationError: a field has a value of a wrong type.
    """
    plain: dict[str, Any] = _adapter(type(record)).dump_python(record, mode="json", by_alias=True, warnings="error")
    return plain


def from_json(kind: type[T], stored: Mapping[str, Any]) -> T:
    """A dataclass of this kind, from plain values.

    Raises:
        ValueError: a field is missing or of a wrong type; the message names it.
    """
    text = json.dumps(stored)
    try:
        try:
            found: T = _adapter(kind).validate_json(text)
        except ValidationError as error:
            if not (missing := [fault["loc"] for fault in error.errors() if _is_missing_number(fault)]):
                raise
            found = _adapter(kind).validate_json(_with_nan(text, missing))
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise ValueError("; ".join(faults)) from error
    return found


def _is_missing_number(fault: Mapping[str, Any]) -> bool:
    return fault["type"] == "float_type" and fault["input"] is None


def _with_nan(text: str, places: Iterable[tuple[int | str, ...]]) -> str:
    """JSON text with NaN at these places, each the keys and indices that lead to it."""
    value = json.loads(text)
    for *parents, last in places:
        holder = value
        for key in parents:
            holder = holder[key]
        holder[last] = math.nan
    return json.dumps(value)


def _adapter(kind: Any) -> TypeAdapter[Any]:
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]
