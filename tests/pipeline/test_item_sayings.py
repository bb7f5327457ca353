"""What users say about items: the oldest sayings, and none on which something is measured."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from recsys.data.histories import shard_of, sort_interactions
from recsys.enrichment.config import ItemTextsConfig
from recsys.pipeline.enrichment.enrich_items import item_facts
from recsys.pipeline.inputs import item_sayings
from recsys.pipeline.inputs.item_sayings import MOST_CHARS, Sayings, followed_by_items, gather_sayings
from recsys.pipeline.run import Run
from recsys.schema import CATALOG, INTERACTIONS_WITH_TEXT
from recsys.storage.tables import write_table
from tests.pipeline.conftest import DATE, NUM_SHARDS, _for_each_part

END = dt.datetime.combine(DATE, dt.time(), tzinfo=dt.UTC) + dt.timedelta(days=1)


def event(user: str, item: str, days: float, text: str = "", minutes: float = 0) -> dict[str, Any]:
    moment = END - dt.timedelta(days=days) + dt.timedelta(minutes=minutes)
    return {"user_id": user, "item_id": item, "timestamp": moment, "event": "view", "weight": 1.0, "text": text}


def table_of(*events: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(events), INTERACTIONS_WITH_TEXT)


@pytest.fixture
def gather(make_night: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Sayings]:
    """Sayings of a night with these events and searches."""
    monkeypatch.setattr(item_sayings, "for_each_part", _for_each_part)

    def run(events: pa.Table, searches: pa.Table, reads_texts: bool = True, **spec: Any) -> Sayings:
        columns = {"text": "text"} if reads_texts else {}
        inputs = {"events": {"path": "x", "columns": columns}, "items": {"path": "y", "text": "{title}"}}
        night = make_night(sort_interactions(events)[0], settings={"inputs": inputs})
        for number in range(NUM_SHARDS):
            own = searches.filter(pa.array(shard_of(searches["user_id"], NUM_SHARDS) == number))
            path = f"{night.searches_dir}/shard-{number:05d}.parquet"
            write_table(night.storage, path, sort_interactions(own)[0], INTERACTIONS_WITH_TEXT)
        return gather_sayings(night, ItemTextsConfig(**spec))

    return run


def test_the_oldest_reviews_are_taken_and_none_of_the_holdout_or_a_last_basket(gather: Callable[..., Sayings]) -> None:
    events = table_of(
        *(event(f"u{number}", "i00", 40 - number, f"review {number}") for number in range(6)),
        *(event(f"u{number}", "i01", 20, "last basket") for number in range(6)),
        event("u0", "i02", 3, "in the holdout"),
        event("u1", "i00", 38.5, "x" * 1000),
    )
    found = gather(events, table_of(), num_reviews=2)
    assert dict(found["review"]) == {"i00": ["review 0", "review 1"]}
    assert gather(events, table_of(), num_reviews=3)["review"]["i00"][2] == "x" * MOST_CHARS
    assert not gather(events, table_of(), num_reviews=0)["review"]
    assert not gather(events, table_of(), reads_texts=False)["review"]


def test_a_search_belongs_to_the_item_that_it_led_to(gather: Callable[..., Sayings]) -> None:
    events = table_of(event("u0", "i00", 30), event("u1", "i00", 30), event("u2", "i03", 30), event("u0", "i05", 20))
    events = pa.concat_tables([events, table_of(event("u1", "i06", 20), event("u2", "i06", 20))])
    searches = table_of(
        event("u0", "", 30, "oak lamp", minutes=-5),
        event("u1", "", 30, "oak  lamps", minutes=-3),
        event("u1", "", 30, "given up", minutes=-4),  # another search followed
        event("u2", "", 30, "too early", minutes=-31),
        event("u0", "", 3, "holdout"),
    )
    assert {item: sorted(texts) for item, texts in gather(events, searches)["search"].items()} == {
        "i00": ["oak  lamps", "oak lamp"]
    }
    assert len(followed_by_items(table_of(), table_of())) == 0


def test_facts_are_text_attributes_and_sayings() -> None:
    attributes = [("brand", "Acme"), ("title", "Oak lamp"), ("colour", "y" * 500)]
    row = {"item_id": "i1", "text": "Oak lamp. Acme", "available": True, "attributes": attributes, "text_hash": "h"}
    catalog = pa.Table.from_pylist([row], CATALOG)
    sayings: Sayings = {"review": {"i1": ["good"]}, "search": {}}
    (facts,) = item_facts(catalog, ItemTextsConfig(), sayings)
    assert facts == {"text": "Oak lamp. Acme", "attribute colour": "y" * 200, "reviews": ["good"], "searches": []}
    (chosen,) = item_facts(catalog, ItemTextsConfig(attributes=["brand"]), sayings)
    assert set(chosen) == {"text", "reviews", "searches"}  # what the text says already is no further fact
