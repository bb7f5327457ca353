"""The candidate pass: a candidate's score is its own, whatever stands beside it.

Shapes: B users, L history length, C candidates, I items.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recsys.model import candidate_pass
from recsys.model.candidate_pass import read_candidates, read_history
from recsys.model.config import RankerConfig
from recsys.model.decoder import decoder_config
from recsys.model.features import NUM_GAP_BUCKETS
from recsys.model.ranker import Ranker
from recsys.model.ranker_spec import RankerSpec

NUM_ITEMS, TEXT_DIM, NUM_KINDS, ITEM_DIM = 30, 6, 2, 8
SIZES: dict[str, Any] = {
    "vocab_size": 16,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
}
SMALL = RankerConfig(hidden_size=ITEM_DIM, layers=2, heads=2)
DECODERS: dict[str, dict[str, Any]] = {
    "small": decoder_config(SMALL, 8),
    "llama": transformers.LlamaConfig(**SIZES).to_dict(),
    "qwen3": transformers.Qwen3Config(**SIZES).to_dict(),
    "gpt2": transformers.GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=16).to_dict(),
}
TOLERANCE = {"atol": 1e-5, "rtol": 0.0}


def make_ranker(decoder: str, trained: bool = True, relative_time: bool = False) -> Ranker:
    """A ranker in evaluation mode; ``trained``: its candidate head and embeddings say something."""
    settings = DECODERS[decoder]
    spec = RankerSpec(
        num_items=NUM_ITEMS,
        text_dim=TEXT_DIM,
        item_dim=ITEM_DIM,
        num_event_kinds=NUM_KINDS,
        decoder=settings,
        dropout=0.3,
        id_dropout=0.3,
        relative_time=relative_time,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ranker = Ranker(spec, torch.randn(NUM_ITEMS, TEXT_DIM), torch.arange(NUM_ITEMS) % 5 > 0)
        for embedding in (ranker.id_embedding, ranker.gap_embedding, ranker.event_embedding):
            torch.nn.init.normal_(embedding.weight)
        if trained:
            torch.nn.init.normal_(ranker.candidate_embedding)
            torch.nn.init.normal_(ranker.candidate_head.weight)
        for parameter in ranker.decoder.parameters():
            parameter.data.mul_(2)  # attention of a fresh decoder is nearly even
        if relative_time:
            torch.nn.init.normal_(ranker.time_bias, std=3.0)
    return ranker.eval()


RANKERS = {decoder: make_ranker(decoder) for decoder in DECODERS}
RANKERS |= {f"{decoder} by time": make_ranker(decoder, relative_time=True) for decoder in DECODERS}

lengths_of_users = st.lists(st.integers(0, 6), min_size=1, max_size=4)
rankers = st.sampled_from(sorted(RANKERS))
seeds = st.integers(0, 999)


def draw(lengths: list[int], width: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Histories of these lengths; the first ``lengths`` events of a user are the same in every width."""
    items = torch.full((len(lengths), width), NUM_ITEMS)
    gaps, events = torch.zeros_like(items), torch.zeros_like(items)
    generator = torch.Generator().manual_seed(seed)
    for row, length in enumerate(lengths):
        for grid, top in ((items, NUM_ITEMS), (gaps, NUM_GAP_BUCKETS), (events, NUM_KINDS + 1)):
            grid[row, :length] = torch.randint(0, top, (length,), generator=generator)
    return items, gaps, events


def some_candidates(num_users: int, num: int, seed: int) -> Tensor:
    """[B, C] distinct items of each user."""
    generator = torch.Generator().manual_seed(seed + 1)
    return torch.stack([torch.randperm(NUM_ITEMS, generator=generator)[:num] for _ in range(num_users)])


def score(ranker: Ranker, histories: tuple[Tensor, Tensor, Tensor], candidates: Tensor) -> Tensor:
    with torch.no_grad():
        logits = ranker(*histories, candidates)
    assert logits.shape == candidates.shape
    assert logits.dtype == torch.float32
    return logits


