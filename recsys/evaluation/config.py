"""The settings of the gates, and of what is measured later."""

from typing import Annotated

from pydantic import Field, field_validator

from recsys.config.section import Fraction, Positive, Section
from recsys.errors import ConfigError
from recsys.evaluation.metrics.registry import parse_metric


class GateConfig(Section):
    """A new model is published unless it is significantly worse than popularity or the published model, or its lists
    fail a check. `--force` publishes what a gate refused."""

    holdout_days: Positive = 7
    """Newest days kept from training; the model is measured on them."""
    metric: str = "ndcg@10"
    """What is compared: an accuracy metric and its number of places, such as `ndcg@10`, `recall@20` or `mrr@10`."""
    tolerance: Fraction = 0.02
    """Non-inferiority margin: how far below the published model, as a share of its metric, a new model may be."""
    min_users: Positive = 20
    """With fewer held-out users the gate warns and lets the model pass, since so few users show nothing."""
    max_users: Positive = 10_000
    """At most about this many held-out users are measured, and as many cold users; they are chosen by hash."""
    min_users_ratio: Fraction | None = 0.5
    """Users with a list, at least this share of those of the published night; null: not checked."""
    max_short_lists_rise: Fraction | None = 0.3
    """Share of the lists with fewer items than possible, at most so far above that of the published night; null: not
    checked."""
    min_coverage_ratio: Fraction | None = 0.3
    """Items that are in a list, at least this share of those of the published night, by number or by share of the
    catalog; null: not checked."""
    max_equal_score_lists: Fraction | None = 0.5
    """Share of the lists in which all scores may be equal; null: not checked."""
    max_non_finite_scores: Fraction | None = 0.0
    """Share of the scores that may be NaN or infinite; null: not checked."""
    max_invalid_lists: Fraction | None = 0.0
    """Share of the lists that may break the contract of the table (columns, ranks, an item twice, an item that is not
    in the catalog); null: not checked."""

    @field_validator("metric", mode="after")
    @classmethod
    def _metric_is_known(cls, name: str) -> str:
        try:
            parse_metric(name)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return name


class RealizedConfig(Section):
    """How lists of past nights are joined with later events, by `jobs/evaluate.py --realized` and `--compare`."""

    window_days: Positive = 7
    """An event counts for the newest list before it, if that list is at most so many days old."""
    nights: Positive = 30
    """Newest published nights that are joined."""
    price: Annotated[str, Field(min_length=1)] | None = None
    """Attribute of the items that holds their price, e.g. `price`; null: revenue is not measured."""
    events: list[str] | None = None
    """Kinds of events that count, e.g. `[purchase]`; null: all that make a positive."""
