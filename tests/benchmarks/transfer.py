"""Does an encoder that learned from other shops' baskets help a shop without any event?

    python tests/benchmarks/transfer.py [--sources toys,yelp,goodreads] [--target scientific] [--minutes 40] [--quick]

It trains MiniLM as `encoder.train: baskets` does, on the baskets of the sources. The events of the target are only
read as histories of its users. Text-EASE ranks the full catalog for each user's withheld item, with the encoder as it
was and with the one that learned. A shop without histories could show the hubs to everybody: the items nearest to the
mean text. Prints a Markdown table and writes bench/transfer.json. It runs in one process on the CPU.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from machine import describe
from sequences import SETS, sequence_split

from recsys.evaluation.bootstrap import paired_bootstrap
from recsys.model.catalog_encoder import CatalogEncoder
from recsys.model.default_encoder import PACKAGED
from recsys.model.text_encoder import TextEncoder
from recsys.training.basket_encoder import BasketEncoder
from recsys.training.basket_examples import HELD_OUT_TARGETS
from recsys.training.basket_sampling import Baskets, draw_step
from recsys.training.basket_validation import HeldOutTargets, held_out_ndcg
from recsys.training.config import TrainConfig
from recsys.training.engine_torch import TorchEngine
from recsys.training.phases import warmup_and_cosine

ROOT = Path(__file__).parents[2]


def main() -> None:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    options.add_argument("--sources", default="toys,yelp,goodreads", help=f"of {', '.join(SETS)}")
    options.add_argument("--target", default="scientific", choices=SETS)
    options.add_argument("--steps", type=int, default=320)
    options.add_argument("--minutes", type=float, default=40.0, help="the training ends then, whatever its steps")
    options.add_argument("--items", type=int, default=256, help="of a step")
    options.add_argument("--users", type=int, default=64, help="of a step")
    options.add_argument("--max-tokens", type=int, default=32)
    options.add_argument("--learning-rate", type=float, default=5e-5)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--quick", action="store_true", help="two steps, to see that it runs")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    texts, held_out = target_of(arguments.data, arguments.target, 50 if arguments.quick else None)
    if arguments.quick:
        arguments.steps, arguments.items = 2, 16
    encoder = TextEncoder.load(PACKAGED, max_tokens=arguments.max_tokens)
    before = encoder.encode(texts)
    hubs = np.broadcast_to(before.mean(axis=0, keepdims=True), (1, before.shape[1])) @ before.T
    facts = learn(encoder, arguments)
    after = encoder.encode(texts)
    ndcg = {
        "text hubs, the same list for all": same_list_ndcg(hubs[0], held_out),
        "text-EASE, encoder as it was": held_out_ndcg(before, held_out),
        "text-EASE, encoder that learned elsewhere": held_out_ndcg(after, held_out),
    }
    report(ndcg, facts | {"machine": describe(), "options": {k: str(v) for k, v in vars(arguments).items()}})


def target_of(data: Path, name: str, most: int | None) -> tuple[list[str], HeldOutTargets]:
    """The texts of the catalog, and the histories with the withheld items, of at most so many users."""
    split = sequence_split(data, name)
    rows = pd.Series(np.arange(len(split.items)), index=split.items.item_id)
    events = split.events.sort_values(["user_id", "timestamp"], kind="stable")
    histories = events.assign(row=events.item_id.map(rows)).groupby("user_id").row.agg(list)
    truth = split.cases[name].truth.head(most) if most else split.cases[name].truth
    new = [row not in histories[user] for user, row in zip(truth.user_id, truth.item_id.map(rows), strict=True)]
    truth = truth[new]
    columns = [[histories[user] for user in truth.user_id], truth.item_id.map(rows).tolist()]
    table = pa.table(columns, schema=HELD_OUT_TARGETS)
    held_out = HeldOutTargets.of(table, len(rows), seed=0)
    return split.items.title.iloc[held_out.rows].tolist(), held_out


def learn(encoder: TextEncoder, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train the encoder in place on all events of the sources; each step is of one of them."""
    texts: list[str] = []
    shops: list[tuple[int, int, Baskets]] = []
    for name in arguments.sources.split(","):
        split = sequence_split(arguments.data, name)
        rows = pd.Series(np.arange(len(split.items)), index=split.items.item_id)
        baskets = Baskets.of(split.events.user_id.factorize()[0], split.events.item_id.map(rows).to_numpy())
        shops.append((len(texts), len(rows), baskets))
        texts += split.items.title.tolist()
    model = BasketEncoder(CatalogEncoder(encoder, texts, arguments.items, None), "fp32")
    train = TrainConfig(batch_size=arguments.users, learning_rate=arguments.learning_rate)
    schedule = warmup_and_cosine(arguments.steps // 20, arguments.steps)
    engine = TorchEngine(
        model, [{"params": [each for each in model.parameters() if each.requires_grad]}], train, schedule
    )
    random, losses, begun = np.random.default_rng(0), [], time.monotonic()
    for step in range(arguments.steps):
        first, size, baskets = shops[random.integers(len(shops))]
        drawn = draw_step(baskets, arguments.users, arguments.items, size, random)
        loss = engine(rows=torch.from_numpy(drawn.rows + first), baskets=torch.from_numpy(drawn.baskets))
        engine.backward(loss)
        engine.step()
        losses.append(loss.item())
        if step % 10 == 9:
            sys.stderr.write(f"step {step + 1}: loss {np.mean(losses[-10:]):.4f}, {time.monotonic() - begun:.0f} s\n")
        if time.monotonic() - begun > 60 * arguments.minutes:
            break
    model.requires_grad_(False)
    return {"steps": len(losses), "seconds": round(time.monotonic() - begun), "loss": losses}


def same_list_ndcg(scores: np.ndarray, held_out: HeldOutTargets, k: int = 10) -> np.ndarray:
    """[B] NDCG@k of one order of the items [M] for all users, without the items of each history."""
    gains = np.zeros(len(held_out.targets))
    for user, (history, target) in enumerate(zip(held_out.histories, held_out.targets, strict=True)):
        own = scores.copy()
        own[history] = -np.inf
        rank = int((own > own[target]).sum())
        gains[user] = 1 / np.log2(rank + 2) if rank < k else 0.0
    return gains


def report(ndcg: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
    """Print the table with differences to the encoder as it was, and write the figures."""
    base = ndcg["text-EASE, encoder as it was"]
    lines = ["| lists by | NDCG@10 | difference to the encoder as it was |", "| --- | ---: | ---: |"]
    for name, gains in ndcg.items():
        found = paired_bootstrap(gains - base)
        difference = "" if gains is base else f"{found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
        lines.append(f"| {name} | {gains.mean():.4f} | {difference} |")
    sys.stdout.write("\n".join(lines) + "\n")
    out = ROOT / "bench" / "transfer.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(
        json.dumps(facts | {"ndcg@10": {name: float(gains.mean()) for name, gains in ndcg.items()}}, indent=2)
    )


if __name__ == "__main__":
    main()
