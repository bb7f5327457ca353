"""The files that a peer reads and writes: the folder of a split goes in, ranked lists come out.

This module runs in the peers' environments, with their older pandas, so it imports nothing from recsys.

    python peers/SCRIPT.py SPLIT_FOLDER OUT_FOLDER --model NAME [--seed N] [--top-k 10] [--quick]

writes OUT_FOLDER/new.parquet (lists without items the user already had), all.parquet (with them) and seconds.json.
"""

import argparse
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Task:
    """A split to learn from. Users and items are numbered in the order of their ids."""

    user_ids: np.ndarray
    item_ids: np.ndarray
    titles: np.ndarray
    """[I] text of each item."""
    users: np.ndarray
    """[E] user of each event, ordered by time."""
    items: np.ndarray
    """[E] item of each event."""
    days: np.ndarray
    """[E] age of each event in days, counted back from the end of the night's date."""
    protocol: str
    popularity_days: int | None
    seed: int
    top_k: int
    quick: bool
    """Train very little; only check that everything runs."""
    checkpoints: Path = Path("checkpoints")
    """A folder of its own for the state of a long training; it is deleted when the lists are written."""

    @property
    def num_users(self) -> int:
        return len(self.user_ids)

    @property
    def num_items(self) -> int:
        return len(self.item_ids)

    def frame(self) -> pd.DataFrame:
        """Events in the shape that most libraries expect: user and item numbers, and times that end at 2030-01-01."""
        times = pd.Timestamp("2030-01-01") - pd.to_timedelta(self.days, unit="D")
        return pd.DataFrame({"user_id": self.users, "item_id": self.items, "datetime": times})


#: A fitted model. Takes `exclude_seen`, returns lists as int [U, K], with −1 where a list is shorter.
Recommend = Callable[[bool], np.ndarray]


def read_task(folder: Path, seed: int, top_k: int, quick: bool) -> Task:
    """Read the folder of a split."""
    facts = json.loads((folder / "split.json").read_text())
    events = pd.read_parquet(folder / "events.parquet").sort_values("timestamp", kind="stable")
    items = pd.read_parquet(folder / "items.parquet").sort_values("item_id", kind="stable")
    item_ids = items.item_id.to_numpy(dtype=object)
    events = events[events.item_id.isin(set(item_ids))]
    user_ids, users = np.unique(events.user_id.to_numpy(dtype=object), return_inverse=True)
    end = pd.Timestamp(facts["date"], tz="UTC") + pd.Timedelta(days=1)
    return Task(
        user_ids=user_ids,
        item_ids=item_ids,
        titles=items.title.to_numpy(dtype=object),
        users=users,
        items=np.searchsorted(item_ids, events.item_id.to_numpy(dtype=object)),
        days=((end - events.timestamp) / pd.Timedelta(days=1)).to_numpy(),
        protocol=facts["protocol"],
        popularity_days=facts["popularity_days"],
        seed=seed,
        top_k=top_k,
        quick=quick,
    )


def top_of(scores: np.ndarray, top_k: int) -> np.ndarray:
    """The K best columns of each row of [U, I] scores, ties by index; −1 where a score is −inf."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
    return np.where(np.isfinite(np.take_along_axis(scores, order, axis=1)), order, -1)


def top_from_frame(frame: pd.DataFrame, num_users: int, top_k: int) -> np.ndarray:
    """Lists as int [U, K] from rows of user_id, item_id, rank (1 is best)."""
    top = np.full((num_users, top_k), -1, dtype=np.int64)
    top[frame.user_id.to_numpy(dtype=np.int64), frame["rank"].to_numpy(dtype=np.int64) - 1] = frame.item_id
    return top


def write_lists(path: Path, task: Task, top: np.ndarray) -> None:
    """Write lists as rows of user_id, rank, item_id."""
    users, places = np.nonzero(top >= 0)
    rows = {
        "user_id": task.user_ids[users],
        "rank": (places + 1).astype(np.int32),
        "item_id": task.item_ids[top[users, places]],
    }
    pd.DataFrame(rows).to_parquet(path, index=False)


def main(models: Mapping[str, Callable[[Task], Recommend]]) -> None:
    """The command line of a script with these models."""
    options = argparse.ArgumentParser()
    options.add_argument("split", type=Path)
    options.add_argument("out", type=Path)
    options.add_argument("--model", choices=sorted(models), required=True)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--top-k", type=int, default=10)
    options.add_argument("--quick", action="store_true")
    arguments = options.parse_args()
    task = read_task(arguments.split, arguments.seed, arguments.top_k, arguments.quick)
    task = replace(task, checkpoints=arguments.out / "checkpoints")
    start = time.monotonic()
    recommend = models[arguments.model](task)
    fitted = time.monotonic()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, exclude_seen in (("new", True), ("all", False)):
        write_lists(arguments.out / f"{name}.parquet", task, recommend(exclude_seen))
    seconds = {"fit": round(fitted - start, 2), "recommend": round(time.monotonic() - fitted, 2)}
    (arguments.out / "seconds.json").write_text(json.dumps(seconds))
    shutil.rmtree(task.checkpoints, ignore_errors=True)
