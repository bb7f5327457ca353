"""An untrained ranker for tests of what stands around it."""

import torch

from recsys.model.config import RankerConfig
from recsys.model.decoder import decoder_config
from recsys.model.ranker import Ranker, RankerSpec

SIZES = RankerConfig(hidden_size=8, layers=1, heads=2, dropout=0.3, id_dropout=0.3)


def tiny_ranker(num_items: int, *, user_texts: bool = False) -> Ranker:
    """A ranker that knows all items, in evaluation mode; its candidate pass says something."""
    texts = torch.randn(num_items, 5, generator=torch.Generator().manual_seed(0))
    spec = RankerSpec(
        num_items=num_items,
        text_dim=5,
        item_dim=8,
        num_event_kinds=1,
        decoder=decoder_config(SIZES, 4),
        dropout=SIZES.dropout,
        id_dropout=SIZES.id_dropout,
        user_texts=user_texts,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ranker = Ranker(spec, texts, torch.ones(num_items, dtype=torch.bool)).eval()
        torch.nn.init.normal_(ranker.id_embedding.weight)
        torch.nn.init.normal_(ranker.candidate_head.weight)
    return ranker
