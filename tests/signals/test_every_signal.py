"""What holds for every registered signal, plugins included: the suite that a new signal has to pass."""

import datetime as dt
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from recsys.data.histories import build_histories, rank_ids, sort_interactions
from recsys.model.features import UserTexts, encode_histories, index_items
from recsys.schema import INTERACTIONS
from recsys.signals.donors import Donors, find_donors
from recsys.signals.ease import EaseConfig
from recsys.signals.excluded import ExcludedItems
from recsys.signals.lm import HISTORY, LmConfig
from recsys.signals.lm_evidence import LoadedLm
from recsys.signals.products import unit_rows
from recsys.signals.registry import SIGNALS
from recsys.signals.signal import NONE, Counting, DataView, Evidence, LoadedSignal, ShardEvents, Signal
from recsys.signals.transitions import TransitionsConfig
from recsys.signals.user_profiles import UserProfiles
from recsys.signals.users import UserBlock
from tests.ranking.tiny_ranker import tiny_ranker
from tests.signals.world import Shards
from tests.tiny_language_model import byte_tokenizer, untrained_model

IDS = pa.array([f"i{number:02}" for number in range(12)])
END = dt.datetime(2026, 1, 9, tzinfo=dt.UTC)
DAY = 86_400
SETTINGS = {
    "transitions": TransitionsConfig(),
    "ease": EaseConfig(l2=2.0),
    "lm": LmConfig(model="tiny", candidates=5, generate=2),
}
EVERY = pytest.mark.parametrize("name", SIGNALS.names)
RANKER = tiny_ranker(len(IDS))
RECOMMENDABLE = np.arange(12) % 5 != 3

TINY_LM = untrained_model(300).eval(), byte_tokenizer(["title 1"], 300)

#: (user, item, hours before `END`); some items are not in the catalog.
events = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 13), st.integers(0, 24 * 40)), max_size=40)
Events = list[tuple[int, int, int]]


#: Weights of the events by turns.
Weights = tuple[float, ...]


def interactions_of(rows: Events, weights: Weights = (1.0,)) -> pa.Table:
    table = pa.Table.from_pylist(
        [
            {"user_id": f"u{user}", "item_id": f"i{item:02}", "timestamp": END - dt.timedelta(hours=hours)}
            | {"event": "view", "weight": weights[place % len(weights)]}
            for place, (user, item, hours) in enumerate(rows)
        ],
        INTERACTIONS,
    )
    return sort_interactions(table)[0]


def counted(signal: Signal, shards: list[Events], weights: Weights = (1.0,)) -> pa.Table:
    """The merged table of a signal; an empty table for a signal that counts nothing."""
    if not signal.views:
        return pa.table({})
    counting = Counting(num_items=len(IDS), settings=SETTINGS.get(signal.name), first_day=0)
    tables = []
    for rows in shards:
        seen = interactions_of(rows, weights)
        age = END.timestamp() - np.asarray(seen["timestamp"].cast(pa.int64())) / 1e6
        items = index_items(seen["item_id"], IDS)
        users = rank_ids(seen["user_id"])[1]
        own = np.asarray(seen["weight"]).astype(np.float64)
        shard = ShardEvents(
            interactions=seen, users=users, items=items, age_days=age / DAY, weights=own, catalog_items=items
        )
        tables.append(signal.count(shard, counting))
        assert signal.counted is not None
        assert tables[-1].schema.equals(signal.counted)
    merged = pa.concat_tables(list(signal.merge(Shards(tables), counting)))
    assert signal.merged is not None
    assert merged.schema.equals(signal.merged)
    return merged


def language_model(settings: LmConfig) -> LoadedLm:
    """A tiny language model with random weights over the catalog; two items have one title."""
    from recsys.model.title_scorer import TitleScorer

    head, _, tail = settings.prompt.partition(HISTORY)
    model, tokenizer = TINY_LM
    scorer = TitleScorer(model, tokenizer, prompt=(head, tail), max_title_tokens=8, batch_size=4)
    titles = scorer.title_tokens([f"title {number % 11}" for number in range(len(IDS))])
    return LoadedLm(scorer, titles, scorer.log_probs(scorer.read([]), titles), RECOMMENDABLE, settings)


