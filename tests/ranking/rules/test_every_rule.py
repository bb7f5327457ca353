"""What holds for every registered rule, the built-in ones and one of a plugin. A new rule gets a line in `SETTINGS`.

Shapes: B users, C candidates, I items, K list length.
"""

import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.ranking.config import RerankConfig
from recsys.ranking.order import Bools, Floats, Ints, best_first
from recsys.ranking.rerank import PreparedRule
from recsys.ranking.rules.registry import RULES, item_rules, list_rules, settings_of, user_rules
from recsys.ranking.rules.rule import NightFacts, RankedBatch
from recsys.ranking.rules.user_rule import UserActions
from recsys.schema import CATALOG

pytestmark = pytest.mark.usefixtures("plugin_of_module")

NUM_ITEMS = 40
RANDOM = np.random.default_rng(0)
CATEGORIES = [None, "pen", "cup", "lamp", "vase"]
CATALOG_OF_ITEMS = pa.Table.from_pylist(
    [
        {
            "item_id": f"i{number:02}",
            "text": "",
            "available": number % 7 != 0,
            "attributes": {"title": f"item {number}", "valid_until": f"2026-11-{10 + number % 20}"}
            | ({} if kind is None else {"category": kind}),
            "text_hash": "",
        }
        for number, kind in enumerate(CATEGORIES[number % 20 // 4] for number in range(NUM_ITEMS))
    ],
    schema=CATALOG,
)
FACTS = NightFacts(
    popularity=np.array([*range(100, 64, -1), 0, 0, 0, 0]),
    is_cold=np.arange(NUM_ITEMS) >= NUM_ITEMS - 4,
    recommendable=np.ones(NUM_ITEMS, dtype=bool),
    seed=0,
    date=dt.date(2026, 11, 22),
    vectors=(np.arange(NUM_ITEMS)[:, None] // 5 == np.arange(8)).astype(np.float32) + RANDOM.normal(size=8) / 10,
    catalog=CATALOG_OF_ITEMS,
)
#: Settings of `rerank` under which each rule does something.
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "unavailable": [{}],
    "blocked": [{"block": ["i01", "i02", "unknown"]}],
    "not_allowed": [{"allow_file": "allowed.txt"}],
    "not_where": [{"where": "category is not null"}],
    "expired": [{"expiry": "valid_until"}],
    "quiet": [{"quiet": {"days": 3}}, {"quiet": {"days": 3, "events": ["Purchase"], "attribute": "category"}}],
    "served": [{"exclude_served": {"times": 2}}, {"exclude_served": {"times": 2, "days": 4, "factor": 0.5}}],
    "long_tail_boost": [{"long_tail_boost": 1.0}, {"long_tail_boost": 5.0}],
    "boosts": [
        {"boosts": [{"items": ["i12", "i20"], "factor": 4.0}]},
        {"boosts": [{"where": "category = 'cup'", "factor": 9.0}, {"items": ["i00", "unknown"], "factor": 0.1}]},
    ],
    "cold_item_slots": [{"cold_item_slots": 0.05}, {"cold_item_slots": 0.5}],
    "diversity": [{"diversity": 0.3}, {"diversity": 1.0, "diversity_pool": 1}],
    "exploration": [{"exploration": 0.2}, {"exploration": 0.5}],
    "pins": [{"pins": [{"item": "i30"}, {"item": "i25", "place": 3}, {"item": "unknown"}, {"item": "i31"}]}],
    "caps": [{"caps": {"category": 1}}, {"caps": {"category": 2, "valid_until": 1}}],
    "max_per_category": [{"rules": {"max_per_category": {"most": most}}} for most in (1, 2)],
}
LIST_CASES = [
    (name, section)
    for name in (
        *("long_tail_boost", "boosts", "diversity", "cold_item_slots", "pins", "caps", "exploration"),
        "max_per_category",
    )
    for section in SETTINGS[name]
]
ITEM_CASES = ["unavailable", "blocked", "not_allowed", "not_where", "expired"]
USER_CASES = [(name, section) for name in ("quiet", "served") for section in SETTINGS[name]]


def test_every_rule_is_tested_here_and_described() -> None:
    assert set(SETTINGS) == set(RULES.names), "give a new rule a line in SETTINGS"
    assert [rule.name for rule in item_rules()] == ITEM_CASES
    assert [rule.name for rule in user_rules()] == list(dict.fromkeys(name for name, _ in USER_CASES))
    assert [rule.name for rule in list_rules()] == list(dict.fromkeys(name for name, _ in LIST_CASES))
    for rule in RULES:
        assert rule.summary.endswith("."), f"{rule.name}: the summary is a sentence"
        assert type(rule).__doc__, f"{rule.name} has a docstring"


@pytest.fixture
def allowed(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("lists")
    (folder / "allowed.txt").write_text("".join(f"i{number:02}\n" for number in range(5, 30)))
    monkeypatch.chdir(folder)


def config_of(name: str, number: int = 0) -> RerankConfig:
    return RerankConfig.model_validate({"cold_item_slots": 0.0} | SETTINGS[name][number])


# Item rules


def passing(name: str, catalog: pa.Table, config: RerankConfig) -> Bools:
    check = RULES[name].check_on(settings_of(RULES[name], config), catalog, config.shown_on(FACTS.date))
    assert check.passes.dtype == np.bool_
    assert check.passes.shape == (len(catalog),)
    assert all(num >= 0 for num in check.counts.values())
    return check.passes


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize("name", ITEM_CASES)
def test_an_item_rule_decides_item_by_item(name: str) -> None:
    config = config_of(name)
    passes = passing(name, CATALOG_OF_ITEMS, config)
    assert 0 < passes.sum() < NUM_ITEMS, "the case does not show what the rule does"
    order = np.random.default_rng(1).permutation(NUM_ITEMS)
    np.testing.assert_array_equal(passing(name, CATALOG_OF_ITEMS.take(pa.array(order)), config), passes[order])
    chunks = pa.concat_tables([CATALOG_OF_ITEMS.slice(0, 11), CATALOG_OF_ITEMS.slice(11)])
    np.testing.assert_array_equal(passing(name, chunks, config), passes)
    np.testing.assert_array_equal(passing(name, CATALOG_OF_ITEMS.slice(11), config), passes[11:])


@pytest.mark.parametrize("name", [name for name in ITEM_CASES if name != "unavailable"])
def test_an_item_rule_that_is_off_removes_nothing(name: str) -> None:
    assert passing(name, CATALOG_OF_ITEMS, RerankConfig()).all()
    assert len(passing(name, CATALOG.empty_table(), RerankConfig())) == 0


# User rules


def actions_of(num_users: int) -> UserActions:
    """Ten events of each user in the last ten days; some items are unknown."""
    random = np.random.default_rng(3)
    users = np.repeat(np.arange(num_users), 10)
    return UserActions(
        num_users=num_users,
        users=users,
        items=random.integers(-1, NUM_ITEMS, len(users)),
        kinds=pa.array(random.choice(["view", "purchase"], len(users))),
        age_days=np.tile(np.arange(9.5, -0.5, -1), num_users),
        served_users=np.repeat(users, 2),
        served_items=np.repeat(random.integers(-1, NUM_ITEMS, len(users)), 2),
        served_age_days=np.repeat(np.tile(np.arange(9.5, -0.5, -1), num_users), 2),
    )


@pytest.mark.parametrize(("name", "section"), USER_CASES)
def test_a_user_rule_removes_items_of_each_user_alone(name: str, section: dict[str, Any]) -> None:
    remove = RULES[name].prepare(RerankConfig.model_validate(section), FACTS)
    assert remove is not None, "the case switches the rule off"
    actions = actions_of(6)
    removed = remove(actions)
    pairs = list(zip(removed.users.tolist(), removed.items.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs) > 0
    assert (np.diff(removed.users) >= 0).all()
    assert set(removed.users.tolist()) <= set(range(6))
    assert ((removed.items >= 0) & (removed.items < NUM_ITEMS)).all()
    for user in range(6):
        own = actions.users == user
        shown = actions.served_users == user
        alone = UserActions(
            num_users=1,
            served_users=np.zeros(shown.sum(), dtype=np.int64),
            served_items=actions.served_items[shown],
            served_age_days=actions.served_age_days[shown],
            users=np.zeros(own.sum(), dtype=np.int64),
            items=actions.items[own],
            kinds=actions.kinds.filter(pa.array(own)),
            age_days=actions.age_days[own],
        )
        assert {(user, item) for item in remove(alone).items.tolist()} == {pair for pair in pairs if pair[0] == user}


@pytest.mark.parametrize("name", list(dict(USER_CASES)))
def test_a_user_rule_that_is_off_is_not_prepared(name: str) -> None:
    assert RULES[name].prepare(RerankConfig(), FACTS) is None


# List rules


@st.composite
def batches(draw: st.DrawFn) -> RankedBatch:
    """Ranked candidates with ties, users without any candidate, and lists shorter than K."""
    random = np.random.default_rng(draw(st.integers(0, 99_999)))
    num_users, top_k, more = draw(st.integers(0, 5)), draw(st.integers(1, 12)), draw(st.integers(0, 20))
    shape = num_users, top_k + more
    items = random.permuted(np.tile(np.arange(NUM_ITEMS), (num_users, 1)), axis=1)[:, : shape[1]].reshape(shape)
    scores = (random.normal(scale=3, size=shape) - 8).round(draw(st.sampled_from([0, 6]))).astype(np.float32)
    none = random.random(shape) < draw(st.sampled_from([0.0, 0.2, 0.9]))
    items[none], scores[none] = -1, -np.inf
    items, scores = best_first(items, scores)
    users = pa.array([f"u{user}" for user in range(num_users)], pa.string())
    explored = np.zeros(shape, dtype=bool)
    return RankedBatch(user_ids=users, items=items, scores=scores, explored=explored, top_k=top_k, num_open=top_k)


def rows_of(batch: RankedBatch, users: list[int]) -> RankedBatch:
    return RankedBatch(
        user_ids=batch.user_ids.take(pa.array(users, pa.int64())),
        items=batch.items[users],
        scores=batch.scores[users],
        explored=batch.explored[users],
        top_k=batch.top_k,
        num_open=batch.num_open,
    )


def apply(name: str, section: dict[str, Any], batch: RankedBatch) -> tuple[RankedBatch, int]:
    config = RerankConfig.model_validate({"cold_item_slots": 0.0} | section)
    prepared = PreparedRule.of(RULES[name], config, FACTS)
    assert prepared.reorder is not None, "the case switches the rule off"
    return prepared.reorder(batch)


def parts(batch: RankedBatch) -> tuple[Ints, Floats, Bools]:
    return batch.items, batch.scores, batch.explored


@pytest.mark.parametrize(("name", "section"), LIST_CASES)
@settings(max_examples=30)
@given(batch=batches())
def test_a_list_rule_only_reorders(name: str, section: dict[str, Any], batch: RankedBatch) -> None:
    before = [part.copy() for part in parts(batch)]
    after, moved = apply(name, section, batch)
    for part, copy in zip(parts(batch), before, strict=True):
        np.testing.assert_array_equal(part, copy, "the given batch is changed")
    assert after.items.shape == after.scores.shape == after.explored.shape == batch.items.shape
    assert (after.items.dtype, after.scores.dtype, after.explored.dtype) == (np.int64, np.float32, np.bool_)
    np.testing.assert_array_equal(np.sort(after.items, axis=1), np.sort(batch.items, axis=1))
    np.testing.assert_array_equal(after.items >= 0, after.scores > -np.inf)
    assert not (after.items[:, 1:] >= 0)[after.items[:, :-1] < 0].any(), "candidates stand before what is none"
    assert not after.explored[after.items < 0].any()
    assert 0 <= moved <= (after.items[:, : batch.top_k] >= 0).sum()
    assert (after.user_ids, after.top_k) == (batch.user_ids, batch.top_k)


@pytest.mark.parametrize(("name", "section"), LIST_CASES)
@settings(max_examples=20)
@given(batch=batches(), seed=st.integers(0, 999))
def test_a_user_gets_the_same_in_any_batch(name: str, section: dict[str, Any], batch: RankedBatch, seed: int) -> None:
    after, moved = apply(name, section, batch)
    order = np.random.default_rng(seed).permutation(len(batch.items)).tolist()
    shuffled, again = apply(name, section, rows_of(batch, order))
    for part, expected in zip(parts(shuffled), parts(after), strict=True):
        np.testing.assert_array_equal(part, expected[order])
    assert again == moved
    alone = [apply(name, section, rows_of(batch, [user])) for user in order]
    assert sum(num for _, num in alone) == moved
    for user, (one, _) in zip(order, alone, strict=True):
        for part, expected in zip(parts(one), parts(after), strict=True):
            np.testing.assert_array_equal(part[0], expected[user])


@pytest.mark.parametrize(("name", "section"), LIST_CASES)
def test_a_list_rule_moves_something(name: str, section: dict[str, Any]) -> None:
    items = np.tile(np.arange(NUM_ITEMS), (200, 1))
    scores = -0.1 * items.astype(np.float32)
    users = pa.array([f"u{user}" for user in range(200)])
    batch = RankedBatch(user_ids=users, items=items, scores=scores, explored=items < 0, top_k=10, num_open=10)
    after, moved = apply(name, section, batch)
    assert moved > 0 or "diversity_pool" in section, "of the best K only, diversity changes the order alone"
    assert (after.items[:, :10] != items[:, :10]).any()


@pytest.mark.parametrize("name", [name for name in SETTINGS if name in dict(LIST_CASES) and name != "max_per_category"])
def test_a_list_rule_that_is_off_is_not_prepared(name: str) -> None:
    prepared = PreparedRule.of(RULES[name], RerankConfig(cold_item_slots=0.0), FACTS)
    assert prepared.reorder is None
    assert prepared.num_reserved(10) == 0


@given(batches())
def test_what_is_reserved_at_the_end_is_left_alone(batch: RankedBatch) -> None:
    """Diversity chooses as if the list ended before the reserved places."""
    narrow = RankedBatch(
        user_ids=batch.user_ids,
        items=batch.items,
        scores=batch.scores,
        explored=batch.explored,
        top_k=batch.top_k,
        num_open=batch.top_k // 2,
    )
    whole, part = (apply("diversity", {"diversity": 0.5}, each)[0].items for each in (batch, narrow))
    np.testing.assert_array_equal(whole[:, : batch.top_k // 2], part[:, : batch.top_k // 2])
    rest = part[:, batch.top_k // 2 :]
    for user, row in enumerate(rest):
        assert row[row >= 0].tolist() == [item for item in batch.items[user] if item >= 0 and item in row]
