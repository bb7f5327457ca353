"""One epoch of full softmax over the last 50 targets of each user, on one worker."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from stopwatch import THREADS, Work, compete

from recsys.data.histories import sort_interactions
from recsys.model.config import RankerConfig
from recsys.model.decoder import decoder_config
from recsys.model.features import index_items
from recsys.model.ranker_spec import RankerSpec
from recsys.schema import INTERACTIONS
from recsys.training.config import TrainConfig
from recsys.training.engine import open_engine
from recsys.training.examples import build_windows
from recsys.training.loop import train_epoch
from recsys.training.objective import Objective, TrainableRanker
from recsys.training.phases import plan_training
from recsys.training.window_batch import WindowBatch

TEXT_DIM = 384


def prepare(folder: Path) -> tuple[Work, dict[str, Any]]:
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    facts = json.loads((folder / "facts.json").read_text())
    item_ids = pa.array(pd.read_parquet(folder / "items.parquet").item_id.tolist(), pa.string())
    events = pd.read_parquet(folder / "events.parquet").assign(event="interaction", weight=1.0)
    table = pa.Table.from_pandas(events, preserve_index=False).select(INTERACTIONS.names).cast(INTERACTIONS)
    interactions, _ = sort_interactions(table)
    length = facts["length"]
    windows = build_windows(interactions, item_ids, pa.array(["interaction"]), length, length + 1)
    counts = np.bincount(index_items(interactions["item_id"], item_ids), minlength=len(item_ids))
    ranker = ranker_of(torch.from_numpy(counts), facts)
    train = TrainConfig(batch_size=facts["batch_size"], precision=facts["precision"])
    engine = open_engine(ranker, train, train.learning_rate, plan_training(train, len(windows), 0).rate)
    if facts["compile"]:
        ranker.compile_decoder()
    random = np.random.default_rng(0)

    def batches(order: np.ndarray) -> Iterator[WindowBatch]:
        for start in range(0, len(order), facts["batch_size"]):
            rows = windows.take(pa.array(order[start : start + facts["batch_size"]]))
            yield WindowBatch.of(rows, len(item_ids), engine.device)

    def work(number: int) -> tuple[int, float]:
        order = random.permutation(len(windows))
        start = time.perf_counter()
        train_epoch(engine, batches(order))
        return len(windows), time.perf_counter() - start

    return work, {"windows": len(windows), "parameters": sum(p.numel() for p in ranker.parameters())}


def ranker_of(counts: torch.Tensor, facts: dict[str, Any]) -> TrainableRanker:
    """A ranker with the default objective and sizes and random text vectors."""
    config = RankerConfig(hidden_size=facts["hidden_size"], layers=facts["layers"], heads=facts["heads"])
    spec = RankerSpec(
        num_items=len(counts),
        text_dim=TEXT_DIM,
        item_dim=config.hidden_size,
        num_event_kinds=1,
        decoder=decoder_config(config, facts["length"]),
        dropout=config.dropout,
        id_dropout=config.id_dropout,
    )
    texts = torch.randn(len(counts), TEXT_DIM)
    objective = Objective.of(TrainConfig(precision=facts["precision"]), exclude_seen=True)
    return TrainableRanker(spec, texts, counts, objective)


if __name__ == "__main__":
    compete(prepare)