class Source:
    """A night in memory, see `recsys.signals.signal.NightSource`."""

    view: DataView = "full"
    item_ids = IDS
    days = np.array([int(END.timestamp()) // DAY])
    oldest_day = int(END.timestamp()) // DAY - 40
    recommendable = RECOMMENDABLE
    text_vectors = unit_rows(RANKER.text_vectors.numpy())

    def __init__(self, signal: Signal, shards: list[Events], weights: Weights = (1.0,)) -> None:
        self.settings = SETTINGS.get(signal.name)
        self._table = counted(signal, shards, weights)

    def attribute(self, name: str) -> pa.Array:
        return pa.array([None if number % 4 == 0 else f"{name} {number % 3}" for number in range(12)])

    def counted(self) -> pa.Table:
        return self._table

    def ranker(self) -> LoadedSignal:
        from recsys.signals.ranker_evidence import LoadedRanker

        return LoadedRanker(RANKER, self.recommendable, candidate_pass=True)

    def language_model(self) -> LoadedSignal:
        return language_model(self.settings)

    def text(self) -> LoadedSignal:
        from recsys.signals.text_ease import TextEase
        from recsys.signals.text_evidence import LoadedText

        return LoadedText(TextEase.of(self.text_vectors), self.recommendable)


def users_of(rows: Events, weights: Weights = (1.0,)) -> UserBlock:
    """Users u0 … u5 with these histories, and one who has none."""
    histories = build_histories(interactions_of(rows, weights), 20)
    known = histories["user_id"].to_pylist()
    nobody = build_histories(interactions_of([(9, 13, 5)]), 20).slice(0, 1)  # only an item that nobody sells
    histories = pa.concat_tables([histories, nobody])
    now = np.full(len(known) + 1, END.timestamp() * 1e6)
    batch = encode_histories(histories, IDS, pa.array(["view"]), 20)
    return UserBlock(
        profiles=UserProfiles.build(histories, IDS, now, repeats=True, has_tokens=batch.lengths > 0),
        history=batch,
        texts=UserTexts.none(),
        now=now,
        excluded=ExcludedItems.of([(np.zeros(2, dtype=np.int64), np.array([1, 4]))]),
    )


def loaded(name: str, shards: list[Events], weights: Weights = (1.0,)) -> LoadedSignal:
    return SIGNALS[name].load(Source(SIGNALS[name], shards, weights))


def candidates(users: UserBlock) -> npt.NDArray[np.int64]:
    return np.tile(np.append(NONE, np.arange(len(IDS))), (len(users), 1))


def numbers(evidence: Evidence, users: UserBlock) -> npt.NDArray[np.float32]:
    return evidence.measure(candidates(users))


@EVERY
def test_it_says_what_it_is(name: str) -> None:
    signal = SIGNALS[name]
    assert signal.name == name
    assert type(signal).__doc__
    assert signal.columns
    assert all(signal.columns.values())
    assert set(signal.default_weights) | set(signal.query_weight) <= set(signal.columns)
    assert all("{}" not in sentence.removesuffix("{}") for sentence in signal.sentences)
    assert (signal.counted is None) == (signal.merged is None) == (not signal.views)


def test_no_two_signals_have_a_number_of_one_name() -> None:
    columns = [column for signal in SIGNALS for column in signal.columns]
    assert len(set(columns)) == len(columns)


@EVERY
@hypothesis_settings(max_examples=30)
@given(learned=events, asked=events)
def test_numbers_are_finite_and_of_its_columns(name: str, learned: Events, asked: Events) -> None:
    """Also with unknown items, empty histories, and for what is no candidate."""
    users = users_of(asked)
    found = numbers(loaded(name, [learned]).read(users), users)
    assert found.shape == (len(users), len(IDS) + 1, len(SIGNALS[name].columns))
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


@EVERY
@hypothesis_settings(max_examples=20)
@given(learned=events, asked=events, scale=st.sampled_from([1e-30, 7.0, 1e30]))
def test_only_how_weights_compare_matters(name: str, learned: Events, asked: Events, scale: float) -> None:
    first, second = (
        numbers(loaded(name, [learned], weights).read(users), users)
        for weights, users in ((weights, users_of(asked, weights)) for weights in ((1.0, 4.0), (scale, 4 * scale)))
    )
    np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-4)


@EVERY
@hypothesis_settings(max_examples=20)
@given(learned=events, asked=events)
def test_weights_may_lie_far_apart(name: str, learned: Events, asked: Events) -> None:
    weights = (1e30, 1.0, 1e-30)
    users = users_of(asked, weights)
    assert np.isfinite(numbers(loaded(name, [learned], weights).read(users), users)).all()


@EVERY
@hypothesis_settings(max_examples=30)
@given(learned=events, asked=events, num=st.integers(1, 9))
def test_proposals_are_items_of_the_catalog(name: str, learned: Events, asked: Events, num: int) -> None:
    users = users_of(asked)
    proposed = loaded(name, [learned]).read(users).propose(num)
    if proposed is not None:
        assert len(proposed) == len(users)
        assert ((proposed >= NONE) & (proposed < len(IDS))).all()
        for row in proposed:
            if name != "ease":  # its two time scales may propose one item
                own = row[row >= 0]
                assert len(set(own.tolist())) == len(own)


@EVERY
@hypothesis_settings(max_examples=20)
@given(learned=events, asked=events)
def test_a_batch_equals_its_users_one_by_one(name: str, learned: Events, asked: Events) -> None:
    users, signal = users_of(asked), loaded(name, [learned])
    together = signal.read(users)
    for row in range(len(users)):
        user = users.rows(np.array([row]))
        alone = signal.read(user)
        np.testing.assert_allclose(numbers(alone, user)[0], numbers(together, users)[row], rtol=1e-4, atol=1e-5)
        proposed, own = together.propose(6), alone.propose(6)
        if proposed is not None and own is not None:
            assert {*proposed[row].tolist()} - {NONE} == {*own[0].tolist()} - {NONE}
        else:
            assert own is None


@EVERY
@hypothesis_settings(max_examples=20)
@given(shards=st.lists(events, min_size=1, max_size=3), asked=events, data=st.data())
def test_shards_may_be_merged_in_any_order(name: str, shards: list[Events], asked: Events, data: Any) -> None:
    """A user is in one shard only."""
    own = [[(user + 10 * place, item, hours) for user, item, hours in rows] for place, rows in enumerate(shards)]
    users, other = users_of(asked), data.draw(st.permutations(own))
    first, second = (numbers(loaded(name, parts).read(users), users) for parts in (own, other))
    np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-4)


