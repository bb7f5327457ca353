"""The settings of the signals."""

from typing import Annotated

from pydantic import Field

from recsys.config.section import Positive, Section


class TransitionsConfig(Section):
    """The sparse item-to-item model beside the ranker."""

    window: Positive = 20
    """Events from an item to those that count as following it."""
    half_life_days: Annotated[float, Field(gt=0)] = 10.0
    """Age at which a pair counts half on the scale `recent`; on the scale `lasting` age does not matter."""
    neighbours: Positive = 200
    """Strongest successors that are kept of an item."""


class LinearConfig(Section):
    """The linear item-to-item model beside the ranker (EASE), in closed form."""

    items: Annotated[int, Field(ge=0)] = 8_192
    """Most items that it knows, those with the most transitions; memory grows with the square and time with the cube of
    it. 0: no linear model."""
    users: Positive = 1_000_000
    """Users after whom no further shard is read: a sample tells as much."""
    ridge: Annotated[float, Field(gt=0)] = 300.0
    """Pull of the weights towards 0, in users who took an item."""
    half_life_days: Annotated[float, Field(gt=0)] = 10.0
    """Age at which what a user took counts half on the scale `recent`; on the scale `lasting` age does not matter."""
    neighbours: Positive = 100
    """Largest weights that are kept of an item, on each scale."""
