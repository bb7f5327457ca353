"""What users say about items: their reviews, and the searches after which they took an item.

Only events are read on which nothing is measured: those before the holdout, without each user's last basket. The oldest
are taken, since they stay the same from night to night.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Callable
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.events.searches import merge_searches, searches_before
from recsys.data.splits import Split, hold_out_last_basket
from recsys.enrichment.config import ItemTextsConfig
from recsys.pipeline.run import Record, Run
from recsys.pipeline.stages import SHUFFLE_HISTORIES
from recsys.pipeline.stored.shard_tables import read_interactions, read_searches
from recsys.pipeline.workers.cluster import for_each_part
from recsys.schema import INTERACTIONS_WITH_TEXT, ITEM_SAYINGS
from recsys.storage.tables import read_table, write_table

#: Between a search and the event that it led to.
_SEARCH_LEADS_FOR = dt.timedelta(minutes=30)
#: Characters of a saying.
MOST_CHARS = 300

#: Texts of items by the kind of saying (`review` or `search`) and the item's id.
Sayings = dict[str, dict[str, list[str]]]


def gather_sayings(run: Run, spec: ItemTextsConfig) -> Sayings:
    """The oldest sayings about each item, as many as the config takes; none where no texts of events are read."""
    most = {"review": spec.num_reviews, "search": spec.num_searches}
    found: Sayings = {kind: defaultdict(list) for kind in most}
    if run.config.inputs.event_settings.columns.text is None or not any(most.values()):
        return found
    histories = run.record(SHUFFLE_HISTORIES)
    for_each_part(histories.shards, partial(_writer, run, most), label="enrich", rows=histories.rows)
    tables = [read_table(run.storage, _path(run, shard)) for shard in histories.shards]
    for row in _oldest(pa.concat_tables(tables), most).to_pylist():
        found[row["kind"]][row["item_id"]].append(row["text"])
    return found


def readable(run: Run, interactions: pa.Table) -> Split:
    """Sorted interactions of whole users: those that texts may be written from, and the others."""
    past = run.split(interactions).train
    return hold_out_last_basket(past, np.ones(len(past), dtype=bool))


def _path(run: Run, shard: str) -> str:
    return f"{run.folder.dir}/item_sayings/{shard}.parquet"


def _writer(run: Run, most: dict[str, int]) -> Callable[[str], Record]:
    def write(shard: str) -> Record:
        interactions, kept = readable(run, read_interactions(run, shard))
        searches = read_searches(run, shard)
        assert searches is not None, "sayings are gathered only where texts of events are read"
        led = followed_by_items(interactions, searches_before(searches, kept, run.cutoff))
        reviews = interactions.filter(pc.not_equal(interactions["text"], ""))
        sayings = pa.concat_tables([_sayings(reviews, "review"), _sayings(led, "search")])
        table = _oldest(sayings, most)
        write_table(run.storage, _path(run, shard), table, ITEM_SAYINGS)
        return {"rows": len(table)}

    return write


def followed_by_items(interactions: pa.Table, searches: pa.Table) -> pa.Table:
    """Searches whose user took an item within half an hour, before any other search, with that item."""
    merged = merge_searches(interactions.select(INTERACTIONS_WITH_TEXT.names), searches)
    if not len(merged):
        return merged
    users = merged["user_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    times = np.asarray(merged["timestamp"].cast(pa.int64()))
    is_search = np.asarray(pc.equal(merged["item_id"], ""))
    after = np.minimum(np.arange(len(merged)) + 1, len(merged) - 1)
    soon = times[after] - times <= _SEARCH_LEADS_FOR / dt.timedelta(microseconds=1)
    leads = is_search & ~is_search[after] & (users[after] == users) & soon
    led = merged.filter(pa.array(leads))
    items = merged["item_id"].take(pa.array(after[leads]))
    return led.set_column(led.column_names.index("item_id"), ITEM_SAYINGS.field("item_id"), items)


def _sayings(events: pa.Table, kind: str) -> pa.Table:
    texts = pc.utf8_slice_codeunits(events["text"], 0, MOST_CHARS)
    columns = [events["item_id"], pa.repeat(kind, len(events)), texts, events["timestamp"]]
    return pa.table(columns, schema=ITEM_SAYINGS)


def _oldest(sayings: pa.Table, most: dict[str, int]) -> pa.Table:
    """The oldest different sayings of each kind about each item, by item, kind and time."""
    keys = ["item_id", "kind", "text"]
    first = sayings.group_by(keys, use_threads=False).aggregate([("timestamp", "min")])
    first = first.rename_columns([*keys, "timestamp"]).select(ITEM_SAYINGS.names).cast(ITEM_SAYINGS)
    first = first.sort_by([(name, "ascending") for name in ("item_id", "kind", "timestamp", "text")]).combine_chunks()
    if not len(first):
        return first
    groups = pc.binary_join_element_wise(first["item_id"], first["kind"], "\0").combine_chunks()
    codes = groups.dictionary_encode().indices.to_numpy()
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    place = np.arange(len(codes)) - np.repeat(starts, np.diff(np.append(starts, len(codes))))
    limit = np.array([most[kind] for kind in first["kind"].to_pylist()])
    return first.filter(pa.array(place < limit))
