"""Profiles of users read no event on which something is measured, and the ranker learns nothing that they have read."""

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from recsys.data.histories import build_histories, sort_interactions
from recsys.enrichment.backends.openai_endpoint import OpenAIBackend
from recsys.pipeline.enrichment import enrich_users as stage
from recsys.pipeline.enrichment import run_writers
from recsys.pipeline.enrichment.enrich_items import enrich_items
from recsys.pipeline.enrichment.enrich_users import enrich_users
from recsys.pipeline.enrichment.user_facts import ItemWords, facts_of
from recsys.pipeline.inputs import item_sayings
from recsys.pipeline.run import Run
from recsys.pipeline.stages import SHUFFLE_HISTORIES
from recsys.pipeline.stored.user_context import UserContext
from recsys.pipeline.stored.user_texts import read_profiles, read_until, read_user_texts
from recsys.schema import HISTORIES, INTERACTIONS, PROFILE, USER_PROFILES
from recsys.storage.tables import read_table, write_table
from recsys.training.examples import only_after
from tests.llm_endpoint import Endpoint, facts_in, running_endpoint, written
from tests.pipeline.conftest import DATE, IDS, _for_each_part

END = dt.datetime.combine(DATE, dt.time(), tzinfo=dt.UTC) + dt.timedelta(days=1)
DAY = dt.timedelta(days=1)
#: Days before the end at which a user took i00, i01, … The holdout has seven days.
TAKEN = {"long": [60, 50, 40, 30, 20, 15, 10, 3], "short": [9, 8], "late": [5, 4, 3, 2, 1, 0.5]}


def about_user(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    """Repeats what the user liked."""
    facts = facts_in(body)
    if "text" in facts:
        return written(f"Item {facts['text']}", "thing")
    return written("Takes " + " ".join(facts["liked"]), *facts.get("keywords of liked items", []))


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setattr(OpenAIBackend, "texts_per_part", 5)
    for module in (run_writers, item_sayings, stage):
        monkeypatch.setattr(module, "for_each_part", _for_each_part)
    with running_endpoint() as found:
        found.answer = about_user
        yield found


@pytest.fixture
def run(make_night: Callable[..., Run], endpoint: Endpoint) -> Run:
    """A night with these users, whose profiles leave out the two newest events and go by steps of two."""
    rows = [
        {"user_id": user, "item_id": IDS[place], "timestamp": END - days * DAY, "event": "view", "weight": 1.0}
        for user, ages in TAKEN.items()
        for place, days in enumerate(ages)
    ]
    events = sort_interactions(pa.Table.from_pylist(rows, INTERACTIONS))[0]
    users = {"skip_newest": 2, "step": 2, "min_events": 2}
    asks = {"model": "tiny", "base_url": endpoint.url, "max_retries": 0}
    enrich = {"backend": "openai", "settings": asks, "users": users}
    night = make_night(events, settings={"enrich": enrich})
    for shard in night.record(SHUFFLE_HISTORIES).shards:
        interactions = read_table(night.storage, f"{night.interactions_dir}/{shard}.parquet")
        path = f"{night.folder.histories_dir}/{shard}.parquet"
        write_table(night.storage, path, build_histories(interactions, 50), HISTORIES)
    enrich_items(night)
    return night


def all_shards(run: Run, folder: str) -> dict[str, dict[str, Any]]:
    tables = [read_table(run.storage, f"{folder}/{shard}.parquet") for shard in run.record(SHUFFLE_HISTORIES).shards]
    return {row["user_id"]: row for table in tables for row in table.to_pylist()}


def test_a_profile_reads_old_events_alone_and_stands_in_the_histories(run: Run, endpoint: Endpoint) -> None:
    asked = len(endpoint.asked)
    record = enrich_users(run)
    assert (record.rows, record.enriched, record.written) == (1, 1, 1)
    assert len(endpoint.asked) == asked + 1
    # of the seven events before the holdout, the last basket is kept for validation, and the two newest are left out
    assert facts_in(endpoint.asked[-1])["liked"] == IDS[:4]
    profiles = all_shards(run, run.user_profiles_dir)
    assert set(profiles) == {"long"}
    assert profiles["long"]["profile"] == "Takes i00 i01 i02 i03 thing"
    assert profiles["long"]["until"] == END - TAKEN["long"][3] * DAY
    histories = all_shards(run, run.folder.histories_dir)
    assert {user: row[PROFILE.name] for user, row in histories.items()} == {
        "long": "Takes i00 i01 i02 i03 thing",
        "short": "",
        "late": "",
    }
    assert read_user_texts(run)["text"].to_pylist() == ["Takes i00 i01 i02 i03 thing"]
    enrich_users(run)  # again, as after an interruption
    assert len(endpoint.asked) == asked + 1
    assert all_shards(run, run.folder.histories_dir) == histories


def test_the_ranker_does_not_learn_what_the_profile_has_read(run: Run) -> None:
    enrich_users(run)
    shards = run.record(SHUFFLE_HISTORIES).shards
    profiles = {name: read_table(run.storage, f"{run.user_profiles_dir}/{name}.parquet") for name in shards}
    (shard,) = (name for name, table in profiles.items() if len(table))
    until = read_until(run, shard)
    assert until is not None
    events = read_table(run.storage, f"{run.interactions_dir}/{shard}.parquet")
    weights = only_after(np.ones(len(events), np.float32), events, until)
    learned = [
        (user, item)
        for user, item, weight in zip(
            events["user_id"].to_pylist(), events["item_id"].to_pylist(), weights, strict=True
        )
        if weight
    ]
    assert [item for user, item in learned if user == "long"] == IDS[4:8]
    assert sum(user != "long" for user, _ in learned) == sum(user != "long" for user in events["user_id"].to_pylist())


def test_later_stages_see_the_profile(run: Run) -> None:
    enrich_users(run)
    for shard in run.record(SHUFFLE_HISTORIES).shards:
        profiles = read_profiles(run, shard)
        assert profiles is not None
        assert UserContext.read(run, shard).profiles == profiles
        assert read_table(run.storage, f"{run.user_profiles_dir}/{shard}.parquet").schema == USER_PROFILES


def test_the_newest_searches_are_facts_also_where_they_are_old_ones_again() -> None:
    events = pa.table({"item_id": ["i1"], "weight": pa.array([1.0], pa.float32())})
    searched = ["lamp", *(f"vase {number}" for number in range(10)), "lamp"]
    facts = facts_of(events, ItemWords(titles={"i1": "Oak"}, keywords={}), disliked=[], searched=searched)
    assert facts["searched"] == [*(f"vase {number}" for number in range(1, 10)), "lamp"]