@given(rankers, lengths_of_users, st.integers(1, 12), seeds)
def test_the_order_of_candidates_does_not_show(decoder: str, lengths: list[int], num: int, seed: int) -> None:
    histories, candidates = draw(lengths, 6, seed), some_candidates(len(lengths), num, seed)
    order = torch.randperm(num, generator=torch.Generator().manual_seed(seed))
    logits = score(RANKERS[decoder], histories, candidates)
    permuted = score(RANKERS[decoder], histories, candidates[:, order])
    torch.testing.assert_close(permuted, logits[:, order], **TOLERANCE)


@given(rankers, lengths_of_users, st.integers(1, 12), st.integers(0, 8), seeds)
def test_candidates_that_come_or_go_do_not_show(
    decoder: str, lengths: list[int], num: int, more: int, seed: int
) -> None:
    histories, candidates = draw(lengths, 6, seed), some_candidates(len(lengths), num + more, seed)
    padded = torch.nn.functional.pad(candidates[:, :num], (0, more), value=NUM_ITEMS)
    logits = score(RANKERS[decoder], histories, candidates)
    torch.testing.assert_close(score(RANKERS[decoder], histories, candidates[:, :num]), logits[:, :num], **TOLERANCE)
    beside_padding = score(RANKERS[decoder], histories, padded)
    torch.testing.assert_close(beside_padding[:, :num], logits[:, :num], **TOLERANCE)
    assert (beside_padding[:, num:] == -torch.inf).all()


@given(rankers, lengths_of_users, st.integers(1, 8), st.integers(6, 12), seeds)
def test_batch_and_padding_do_not_show(decoder: str, lengths: list[int], num: int, width: int, seed: int) -> None:
    candidates = some_candidates(len(lengths), num, seed)
    together = score(RANKERS[decoder], draw(lengths, width, seed), candidates)
    histories = draw(lengths, 6, seed)
    for row, length in enumerate(lengths):
        alone = tuple(grid[row : row + 1, : max(length, 1)] for grid in histories)
        single = score(RANKERS[decoder], (alone[0], alone[1], alone[2]), candidates[row : row + 1])
        torch.testing.assert_close(single[0], together[row], **TOLERANCE)


@pytest.mark.parametrize("decoder", sorted(DECODERS))
def test_a_candidates_state_is_that_of_the_event_it_would_be(decoder: str) -> None:
    """One at a time, appended as the next event, through the plain causal pass: the definition, told slowly."""
    decode = RANKERS[decoder].decoder
    tokens = torch.randn(3, 9, DECODERS[decoder].get("hidden_size", 16), generator=torch.Generator().manual_seed(0))
    history, candidates, lengths = tokens[:, :5], tokens[:, 5:], torch.tensor([5, 2, 0])
    with torch.no_grad():
        states = read_candidates(decode, read_history(decode, history)[1], candidates, lengths)
        for row, length in enumerate(lengths.tolist()):
            for place in range(candidates.shape[1]):
                one = torch.cat([history[row, :length], candidates[row, place : place + 1]])[None]
                expected = decode(inputs_embeds=one, use_cache=False).last_hidden_state[0, -1]
                torch.testing.assert_close(states[row, place], expected, **TOLERANCE)


@pytest.mark.parametrize("decoder", sorted(DECODERS))
def test_untrained_the_score_is_the_retrieval_logit(decoder: str) -> None:
    ranker, histories = make_ranker(decoder, trained=False), draw([6, 3, 0], 6, 0)
    candidates = some_candidates(3, 10, 0)
    with torch.no_grad():
        users, items = ranker(*histories)
    torch.testing.assert_close(
        score(ranker, histories, candidates), (users @ items.T).gather(1, candidates), **TOLERANCE
    )


