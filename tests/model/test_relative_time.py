"""Attention by the time between events: what it adds, and that every way of reading a history adds the same.

Shapes: B users, L history length, S buckets of time, Q heads.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recsys.model.features import gap_buckets
from recsys.model.history_states import states_at
from recsys.model.last_states import last_states
from recsys.model.ranker import Ranker
from recsys.model.relative_time import NUM_TIME_BUCKETS, attention_mask, candidate_bias
from tests.model.test_candidate_pass import TOLERANCE, draw, make_ranker, score, some_candidates

NUM_HEADS = 2
TABLE = torch.randn(NUM_TIME_BUCKETS, NUM_HEADS, generator=torch.Generator().manual_seed(0))


def timed(decoder: str) -> Ranker:
    """A ranker whose attention depends on time, and nothing else does."""
    ranker = make_ranker(decoder, relative_time=True)
    torch.nn.init.zeros_(ranker.gap_embedding.weight)
    return ranker


RANKERS = {name: timed(name) for name in ("small", "llama")}


@given(st.lists(st.integers(0, 2**31), min_size=1, max_size=6))
def test_neighbours_have_their_bucket_and_others_nearly(seconds: list[int]) -> None:
    """`seconds` lie between an event and the one before; the first is not known and counts as none."""
    gaps = gap_buckets(np.array(seconds, dtype=np.float64), np.arange(len(seconds)) == 0)
    numbered = torch.arange(NUM_TIME_BUCKETS, dtype=torch.float32)[:, None]
    found = attention_mask(numbered, torch.from_numpy(gaps)[None])[0, 0]
    for row in range(len(seconds)):
        assert (found[row, row + 1 :] == -torch.inf).all()
        assert found[row, row] == 0
        for column in range(row):
            exact = np.floor(np.log2(1 + sum(seconds[column + 1 : row + 1])))
            apart = abs(found[row, column].item() - min(exact, NUM_TIME_BUCKETS - 1))
            assert apart <= (0 if column == row - 1 else 1)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.integers(0, 99))
def test_a_candidate_stands_at_the_time_of_the_last_event(lengths: list[int], seed: int) -> None:
    gaps = torch.randint(0, 32, (len(lengths), 5), generator=torch.Generator().manual_seed(seed))
    found = candidate_bias(TABLE, gaps, torch.tensor(lengths))
    for row, length in enumerate(lengths):
        followed = torch.cat([gaps[row, :length], torch.ones(1, dtype=torch.int64)])[None]  # in the same second
        expected = attention_mask(TABLE, followed)[0, :, -1]
        torch.testing.assert_close(found[row, :, [*range(length), 5]], expected)


@given(st.sampled_from(sorted(RANKERS)), st.lists(st.integers(0, 6), min_size=1, max_size=4), st.integers(0, 99))
def test_lists_read_a_history_as_training_does(decoder: str, lengths: list[int], seed: int) -> None:
    """The night and the live service take the fast way, or `read` before a candidate pass."""
    ranker, (items, gaps, events) = RANKERS[decoder], draw(lengths, 6, seed)
    num = torch.tensor(lengths)
    with torch.inference_mode():
        tokens = ranker.history_tokens(ranker.item_vectors(), items, gaps, events)
        expected = states_at(ranker.hidden_states(tokens, gaps), num - 1)
        fast = ranker.last_states(tokens, gaps, num, last_states(ranker.decoder))
        torch.testing.assert_close(fast, expected, **TOLERANCE)
        torch.testing.assert_close(ranker.read(tokens, gaps, num).users, expected, **TOLERANCE)


@pytest.mark.parametrize("decoder", sorted(RANKERS))
def test_a_candidates_score_is_that_of_the_event_it_would_be(decoder: str) -> None:
    ranker, lengths = RANKERS[decoder], [5, 2, 1]
    items, gaps, events = draw(lengths, 5, 0)
    candidates = some_candidates(3, 4, 0)
    found = score(ranker, (items, gaps, events), candidates)
    with torch.no_grad():
        vectors = ranker.item_vectors()
        for row, length in enumerate(lengths):
            history = tuple(grid[row : row + 1, :length] for grid in (items, gaps, events))
            tokens = ranker.history_tokens(vectors, *history)
            user = ranker.hidden_states(tokens, history[1])[0, -1]
            for place, candidate in enumerate(candidates[row]):
                own = vectors[candidate] * ranker.spec.item_dim**0.5 + ranker.candidate_embedding
                whole = torch.cat([tokens, own[None, None]], dim=1)
                mask = attention_mask(ranker.time_bias, torch.cat([history[1], torch.ones_like(history[1][:, :1])], 1))
                entered = ranker.to_decoder(whole)
                state = ranker.decoder(inputs_embeds=entered, attention_mask=mask).last_hidden_state[0, -1]
                expected = user @ vectors[candidate] + ranker.candidate_head(state)[0]
                torch.testing.assert_close(found[row, place], expected, **TOLERANCE)


def user_vectors(ranker: Ranker, histories: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    with torch.no_grad():
        return ranker.user_vectors(ranker.item_vectors(), *histories)


@pytest.mark.parametrize("decoder", sorted(RANKERS))
def test_times_count(decoder: str) -> None:
    items, gaps, events = draw([6, 4], 6, 0)
    later = user_vectors(RANKERS[decoder], (items, (gaps + 9) % 32, events))
    assert (later - user_vectors(RANKERS[decoder], (items, gaps, events))).abs().max() > 0.01


def test_it_starts_from_a_model_without_it() -> None:
    """So the first night after it was set continues the published model."""
    plain, histories = make_ranker("small"), draw([6, 3], 6, 0)
    begun = Ranker(replace(plain.spec, relative_time=True), plain.text_vectors, plain.known).eval()
    assert begun.load_fitting(plain.whole_weights()) == ["time_bias"]
    torch.testing.assert_close(user_vectors(begun, histories), user_vectors(plain, histories), **TOLERANCE)


def test_an_earlier_moment_is_read_from_the_same_history() -> None:
    """The listwise loss draws a position of each window."""
    ranker, (items, gaps, events), candidates = RANKERS["llama"], draw([6, 4], 6, 0), some_candidates(2, 5, 0)
    with torch.no_grad():
        vectors = ranker.item_vectors()
        tokens = ranker.history_tokens(vectors, items, gaps, events)
        history = ranker.read(tokens, gaps, torch.tensor([6, 4]))
        earlier = ranker.score_candidates(vectors, replace(history, lengths=torch.tensor([3, 1])), candidates)
        cut = ranker.read(tokens[:, :3], gaps[:, :3], torch.tensor([3, 1]))
        torch.testing.assert_close(earlier, ranker.score_candidates(vectors, cut, candidates), **TOLERANCE)
