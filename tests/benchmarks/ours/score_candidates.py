"""The candidate pass: 64 users with 50 events and 100 candidates each, by an untrained ranker of default size."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from decoder_work import multiply_adds
from stopwatch import THREADS, Work, compete

from recsys.data.histories import build_histories, sort_interactions
from recsys.model.config import RankerConfig
from recsys.model.decoder import decoder_config
from recsys.model.features import encode_histories, index_items
from recsys.model.ranker import Ranker
from recsys.model.ranker_spec import RankerSpec
from recsys.schema import INTERACTIONS

TEXT_DIM = 384


def prepare(folder: Path) -> tuple[Work, dict[str, Any]]:
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    facts = json.loads((folder / "facts.json").read_text())
    item_ids = pa.array(pd.read_parquet(folder / "items.parquet").item_id.tolist(), pa.string())
    ranker = ranker_of(item_ids, facts)
    events = pd.read_parquet(folder / "histories.parquet")
    table = pa.Table.from_pandas(events.assign(event="interaction", weight=1.0), preserve_index=False)
    interactions, _ = sort_interactions(table.select(INTERACTIONS.names).cast(INTERACTIONS))
    histories = build_histories(interactions, facts["length"])
    batch = encode_histories(histories, item_ids, pa.array(["interaction"]), facts["length"])
    items, gaps, kinds = (torch.from_numpy(grid) for grid in (batch.items, batch.gaps, batch.events))
    drawn = pd.read_parquet(folder / "candidates.parquet").set_index("user_id").item_id
    wanted = [drawn[user].tolist() for user in histories["user_id"].to_pylist()]
    candidates = torch.from_numpy(np.stack([index_items(pa.array(row), item_ids) for row in wanted]))
    with torch.inference_mode():
        vectors = ranker.item_vectors()

    def work(number: int) -> int:
        with torch.inference_mode():
            return ranker.candidate_logits(vectors, items, gaps, kinds, candidates).numel()

    length, asked = items.shape[1], candidates.shape[1]
    # per pair of user and candidate, including its share of reading the history
    return work, {"multiply_adds": multiply_adds(ranker, length, asked) / asked}


def ranker_of(item_ids: pa.Array, facts: dict[str, Any]) -> Ranker:
    """An untrained ranker with random text vectors."""
    config = RankerConfig(hidden_size=facts["hidden_size"], layers=facts["layers"], heads=facts["heads"])
    spec = RankerSpec(
        num_items=len(item_ids),
        text_dim=TEXT_DIM,
        item_dim=config.hidden_size,
        num_event_kinds=1,
        decoder=decoder_config(config, facts["length"]),
        dropout=config.dropout,
        id_dropout=config.id_dropout,
    )
    known = torch.ones(len(item_ids), dtype=torch.bool)
    return Ranker(spec, torch.randn(len(item_ids), TEXT_DIM), known).eval()


if __name__ == "__main__":
    compete(prepare)
