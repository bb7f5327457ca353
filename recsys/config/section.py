"""A part of the config, and the kinds of numbers that its fields hold."""

import datetime as dt
from typing import Annotated, Literal

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


Precision = Literal["auto", "fp32", "bf16", "fp16"]
Positive = Annotated[int, Field(ge=1)]
Date = Annotated[dt.date, BeforeValidator(_iso_date)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """A part of the config: unknown keys and wrong types are errors, values never change."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )
