"""How long does the table of similar items take? Measures CPU time, which other work on the machine disturbs little.

    python tests/benchmarks/similar_items.py [--items 100000] [--sample 4096] [--cold 0.02]

Makes a night in memory: a ranker of the default size with random weights, random neighbours, as many as the signals
keep, and random text vectors of MiniLM's length. What they say does not change the work. Computes the similar items of
a sample of the items, as a worker of the stage does, and scales the CPU time to all items. Target: 100,000 items in at
most 5 minutes on two cores, 600 s of CPU time.
"""

import argparse
import datetime as dt
import json
import sys
import time

import numpy as np
import pyarrow as pa
import torch

from recsys.model.config import RankerConfig
from recsys.model.decoder import decoder_config
from recsys.model.ranker import Ranker, RankerSpec
from recsys.pipeline.workers.memory import peak_memory_mb
from recsys.ranking.config import RecommendConfig, RerankConfig
from recsys.ranking.fusion import Fusion
from recsys.ranking.rerank import Reranker
from recsys.ranking.rules.rule import NightFacts
from recsys.ranking.similar_items import of_related_items, similar_items
from recsys.ranking.snapshot import Snapshot
from recsys.signals.donors import Donors, find_donors
from recsys.signals.ease import EaseConfig, LoadedEase
from recsys.signals.neighbours import Neighbours
from recsys.signals.popularity import HORIZONS, LoadedPopularity
from recsys.signals.products import unit_rows
from recsys.signals.ranker_evidence import LoadedRanker
from recsys.signals.registry import columns_of, usual_signals
from recsys.signals.repeat import LoadedRepeat
from recsys.signals.signal import LoadedSignal
from recsys.signals.sparse_rows import row_starts
from recsys.signals.text_ease import TextEase
from recsys.signals.text_evidence import LoadedText
from recsys.signals.transitions import LoadedTransitions, TransitionsConfig

TEXT_DIM, MAX_LENGTH = 384, 50
DATE = dt.date(2026, 11, 22)
#: Two cores for five minutes.
TARGET_CPU_S = 600


def neighbours(random: np.random.Generator, num_items: int, each: int) -> Neighbours:
    """`each` random neighbours of every item."""
    others = np.sort(random.integers(0, num_items, (num_items, each), dtype=np.int32), axis=1).ravel()
    starts = row_starts(np.full(num_items, each))
    return Neighbours(starts=starts, others=others, weights=random.random((len(others), 2), dtype=np.float32))


def random_ranker(num_items: int, texts: np.ndarray) -> Ranker:
    """An untrained ranker of the default size."""
    sizes = RankerConfig()
    spec = RankerSpec(
        num_items=num_items,
        text_dim=TEXT_DIM,
        item_dim=sizes.hidden_size,
        num_event_kinds=4,
        decoder=decoder_config(sizes, MAX_LENGTH),
        dropout=sizes.dropout,
        id_dropout=sizes.id_dropout,
        user_texts=False,
    )
    torch.manual_seed(0)
    return Ranker(spec, torch.from_numpy(texts), torch.ones(num_items, dtype=torch.bool)).eval()


def night(num_items: int, cold: float) -> Snapshot:
    """A night of so many items, a share of which nobody took."""
    random = np.random.default_rng(0)
    texts = unit_rows(random.normal(size=(num_items, TEXT_DIM)).astype(np.float32))
    is_cold = random.random(num_items) < cold
    everything = np.ones(num_items, dtype=bool)
    popularity = np.where(is_cold, 0, random.zipf(1.5, num_items).clip(1, 10_000))
    ranker = random_ranker(num_items, texts)
    steps, ease = TransitionsConfig().neighbours, EaseConfig().neighbours
    signals: dict[str, LoadedSignal] = {
        "ranker": LoadedRanker(ranker, everything, candidate_pass=False),
        "transitions": LoadedTransitions(neighbours(random, num_items, steps), steps),
        "ease": LoadedEase(neighbours(random, num_items, ease), ease),
        "text": LoadedText(TextEase.of(texts), everything),
        "popularity": LoadedPopularity(
            np.tile(np.log1p(popularity).astype(np.float32), (1, len(HORIZONS), 1)), np.array([0]), everything
        ),
        "repeat": LoadedRepeat(np.zeros(num_items, dtype=np.float32)),
    }
    donors = Donors(find_donors(texts, is_cold, ~is_cold), num_items)
    facts = NightFacts(
        popularity=popularity, is_cold=is_cold, recommendable=everything, vectors=texts, seed=0, date=DATE
    )
    ids = pa.array([f"i{number:07d}" for number in range(num_items)])
    return Snapshot(
        signals={name: loaded.impute(donors) for name, loaded in signals.items()} if is_cold.any() else signals,
        item_ids=ids,
        titles=ids,
        recommendable=everything,
        is_cold=is_cold,
        event_kinds=pa.array(["view"]),
        max_length=MAX_LENGTH,
        reads_texts=False,
        fusion=Fusion(weights=dict.fromkeys(columns_of(usual_signals()), 1.0)),
        reranker=Reranker.build(RerankConfig(), facts),
        now=dt.datetime(2026, 11, 23, tzinfo=dt.UTC).timestamp() * 1e6,
    )


def main() -> int:
    """Measure and print JSON."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--items", type=int, default=100_000)
    options.add_argument("--sample", type=int, default=4096)
    options.add_argument("--cold", type=float, default=0.02, help="share of the items that nobody took")
    arguments = options.parse_args()
    torch.set_num_threads(1)
    related = of_related_items(night(arguments.items, arguments.cold))
    config = RecommendConfig()
    sample = np.random.default_rng(1).permutation(arguments.items)[: arguments.sample]
    similar_items(related, sample[:128], config, 20)  # compiles
    start, pairs = time.process_time(), 0
    for first in range(0, len(sample), config.batch_size):
        pairs += len(similar_items(related, sample[first : first + config.batch_size], config, 20))
    cpu_s = (time.process_time() - start) / len(sample) * arguments.items
    found = {
        "items": arguments.items,
        "cpu_s": round(cpu_s, 1),
        "minutes_on_two_cores": round(cpu_s / 120, 2),
        "pairs_of_an_item": round(pairs / len(sample), 2),
        "peak_memory_mb": round(peak_memory_mb()),
        "reached": cpu_s * 100_000 / arguments.items <= TARGET_CPU_S,
    }
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
