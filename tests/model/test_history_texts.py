"""Texts in histories: where they lie, what they add, and that they change nobody else."""

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor

from recsys.model.config import RankerConfig
from recsys.model.decoder import decoder_config
from recsys.model.features import HistoryBatch, TextKind, encode_histories
from recsys.model.history_states import HistoryTexts
from recsys.model.ranker_spec import RankerSpec
from recsys.schema import HISTORIES, PROFILE, TEXTS
from recsys.training.config import TrainConfig
from recsys.training.objective import Objective, TrainableRanker

ITEMS = pa.array(["a", "b", "c", "d"])
TEXT_ROWS = pa.array(["cook", "pan", "pot"])
KINDS = pa.array(["view"])
EPOCH = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
SIZES = RankerConfig(hidden_size=8, layers=2, heads=2, dropout=0.3)
#: (item, text) of each event, and what the user is.
User = tuple[list[tuple[str, str]], str]

users = st.lists(
    st.tuples(
        st.lists(
            st.tuples(st.sampled_from(["a", "b", "gone", ""]), st.sampled_from(["pan", "pot", "?", ""])), max_size=6
        ),
        st.sampled_from(["cook", "?", ""]),
    ),
    min_size=1,
    max_size=4,
)


def as_table(rows: list[User]) -> pa.Table:
    found: list[dict[str, Any]] = [
        {
            "user_id": f"u{number}",
            "item_ids": [item for item, _ in events],
            "timestamps": [EPOCH + dt.timedelta(seconds=place) for place in range(len(events))],
            "events": ["view"] * len(events),
            "weights": [1.0] * len(events),
            "seen_item_ids": [],
            "texts": [text for _, text in events],
            "profile": profile,
        }
        for number, (events, profile) in enumerate(rows)
    ]
    return pa.Table.from_pylist(found, HISTORIES.append(TEXTS).append(PROFILE))


