"""Joins the published lists of past nights with the events that came after them, shard by shard."""

import datetime as dt
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.events.event_weights import are_of_kinds, unused_kinds
from recsys.data.histories import shard_of
from recsys.data.splits import cutoff_for
from recsys.data.values.written_numbers import numbers_in
from recsys.errors import ConfigError
from recsys.evaluation.config import RealizedConfig
from recsys.evaluation.realized import RealizedLists, after_impressions, realized_lists
from recsys.pipeline.open_run import stored_run
from recsys.pipeline.run import Run
from recsys.ranking.rules.attributes import attribute_values
from recsys.schema import INTERACTIONS, TIMESTAMP
from recsys.storage.filesystem import Storage
from recsys.storage.latest import Latest
from recsys.storage.manifest import read_manifest
from recsys.storage.nights import require_nights
from recsys.storage.runs import RunFolder
from recsys.storage.tables import read_table

logger = logging.getLogger(__name__)

_COLUMNS = ("user_id", "item_id", "source", "variant")


@dataclass(frozen=True, kw_only=True)
class PastNight:
    """A published night, and the events that count for its lists."""

    pointer: Latest
    manifest: Mapping[str, Any]
    start: dt.datetime
    end: dt.datetime
    """Events count from `start` up to but not at `end`."""
    events: pa.Table
    """`user_id`, `item_id` and `timestamp`."""
    impressions: pa.Table
    """The same of what clients of the live service reported as shown, in the same days."""
    followed: pa.Table
    """The same of the events for which these impressions are the newest of their user and item."""

    @property
    def shards(self) -> list[str]:
        """Names of the files of the lists."""
        return [shard["name"] for shard in self.manifest["shards"]]


@dataclass(frozen=True, kw_only=True)
class PastNights:
    """The nights whose lists are judged, oldest first."""

    storage: Storage
    nights: Sequence[PastNight]
    prices: Mapping[str, float] = field(default_factory=dict)
    """By item; empty where no price is named."""
    older: Latest | None = None
    """The newest night that is too old to be joined; None: all nights are joined."""

    def results(self, night: PastNight) -> Iterator[RealizedLists]:
        """The lists of one night with what came of them, one shard after the other."""
        num_shards = night.manifest["config"]["histories"]["shards"]
        shard = shard_of(night.events["user_id"], num_shards)
        for name in night.shards:
            lists = read_table(self.storage, f"{night.pointer.path}/{name}", _COLUMNS)
            number = int(name.removeprefix("shard-").removesuffix(".parquet"))
            if len(lists):
                yield realized_lists(lists, night.events.filter(pa.array(shard == number)), self.prices)


def open_past_nights(storage: Storage, settings: RealizedConfig) -> PastNights:
    """The published nights before the newest one. The newest night holds the events, cleaned, and feedback among them.

    An event counts for the newest list before it: from the end of that night's date to the end of the next published
    night's date, and not longer than `window_days`. So it does for the newest impression of the item, on whatever day.

    Args:
        storage: Of the nights.
        settings: The section `realized` of the config.

    Raises:
        InputError: fewer than two nights are published, or a file is damaged.
        ConfigError: no item has a price in the named attribute.
    """
    published = require_nights(storage, 2, "a comparison with later events")
    older, pointers = published[: -settings.nights - 1], published[-settings.nights - 1 :]
    newest = stored_run(RunFolder(storage, pointers[-1].run_id))
    ends = [cutoff_for(pointer.run_date, 0) for pointer in pointers]
    events = _events_since(newest, newest.interactions_dir, ends[0], settings.events)
    if settings.price is not None and settings.events is None:
        _warn_of_several_kinds(pc.unique(events["event"]).to_pylist())
    events = events.drop_columns("event")
    impressions = _events_since(newest, newest.impressions_dir, ends[0], None).drop_columns("event")
    impressions = impressions.filter(pc.not_equal(impressions["item_id"], ""))  # those of searches
    window = dt.timedelta(days=settings.window_days)
    followed = after_impressions(events, impressions, window)
    nights = []
    for pointer, start, next_end in zip(pointers, ends, ends[1:], strict=False):
        end = min(next_end, start + window)
        nights.append(
            PastNight(
                pointer=pointer,
                manifest=read_manifest(storage, pointer),
                start=start,
                end=end,
                events=_between(events, "timestamp", start, end),
                impressions=_between(impressions, "timestamp", start, end),
                followed=_between(followed, "shown_at", start, end),
            )
        )
    prices = {} if settings.price is None else _prices(newest, settings.price)
    return PastNights(storage=storage, nights=nights, prices=prices, older=older[-1] if older else None)


def _between(events: pa.Table, column: str, start: dt.datetime, end: dt.datetime) -> pa.Table:
    times = events[column]
    return events.filter(
        pc.and_(pc.greater_equal(times, pa.scalar(start, TIMESTAMP)), pc.less(times, pa.scalar(end, TIMESTAMP)))
    )


def _events_since(run: Run, folder: str, start: dt.datetime, kinds: Sequence[str] | None) -> pa.Table:
    """Events of a run at or after a time, from the files of a folder."""
    columns = ["user_id", "item_id", "timestamp", "event"]
    known: set[str] = set()
    parts = [pa.schema([INTERACTIONS.field(name) for name in columns]).empty_table()]
    for name in run.storage.list(folder):
        table = read_table(run.storage, f"{folder}/{name}", columns)
        table = table.filter(pc.greater_equal(table["timestamp"], pa.scalar(start, TIMESTAMP)))
        if kinds is not None:
            known.update(pc.unique(table["event"]).to_pylist())
            table = table.filter(pa.array(are_of_kinds(table["event"], kinds)))
        parts.append(table)
    if unused := unused_kinds(kinds or (), known):
        there = ", ".join(sorted(known)) or "none"
        logger.warning("realized.events: no event is of the kind %s; the kinds are %s", ", ".join(unused), there)
    return pa.concat_tables(parts)


def _warn_of_several_kinds(kinds: Sequence[str]) -> None:
    if len(kinds) > 1:
        logger.warning(
            "realized.price: each event brings the price of its item, of whatever kind (%s); name those that are sales "
            "in realized.events",
            ", ".join(sorted(kinds)),
        )


def _prices(run: Run, attribute: str) -> dict[str, float]:
    """The price of each item that has one above 0."""
    catalog = read_table(run.storage, run.catalog_path, ["item_id", "attributes"])
    texts = attribute_values(catalog, attribute)
    numbers = numbers_in(texts)
    has_price = numbers > 0
    items = catalog["item_id"].filter(pa.array(has_price)).to_pylist()
    prices = dict(zip(items, numbers[has_price].tolist(), strict=True))
    if not prices:
        raise ConfigError(
            f"realized.price={attribute}: no item has a number above 0 there; `inputs.items.attributes` says which "
            f"columns of the items are kept"
        )
    if num_unread := int(np.isnan(numbers).sum()) - texts.null_count:
        logger.warning(
            "realized.price: of %d items the price in %r is no number; they bring nothing", num_unread, attribute
        )
    return prices