@EVERY
@hypothesis_settings(max_examples=20)
@given(learned=events, asked=events)
def test_imputing_changes_cold_items_only(name: str, learned: Events, asked: Events) -> None:
    """Whatever is imputed is finite; without cold items nothing changes."""
    users, signal = users_of(asked), loaded(name, [learned])
    cold = ~np.isin(np.arange(len(IDS)), [item for _, item, _ in learned])
    donors = Donors(find_donors(Source.text_vectors, cold, ~cold), len(IDS))
    before, after = (numbers(each.read(users), users)[:, 1:] for each in (signal, signal.impute(donors)))
    assert np.isfinite(after).all()
    nothing = numbers(signal.impute(Donors.none(len(IDS))).read(users), users)[:, 1:]
    np.testing.assert_allclose(nothing, before, rtol=1e-5, atol=1e-5)
    taken = {item for _, item, _ in asked}
    if not any(donors.is_cold[item] for item in taken if item < len(IDS)):  # else the ranker reads imputed items
        known = ~donors.is_cold
        np.testing.assert_allclose(after[:, known], before[:, known], rtol=1e-4, atol=1e-4)


@EVERY
@hypothesis_settings(max_examples=20)
@given(learned=events, asked=events)
def test_explanations_name_items_of_the_history(name: str, learned: Events, asked: Events) -> None:
    users, signal = users_of(asked), SIGNALS[name]
    evidence = loaded(name, [learned]).read(users)
    rows, items = np.divmod(np.arange(len(users) * len(IDS)), len(IDS))
    weights = np.ones((len(rows), len(signal.columns)), dtype=np.float32)
    found = evidence.explain(rows, items, weights)
    assert len(found.sentence) == len(found.item) == len(rows)
    assert ((found.sentence >= NONE) & (found.sentence < len(signal.sentences))).all()
    starts, history = users.profiles.history.starts, users.profiles.history.items
    for row, sentence, item in zip(rows, found.sentence, found.item, strict=True):
        if sentence != NONE:
            assert (item != NONE) == signal.sentences[sentence].endswith("{}")
        if item != NONE:
            assert item in history[starts[row] : starts[row + 1]]


@EVERY
def test_a_view_counts_nothing_from_after_it(name: str) -> None:
    """Popularity is counted on all days, and a day knows only the days before it."""
    learned = [(user, item, 24 * (1 + user + item)) for user in range(5) for item in range(6)]
    tomorrow = [(user, 7, -24 * 3) for user in range(5)]
    if SIGNALS[name].views == ("full",):
        users = users_of(learned)
        first, second = (numbers(loaded(name, [rows]).read(users), users) for rows in (learned, learned + tomorrow))
        np.testing.assert_array_equal(first, second)
    else:
        assert set(SIGNALS[name].views) in (set(), {"validation", "test", "full"}), "counted for each view by itself"