def make_ranker(user_texts: bool = True) -> TrainableRanker:
    spec = RankerSpec(
        num_items=len(ITEMS),
        text_dim=5,
        item_dim=8,
        num_event_kinds=1,
        decoder=decoder_config(SIZES, 8),
        dropout=SIZES.dropout,
        id_dropout=SIZES.id_dropout,
        user_texts=user_texts,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        objective = Objective.of(TrainConfig(), exclude_seen=True)
        return TrainableRanker(spec, torch.randn(4, 5), torch.ones(4, dtype=torch.int64), objective).eval()


RANKER = make_ranker()
VECTORS = torch.randn(3, 5, generator=torch.Generator().manual_seed(3))


def scores(batch: HistoryBatch) -> Tensor:
    """Retrieval and candidate pass logits of all items."""
    grids = [torch.from_numpy(grid) for grid in (batch.items, batch.gaps, batch.events)]
    texts = HistoryTexts(rows=torch.from_numpy(batch.texts), kinds=torch.from_numpy(batch.text_kinds), vectors=VECTORS)
    candidates = torch.arange(4).expand(len(batch.items), -1)
    with torch.no_grad():
        vectors, items = RANKER(*grids, texts=texts)
        return torch.cat([vectors @ items.T, RANKER(*grids, candidates, texts)], dim=1)


@given(users, st.integers(1, 4))
def test_tokens_are_those_of_the_plain_way(rows: list[User], length: int) -> None:
    batch = encode_histories(as_table(rows), ITEMS, KINDS, length, TEXT_ROWS)
    texts = TEXT_ROWS.to_pylist()
    for number, (events, profile) in enumerate(rows):
        expected = []
        for item, text in events:
            known, said = item in ITEMS.to_pylist(), text in texts
            if known or (not item and said):
                kind = (TextKind.REVIEW if known else TextKind.SEARCH) if said else TextKind.NONE
                expected.append((ITEMS.to_pylist().index(item) if known else 4, texts.index(text) if said else 0, kind))
        expected = expected[-length:]
        if profile in texts:
            expected.insert(0, (4, texts.index(profile), TextKind.PROFILE))
        size = int(batch.lengths[number])
        grids = (batch.items, batch.texts, batch.text_kinds)
        assert list(zip(*(grid[number, :size].tolist() for grid in grids), strict=True)) == expected
        assert (batch.items[number, size:] == 4).all()
        assert not batch.text_kinds[number, size:].any()


@given(users, st.integers(1, 4))
def test_where_no_text_is_read_there_is_no_trace_of_any(rows: list[User], length: int) -> None:
    bare = [([(item, "") for item, _ in events], "") for events, _ in rows]
    without = encode_histories(as_table(rows), ITEMS, KINDS, length)
    plain = encode_histories(as_table(bare).select(HISTORIES.names), ITEMS, KINDS, length, TEXT_ROWS)
    for name in HistoryBatch.__slots__:
        assert getattr(without, name).tolist() == getattr(plain, name).tolist()


@hypothesis_settings(max_examples=30)
@given(users, users)
def test_nobody_elses_texts_change_a_score(rows: list[User], others: list[User]) -> None:
    """Nor does padding: a user alone, beside others, and with texts in the batch or not."""
    together = scores(encode_histories(as_table([*rows, *others]), ITEMS, KINDS, 6, TEXT_ROWS))
    for number, row in enumerate(rows):
        alone = encode_histories(as_table([row]), ITEMS, KINDS, 6, TEXT_ROWS)
        torch.testing.assert_close(together[[number]], scores(alone), atol=1e-5, rtol=0)


def test_a_ranker_with_texts_starts_from_the_weights_of_one_without() -> None:
    plain, own = make_ranker(user_texts=False).state_dict(), RANKER.state_dict()
    assert set(own) - set(plain) == {"text_kind_embedding.weight"}
    for name, weight in plain.items():
        assert torch.equal(own[name], weight)


@pytest.mark.parametrize("events", [[("", "pot")], [("a", ""), ("b", "pot")], [("a", ""), ("", "pot"), ("b", "")]])
def test_what_is_said_counts(events: list[tuple[str, str]]) -> None:
    changed = [(item, "pan" if text else "") for item, text in events]
    batches = [encode_histories(as_table([(rows, "")]), ITEMS, KINDS, 6, TEXT_ROWS) for rows in (events, changed)]
    first, second = (scores(batch) for batch in batches)
    assert (first - second).abs().max() > 1e-3


def test_the_kind_of_a_text_counts() -> None:
    tables = [as_table([([("", "pan")], "")]), as_table([([], "pan")])]
    batches = [encode_histories(table, ITEMS, KINDS, 6, TEXT_ROWS) for table in tables]
    assert [batch.lengths.tolist() for batch in batches] == [[1], [1]]
    with torch.no_grad():
        RANKER.text_kind_embedding.weight[TextKind.PROFILE] += 1
        first, second = (scores(batch) for batch in batches)
        RANKER.text_kind_embedding.weight[TextKind.PROFILE] -= 1
    assert (first - second).abs().max() > 1e-3


def test_a_ranker_that_knows_no_texts_takes_none() -> None:
    batch = encode_histories(as_table([([("", "pot")], "")]), ITEMS, KINDS, 6, TEXT_ROWS)
    texts = HistoryTexts(rows=torch.from_numpy(batch.texts), kinds=torch.from_numpy(batch.text_kinds), vectors=VECTORS)
    grids = [torch.from_numpy(grid) for grid in (batch.items, batch.gaps, batch.events)]
    with pytest.raises(AssertionError, match="trained without texts"):
        make_ranker(user_texts=False)(*grids, texts=texts)


def test_every_weight_has_a_gradient_in_a_batch_without_any_text() -> None:
    ranker = make_ranker()
    batch = encode_histories(as_table([([("a", ""), ("b", "")], "")]), ITEMS, KINDS, 2, TEXT_ROWS)
    grids = [torch.from_numpy(grid) for grid in (batch.items, batch.gaps, batch.events)]
    texts = HistoryTexts(rows=torch.from_numpy(batch.texts), kinds=torch.from_numpy(batch.text_kinds), vectors=VECTORS)
    ranker(*grids, texts=texts, targets=torch.tensor([[1, 2]])).backward()
    assert ranker.text_kind_embedding.weight.grad is not None
    assert not ranker.text_kind_embedding.weight.grad.any()
