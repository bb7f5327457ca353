"""Decoding windows in groups of similar length."""

import pytest
import torch

from recsys.training.by_length import decode_by_length
from tests.training.test_objective import draw, make_ranker


@pytest.mark.parametrize("num_windows", [3, 64], ids=["one group", "four groups"])
def test_groups_change_no_state(num_windows: int) -> None:
    ranker, length = make_ranker(), 6
    items, gaps, events = draw(num_windows, length)
    lengths = torch.randint(1, length + 1, (num_windows,), generator=torch.Generator().manual_seed(1))
    tokens = ranker.history_tokens(ranker.item_vectors(), items, gaps, events)
    states = decode_by_length(ranker.hidden_states, tokens, gaps, lengths)
    there = torch.arange(length) < lengths[:, None]
    torch.testing.assert_close(states[there], ranker.hidden_states(tokens, gaps)[there])


def test_short_windows_are_decoded_without_the_padding_of_long_ones() -> None:
    read: list[int] = []

    def decode(tokens: torch.Tensor, gaps: torch.Tensor) -> torch.Tensor:
        read.append(gaps.shape[0] * tokens.shape[1])
        return tokens

    lengths = torch.tensor([50] * 8 + [3] * 24)
    decode_by_length(decode, torch.ones(32, 50, 4), torch.zeros(32, 50, dtype=torch.int64), lengths)
    assert sum(read) == lengths.sum()