@pytest.mark.parametrize("decoder", sorted(DECODERS))
def test_history_candidate_and_its_mark_each_count(decoder: str) -> None:
    ranker, histories, candidates = RANKERS[decoder], draw([6, 3], 6, 0), some_candidates(2, 10, 0)
    with torch.no_grad():
        users, items = ranker(*histories)
        beyond = score(ranker, histories, candidates) - (users @ items.T).gather(1, candidates)
        assert beyond.std(dim=1).min() > 0.1, "the head does not tell candidates apart"
        longer = draw([6, 4], 6, 0)
        others = score(ranker, longer, candidates) - (ranker(*longer)[0] @ items.T).gather(1, candidates)
        assert (others[1] - beyond[1]).abs().max() > 0.01, "the head does not see the history"
        unmarked = make_ranker(decoder)
        unmarked.candidate_embedding.zero_()
        assert (score(unmarked, histories, candidates) - score(ranker, histories, candidates)).abs().max() > 0.1


@pytest.mark.parametrize("block", [1, 4, 10])
def test_blocks_of_candidates_add_up(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    histories, candidates = draw([6, 3, 0], 6, 0), some_candidates(3, 10, 0)
    whole = score(RANKERS["small"], histories, candidates)
    monkeypatch.setattr(candidate_pass, "CANDIDATE_BLOCK", block)
    torch.testing.assert_close(score(RANKERS["small"], histories, candidates), whole, **TOLERANCE)


def test_a_history_is_read_once_for_many_questions() -> None:
    ranker, (items, gaps, events) = RANKERS["llama"], draw([6, 4], 6, 0)
    first, second = some_candidates(2, 7, 0), some_candidates(2, 5, 1)
    with torch.no_grad():
        vectors = ranker.item_vectors()
        history = ranker.read(ranker.history_tokens(vectors, items, gaps, events), gaps, torch.tensor([6, 4]))
        torch.testing.assert_close(history.users, ranker.user_vectors(vectors, items, gaps, events), **TOLERANCE)
        for candidates in (first, second, first):
            logits = ranker.score_candidates(vectors, history, candidates)
            torch.testing.assert_close(logits, score(ranker, (items, gaps, events), candidates), **TOLERANCE)
        earlier = ranker.score_candidates(vectors, replace(history, lengths=torch.tensor([3, 1])), first)
    cut = items.clone()
    cut[0, 3:], cut[1, 1:] = NUM_ITEMS, NUM_ITEMS
    torch.testing.assert_close(earlier, score(ranker, (cut, gaps, events), first), **TOLERANCE)


def test_no_candidates_no_scores() -> None:
    assert score(RANKERS["small"], draw([3], 4, 0), torch.zeros(1, 0, dtype=torch.int64)).shape == (1, 0)


def test_gradients_reach_candidates_and_history() -> None:
    ranker = make_ranker("small")
    ranker(*draw([6, 3], 6, 0), some_candidates(2, 5, 0)).logsumexp(dim=1).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in ranker.parameters())


@pytest.mark.parametrize("decoder", ["llama", "qwen3"])
def test_a_decoder_in_bfloat16_scores_nearly_the_same(decoder: str) -> None:
    """As on a GPU: its weights are half as large, rotations and all that is not the decoder stay as they were."""
    ranker, histories, candidates = make_ranker(decoder), draw([6, 3, 0], 6, 0), some_candidates(3, 10, 0)
    whole = score(ranker, histories, candidates)
    ranker.decode_in(torch.bfloat16)
    assert {weight.dtype for weight in ranker.decoder.parameters()} == {torch.bfloat16}
    assert {buffer.dtype for buffer in ranker.decoder.buffers()} == {torch.float32}
    assert ranker.candidate_head.weight.dtype == torch.float32
    rounded = score(ranker, histories, candidates)
    assert (rounded - whole).abs().max() < 0.1 * whole.std()
    assert not torch.equal(rounded, whole)
    with torch.no_grad():
        assert ranker(*histories)[0].dtype == torch.float32
