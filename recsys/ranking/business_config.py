"""The settings of rules by which a shop has its way: pins, boosts and quiet periods."""

import datetime as dt
from typing import Annotated

from pydantic import Field, model_validator

from recsys.config.section import Date, Positive, Section
from recsys.data.config import Condition

ItemId = Annotated[str, Field(min_length=1)]


class Campaign(Section):
    """What holds on some days."""

    first_day: Date | None = None
    """First day on which it holds; null: since ever."""
    last_day: Date | None = None
    """Last day on which it holds; null: for ever."""

    @model_validator(mode="after")
    def _days_in_order(self) -> "Campaign":
        if self.first_day is not None and self.last_day is not None and self.first_day > self.last_day:
            raise ValueError(f"first_day={self.first_day} must not be after last_day={self.last_day}")
        return self

    def holds_on(self, day: dt.date) -> bool:
        """Whether it holds on a day."""
        return (self.first_day is None or self.first_day <= day) and (self.last_day is None or day <= self.last_day)


class Pin(Campaign):
    """An item with a place."""

    item: ItemId
    """Id of the item. Users whom the other rules keep from it do not get it."""
    place: Positive = 1
    """Its place in the list, from 1. An item that its score brings higher stays there."""


class Boost(Campaign):
    """Items that count more, or less."""

    items: list[ItemId] | None = None
    """Ids of items; null: what `where` says."""
    where: Condition | None = None
    """SQL condition over the items' attributes, e.g. `brand = 'Acme'`; null: what `items` says."""
    factor: Annotated[float, Field(gt=0, le=1e6)]
    """P(item | user) counts so many times; below 1, the items go down. It acts among the candidates of a user."""

    @model_validator(mode="after")
    def _names_items(self) -> "Boost":
        if (self.items is None) == (self.where is None):
            raise ValueError("a boost needs either `items` or `where`")
        return self


class ExcludeServed(Section):
    """What happens to items that a user was shown and did not take. Events of the kind `impression` tell it."""

    days: Annotated[float, Field(gt=0, le=36_600)] = 14.0
    """Impressions of so many days count, 24 hours each."""
    times: Positive | None = 5
    """An item with so many impressions is left out; null: it only goes down."""
    factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    """P(item | user) counts so many times for each impression; 1: the item does not go down."""

    @model_validator(mode="after")
    def _does_something(self) -> "ExcludeServed":
        if self.times is None and self.factor == 1:
            raise ValueError("does nothing with times=null and factor=1: set one of them")
        return self


class QuietPeriod(Section):
    """Days without an item after a user took it."""

    days: Annotated[float, Field(gt=0, le=36_600)]
    """Days after the event, 24 hours each."""
    events: Annotated[list[str], Field(min_length=1)] | None = None
    """Kinds of events that start the quiet period, e.g. `[purchase]`; null: every event of positive weight."""
    attribute: Annotated[str, Field(min_length=1)] | None = None
    """All items with the same value of this attribute are left out too, e.g. `category`; null: the item alone. It makes
    a difference beside `recommend.exclude_seen`, which leaves out the item itself for ever."""
