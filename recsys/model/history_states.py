"""Histories as a ranker reads them: the texts in them, and the states after them.

Shapes: B users, L history length, D item dimensions, Q texts of users, T text dimensions.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Cache

from recsys.model.features import TextKind


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryTexts:
    """Texts in the histories of B users."""

    rows: Tensor
    """[B, L] row of each token's text; any number for a token without a text."""
    kinds: Tensor
    """[B, L] `TextKind` of each token's text."""
    vectors: Tensor
    """[Q, T] by the text encoder."""

    def of(self, part: Any) -> "HistoryTexts":
        """Some of the users, by an index of B."""
        return HistoryTexts(rows=self.rows[part], kinds=self.kinds[part], vectors=self.vectors)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Histories of B users after the decoder has read them, to score candidates."""

    states: Tensor
    """[B, L, D] as `Ranker.hidden_states` returns them."""
    lengths: Tensor
    """[B] tokens of each user."""
    cache: Cache
    """Keys and values of every layer of the decoder."""
    gaps: Tensor
    """[B, L] time-gap buckets."""

    @property
    def users(self) -> Tensor:
        """[B, D] state of each user after the last event."""
        return states_at(self.states, self.lengths - 1)


def history_lengths(items: Tensor, num_items: int, texts: HistoryTexts | None = None) -> Tensor:
    """[B] number of tokens of each history [B, L]. It is padded on the right; an item masked inside of it counts."""
    places = torch.arange(1, items.shape[1] + 1, device=items.device)
    there = items < num_items
    if texts is not None:
        there = there | (texts.kinds > TextKind.NONE)
    return (places * there).amax(dim=1)


def states_at(states: Tensor, positions: Tensor) -> Tensor:
    """[B, D] the states [B, L, D] at these positions [B]; −1, for an empty history, counts as 0."""
    return states[torch.arange(len(states), device=states.device), positions.clamp(min=0)]
