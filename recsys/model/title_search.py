"""Beam search over the trie of the catalog's titles: the language model writes titles, and can write nothing else.

This is generative retrieval with a constrained decoder, as in "Autoregressive Entity Retrieval" (De Cao et al., ICLR
2021).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from recsys.model.title_scorer import Prefix, TitleScorer
from recsys.model.title_trie import Node, TitleTrie

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class WrittenTitle:
    """A title that the model wrote."""

    items: Ints
    """Catalog indices of the items with this title, ascending."""
    log_prob: float
    """log P(title | prompt)."""


@dataclass(frozen=True, slots=True)
class _Beam:
    node: Node
    log_prob: float
    row: int
    """Row of the cache that holds its tokens."""
    token: int
    """The last of them."""


@torch.inference_mode()
def write_titles(
    scorer: TitleScorer,
    prefix: Prefix,
    trie: TitleTrie,
    num: int,
    allowed: Callable[[Ints], Ints] = lambda items: items,
) -> list[WrittenTitle]:
    """The most probable titles that beam search finds, best first; no title comes twice.

    Probabilities are those of the whole vocabulary, so that a title has the one that `TitleScorer.log_probs` gives it.

    Args:
        scorer: The model.
        prefix: The prompt that was read.
        trie: The titles that may be written.
        num: Number of titles, and of beams.
        allowed: The items of a title that may be proposed; a title without any makes room for another.
    """
    cache, log_probs = None, prefix.log_probs[None]
    beams, done = [_Beam(trie.root, 0.0, 0, -1)], list[WrittenTitle]()
    while beams:
        beams = _extended(beams, log_probs, trie, num)
        for beam in beams:
            if len(items := allowed(trie.items(beam.node))):
                done.append(WrittenTitle(items, beam.log_prob))
        done = sorted(done, key=lambda title: (-title.log_prob, title.items[0]))[:num]
        if len(done) == num:  # a title only gets less likely as it gets longer
            beams = [beam for beam in beams if beam.log_prob > done[-1].log_prob]
        beams = [beam for beam in beams if len(trie.children(beam.node)[0])]
        if beams:
            rows = torch.tensor([beam.row for beam in beams], device=prefix.log_probs.device)
            if cache is None:
                cache = prefix.cache(len(beams))
            else:
                cache.batch_select_indices(rows)
            tokens = torch.tensor([[beam.token] for beam in beams], device=prefix.log_probs.device)
            logits = scorer.model(input_ids=tokens, past_key_values=cache, use_cache=True).logits[:, -1]
            log_probs = logits.float().log_softmax(-1)
    return done


def _extended(beams: list[_Beam], log_probs: torch.Tensor, trie: TitleTrie, num: int) -> list[_Beam]:
    """The ``num`` most probable of all beams with one token more.

    Args:
        beams: What was written so far.
        log_probs: [number of beams, V] of the next token.
        trie: The titles.
        num: Beams to keep.
    """
    found = []
    for row, beam in enumerate(beams):
        tokens, nodes = trie.children(beam.node)
        totals = beam.log_prob + log_probs[row, torch.from_numpy(tokens).to(log_probs.device)].cpu().numpy()
        best = np.argsort(-totals, kind="stable")[:num]
        found += [_Beam(nodes[place], float(totals[place]), row, int(tokens[place])) for place in best]
    return sorted(found, key=lambda beam: -beam.log_prob)[:num]
