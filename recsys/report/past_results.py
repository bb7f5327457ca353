"""Realized results for the index: what users did with the lists of past nights, by night, variant and source."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from recsys.schema import ALL_USERS


@dataclass(frozen=True, slots=True)
class RealizedValue:
    """A figure with its 95 % interval; no bounds where there is no interval."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RealizedNight:
    """What users did with all lists of a night."""

    run_id: str
    run_date: str
    figures: Mapping[str, RealizedValue]
    """By metric; a metric that was not measured is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RealizedPlaces:
    """What users took of the places of one source, or of what the live service showed, over all nights."""

    name: str
    shown: float
    taken_share: float | None
    """None: nothing was shown."""
    revenue: float | None
    """None: no price is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RealizedVariant:
    """What users did with the lists of one variant, over all nights."""

    name: str
    lists: float
    active_users: float
    means: Mapping[str, float]
    """By metric: over the active users of all nights, or over all lists."""
    revenue: float | None


@dataclass(frozen=True, slots=True)
class Realized:
    """What the index shows of REALIZED; nothing where no results were written."""

    nights: list[RealizedNight] = field(default_factory=list)
    """Oldest first."""
    variants: list[RealizedVariant] = field(default_factory=list)
    places: list[RealizedPlaces] = field(default_factory=list)

    @property
    def has_revenue(self) -> bool:
        """Whether prices were known."""
        return any("revenue" in night.figures for night in self.nights)


#: Segment → run id → metric → value.
_Segments = dict[str, dict[str, dict[str, RealizedValue]]]


def summarize_realized(table: pa.Table) -> Realized:
    """What the index shows of REALIZED, in any order of its rows."""
    dates: dict[str, str] = {}
    segments: _Segments = {}
    for row in table.to_pylist():
        dates[row["run_id"]] = row["run_date"].isoformat()
        figures = segments.setdefault(row["segment"], {}).setdefault(row["run_id"], {})
        figures[row["metric"]] = RealizedValue(row["value"], row["low"], row["high"])
    nights = [
        RealizedNight(run_id=run_id, run_date=dates[run_id], figures=figures)
        for run_id, figures in segments.pop(ALL_USERS, {}).items()
    ]
    variants = {name.partition(":")[2]: found for name, found in segments.items() if name.startswith("variant:")}
    places = {name.partition(":")[2] or name: found for name, found in segments.items() if "variant:" not in name}
    return Realized(
        sorted(nights, key=lambda night: (night.run_date, night.run_id)),
        [_variant(name, list(found.values())) for name, found in sorted(variants.items())],
        [_places(name, list(found.values())) for name, found in sorted(places.items())],
    )


def _variant(name: str, nights: list[dict[str, RealizedValue]]) -> RealizedVariant:
    lists, active = _total(nights, "lists"), _total(nights, "active_users")
    means = {
        metric: _weighted(nights, metric, weight)
        for metric, weight in (
            ("hitrate@10", "active_users"),
            ("ndcg@10", "active_users"),
            ("taken_per_list", "lists"),
        )
    }
    known = {metric: mean for metric, mean in means.items() if mean is not None}
    return RealizedVariant(
        name=name, lists=lists or 0, active_users=active or 0, means=known, revenue=_total(nights, "revenue")
    )


def _places(name: str, nights: list[dict[str, RealizedValue]]) -> RealizedPlaces:
    return RealizedPlaces(
        name=name,
        shown=_total(nights, "shown") or 0,
        taken_share=_weighted(nights, "taken_share", "shown"),
        revenue=_total(nights, "revenue"),
    )


def _total(nights: Iterable[Mapping[str, RealizedValue]], metric: str) -> float | None:
    """The sum over nights; None where no night has the metric."""
    found = [night[metric].value for night in nights if metric in night]
    return sum(found) if found else None


def _weighted(nights: Iterable[Mapping[str, Any]], metric: str, weight: str) -> float | None:
    """The mean over nights by a weight; None where no night has the metric."""
    found = [(night[metric].value, night[weight].value) for night in nights if metric in night and weight in night]
    whole = sum(each for _, each in found)
    return sum(value * each for value, each in found) / whole if whole else None
