"""The realized results of past nights: how good their lists were, by what users did afterwards."""

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from recsys.data.histories import rank_ids
from recsys.evaluation.realized import ACCURACY, Interval, Mean, Places, RealizedLists, shown_items
from recsys.pipeline.measuring.past_lists import PastNight, PastNights
from recsys.schema import ALL_USERS, REALIZED
from recsys.storage.tables import write_table

#: Where the table lies, relative to the storage root. It is written again as a whole.
REALIZED_PATH = "realized/realized.parquet"

#: Segment → metric → its mean over users.
_Means = dict[str, dict[str, Mean]]


def write_realized(past: PastNights) -> pa.Table:
    """Join all nights with later events, write REALIZED, and return it."""
    rows = [row for night in past.nights for row in _night_rows(past, night)]
    table = pa.Table.from_pylist(rows, schema=REALIZED)
    write_table(past.storage, REALIZED_PATH, table, REALIZED)
    return table


def _night_rows(past: PastNights, night: PastNight) -> Iterator[dict[str, Any]]:
    """The rows of one night: all lists, then by variant, then by source, then what the live service showed."""
    means: _Means = {}
    sources: dict[str, Places] = {}
    for found in past.results(night):
        _add_users(means, found, priced=bool(past.prices))
        for name, places in found.by_source.items():
            sources[name] = sources.get(name, Places()) + places
    written = {"run_date": night.pointer.run_date, "run_id": night.pointer.run_id}
    for segment in sorted(means, key=lambda name: (name != ALL_USERS, name)):
        for metric, mean in means[segment].items():
            if mean.num:
                interval = mean.share_interval() if metric == "hitrate@10" else mean.interval()
                yield written | _with_interval(segment, metric, interval)
        taken = means[segment]["taken_per_list"]
        yield written | _plain(segment, "lists", taken.num)
        yield written | _plain(segment, "active_users", means[segment][ACCURACY[0]].num)
        if past.prices:
            yield written | _plain(segment, "revenue", means[segment]["revenue_per_list"].total)
    for name, places in sorted(sources.items()):
        yield from (written | row for row in _shown_rows(f"source:{name}", places, past))
    live = shown_items(night.impressions, night.followed, past.prices)
    if live.shown:
        yield from (written | row for row in _shown_rows("live", live, past))


def _add_users(means: _Means, found: RealizedLists, *, priced: bool) -> None:
    """Add the users of a shard to all lists, and to those of their variant."""
    names, variant = rank_ids(found.variants)
    groups = {ALL_USERS: np.ones(len(variant), dtype=bool)}
    groups |= {f"variant:{name}": variant == code for code, name in enumerate(names.to_pylist()) if name}
    for segment, mask in groups.items():
        values = {name: metric[mask & found.active] for name, metric in found.accuracy.items()}
        values["taken_per_list"] = found.taken[mask]
        if priced:
            values["revenue_per_list"] = found.revenue[mask]
        totals = means.setdefault(segment, {})
        for name, column in values.items():
            totals[name] = totals.get(name, Mean()) + Mean.of(column)


def _shown_rows(segment: str, places: Places, past: PastNights) -> Iterable[dict[str, Any]]:
    """What came of places that were shown: their number, the share that was taken, and the revenue."""
    yield _plain(segment, "shown", places.shown)
    if places.shown:
        yield _with_interval(segment, "taken_share", places.taken_share())
    if past.prices:
        yield _plain(segment, "revenue", places.revenue)


def _plain(segment: str, metric: str, value: float) -> dict[str, Any]:
    return {"metric": metric, "segment": segment, "value": float(value), "low": None, "high": None}


def _with_interval(segment: str, metric: str, interval: Interval) -> dict[str, Any]:
    value, low, high = interval
    return {"metric": metric, "segment": segment, "value": value, "low": low, "high": high}


def days_joined(past: PastNights) -> dict[str, str]:
    """First and last moment of the events that were joined, for people."""
    first, last = past.nights[0].start, past.nights[-1].end
    return {"from": first.astimezone(dt.UTC).isoformat(), "until": last.astimezone(dt.UTC).isoformat()}
