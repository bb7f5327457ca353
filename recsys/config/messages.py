"""What the errors of a config say."""

import difflib
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from recsys.config.renamed import RENAMED

_Section = TypeVar("_Section", bound=BaseModel)

_BOUNDS = {
    "greater_than_equal": "must be ≥ {ge}",
    "greater_than": "must be > {gt}",
    "less_than_equal": "must be ≤ {le}",
    "less_than": "must be < {lt}",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "must match {pattern}",
    "string_too_short": "must have at least {min_length} character",
}


def validated(model: type[_Section], values: Any, path: str) -> _Section:
    """A section from plain values; ``path`` is before each key in errors.

    Raises:
        ValueError: a key is unknown, missing or out of range.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ValueError("\n".join(f"{path}.{explain(fault, model)}" for fault in error.errors())) from error


def explain(fault: Any, model: type[BaseModel]) -> str:
    """One line for a fault that pydantic found: the full path, what is wrong, and the value."""
    path = ".".join(str(part) for part in fault["loc"])
    prefix = f"{path}: " if path else ""
    kind = fault["type"]
    if kind == "extra_forbidden" and path in RENAMED:
        return f"{prefix}has a new name: write {RENAMED[path]}"
    if kind == "extra_forbidden":
        return f"{prefix}unknown key{_suggest(fault['loc'], model)}"
    if kind == "missing":
        return f"{prefix}is required"
    if kind == "value_error":
        return f"{prefix}{fault['ctx']['error']}"
    if kind in _BOUNDS:
        return f"{prefix}{_BOUNDS[kind].format(**fault['ctx'])}, got {fault['input']!r}"
    if kind == "string_type" and isinstance(fault["input"], dict):
        return f"{prefix}must be a text, got a mapping of keys; in YAML a text that begins with {{ needs quotes"
    message = fault["msg"].removeprefix("Input should be ").removeprefix("Value should be ")
    must_be = "must be " if message != fault["msg"] else ""
    return f"{prefix}{must_be}{message}, got {fault['input']!r}"


def _suggest(loc: tuple[str | int, ...], model: type[BaseModel]) -> str:
    section: Any = model
    for part in loc[:-1]:
        if isinstance(part, int):  # of a list: its type is unwrapped already
            continue
        field = getattr(section, "model_fields", {}).get(part)
        if field is None:  # a key of a mapping, or the name of one of several types
            return ""
        annotation = field.annotation
        section = next((kind for kind in get_args(annotation) if kind is not type(None)), annotation)  # of an optional
    known = getattr(section, "model_fields", {})
    if not known:
        return ""
    close = difflib.get_close_matches(str(loc[-1]), known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known here: {', '.join(known)}"
