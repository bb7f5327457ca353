"""A part of the config, and the kinds of numbers that its fields hold."""

import datetime as dt
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _iso_date(value: object) -> object:
    """Accept `2026-11-22` as text too: JSON and some YAML writers quote dates."""
    if isinstance(value, dt.datetime):
        value = value.isoformat()
    if isinstance(value, str):
        try:
            return dt.date.fromisoformat(value)
        except ValueError as error:
            raise ValueError(f"must be a date like 2026-11-22, got {value!r}") from error
    return value


#: Names of days that stand for a date, see `recsys.pipeline.night_date`.
DateWord = Literal["today", "yesterday", "newest"]
#: A night reckons with days before and after its own, and Python's dates end with the year 9999.
_FIRST_NIGHT, _LAST_NIGHT = dt.date(1970, 1, 1), dt.date(9998, 12, 31)


def _night_date(value: object) -> object:
    """Accept the names of days, and what is a date."""
    if value in get_args(DateWord):
        return value
    try:
        date = _iso_date(value)
    except ValueError:
        date = None
    if isinstance(date, dt.date):
        if not _FIRST_NIGHT <= date <= _LAST_NIGHT:
            raise ValueError(f"must be from {_FIRST_NIGHT} to {_LAST_NIGHT}, got {date}")
        return date
    raise ValueError(f"must be a date like 2026-11-22, or {', '.join(get_args(DateWord))}, got {value!r}")


Precision = Literal["auto", "fp32", "bf16", "fp16"]
Positive = Annotated[int, Field(ge=1)]
Date = Annotated[dt.date, BeforeValidator(_iso_date)]
NightDate = Annotated[dt.date | DateWord, BeforeValidator(_night_date)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """A part of the config: unknown keys and wrong types are errors, values never change."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )
