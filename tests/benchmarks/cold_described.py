"""What does a stranger get who says only what they are: age, gender and occupation?

    python tests/benchmarks/cold_described.py [--seed 0] [--encoder null] [--set KEY=VALUE …] [--quick]

A fifth of MovieLens 100K's users (seeded) is withheld; the night, with default settings, reads of the others their
ratings and what they are. The answers are the live service's own (`LiveSnapshot.answer`), without a user's id: with
attributes, and with nothing. Asked for are the first `ASKED` films that each of them rated; beside it stands what most
users rated. Prints a Markdown table and writes bench/cold_described.json.
"""

import argparse
import datetime as dt
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from cases import atomic
from judge import K, Question
from machine import describe
from quality import QUICK, ROOT, Bench, digest, run, say, short

from jobs.serve import load_live
from recsys.evaluation.metrics import paired_bootstrap
from recsys.serving.contracts import RecommendationRequest
from recsys.serving.live import LiveSnapshot
from recsys.storage.filesystem import Storage
from recsys.storage.publish import require_latest

WITHHELD, WITHHELD_SEED, ASKED = 0.2, 0, 10
#: Requests that are answered together, as the service gathers them.
BATCH = 32
CONFIG = """storage: {out}/warehouse
date: {date}
seed: {seed}
inputs:
  events:
    path: {out}/events.parquet
    format: parquet
    columns: {{user_id: user_id, item_id: item_id, timestamp: timestamp}}
  items:
    path: {out}/items.parquet
    format: parquet
    columns: {{item_id: item_id}}
    text: "{{title}}"
  users:
    path: {out}/users.parquet
    format: parquet
    columns: {{user_id: user_id}}
    text: "{{gender}} in the {{decade}}, {{occupation}}"
encoder: {{model: {encoder}, train: frozen}}
"""
ATTRIBUTES = ["gender", "decade", "occupation"]


def tables(data: Path) -> dict[str, pd.DataFrame]:
    """Events and items to learn from, users, and the events that are withheld."""
    ratings, films, users = (atomic(data / f"ml-100k/ml-100k.{name}") for name in ("inter", "item", "user"))
    ratings["timestamp"] = pd.to_datetime(ratings.timestamp.astype(float), unit="s", utc=True)
    ids = np.sort(users.user_id.unique())
    withheld = np.random.default_rng(WITHHELD_SEED).choice(ids, int(WITHHELD * len(ids)), replace=False)
    users["decade"] = (users.age.astype(int) // 10 * 10).astype(str) + "s"
    titles = films.movie_title + " (" + films.release_year + ") " + films["class"]
    events = ratings[["user_id", "item_id", "timestamp"]].sort_values(["user_id", "timestamp"], kind="stable")
    gone = events.user_id.isin(set(withheld))
    return {
        "events": events[~gone],
        "items": pd.DataFrame({"item_id": films.item_id, "title": titles.fillna("unknown")}),
        "users": users[["user_id", *ATTRIBUTES]],
        "withheld": events[gone],
    }


def night(bench: Bench, seed: int) -> Path:
    """The folder of the night's inputs and its warehouse, made where it is not there."""
    data = Path(os.environ.get("RECSYS_DATA") or ROOT.parent / "shared" / "data")
    changes = (QUICK if bench.options.quick else []) + bench.options.set
    raw = digest([*sorted((data / "ml-100k").iterdir()), Path(__file__)])
    out = bench.out / "cold_described" / f"{short(raw, bench.code, bench.options.encoder, *changes)}-{seed}"
    if not Storage(str(out / "warehouse")).exists("recommendations/LATEST.json"):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        made = tables(data)
        for name, table in made.items():
            table.to_parquet(out / f"{name}.parquet")
        settings = {"seed": seed, "encoder": bench.options.encoder, "date": made["events"].timestamp.max().date()}
        (out / "config.yaml").write_text(CONFIG.format(out=out, **settings))
        words = [word for change in changes for word in ("--set", change)]
        say(f"a night, seed {seed} …")
        run([sys.executable, "jobs/nightly.py", "--config", str(out / "config.yaml"), *words], out / "log.txt")
    return out


def live_lists(live: LiveSnapshot, users: pd.DataFrame, moment: dt.datetime, told: list[str]) -> pd.DataFrame:
    """user_id, rank, item_id: what the service answers each of them who tells some attributes."""
    rows = []
    for start in range(0, len(users), BATCH):
        batch = users[start : start + BATCH]
        bodies = [{"k": K, "attributes": own} for own in batch[told].to_dict("records")]
        requests = [RecommendationRequest.model_validate(body) for body in bodies]
        for user, answer in zip(batch.user_id, live.answer(requests, moment), strict=True):
            assert answer.strategy == "popular"
            rows += [(user, item.rank, item.item_id) for item in answer.items]
    return pd.DataFrame(rows, columns=["user_id", "rank", "item_id"])


def popular_lists(past: pd.DataFrame, users: pd.DataFrame) -> pd.DataFrame:
    """user_id, rank, item_id: the items that most users had."""
    best = past.groupby("item_id").user_id.nunique().sort_values(ascending=False, kind="stable").index[:K]
    rows = [(user, rank, item) for user in users.user_id for rank, item in enumerate(best, 1)]
    return pd.DataFrame(rows, columns=["user_id", "rank", "item_id"])


def main() -> int:
    """Make the night where it is missing, ask, print and write."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--encoder", default="null", help="as encoder.model in a config")
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for the night")
    options.add_argument("--quick", action="store_true", help="hardly train: a check of the way through")
    options.add_argument("--out", type=Path, default=ROOT / "bench")
    arguments = options.parse_args()
    folder = night(Bench(arguments), arguments.seed)
    past, items, users, withheld = (
        pd.read_parquet(folder / f"{name}.parquet") for name in ("events", "items", "users", "withheld")
    )
    storage = Storage(str(folder / "warehouse"))
    live = load_live(storage, require_latest(storage))
    strangers = users[users.user_id.isin(set(withheld.user_id))].sort_values("user_id")
    truth = withheld.groupby("user_id").head(ASKED)[["user_id", "item_id"]].drop_duplicates()
    question, moment = Question(past, items, truth, exclude_seen=True), past.timestamp.max().to_pydatetime()
    described = question.judge(live_lists(live, strangers, moment, ATTRIBUTES))
    beside = {
        "nothing told": question.judge(live_lists(live, strangers, moment, [])),
        "what most rated": question.judge(popular_lists(past, strangers)),
    }
    rows: dict[str, dict[str, Any]] = {"attributes told": described.means()}
    lines = [f"{len(strangers)} users, {len(items)} items, seed {arguments.seed}.", ""]
    lines += ["| | NDCG@10 | with attributes, more by [95 %] | hit rate |", "| --- | ---: | ---: | ---: |"]
    lines.append(f"| attributes told | {described.means()['ndcg@10']:.4f} | | {described.means()['hitrate@10']:.3f} |")
    for name, judged in beside.items():
        gap, means = paired_bootstrap(described.ndcg - judged.ndcg), judged.means()
        rows[name] = means | {"difference": {"mean": gap.mean, "low": gap.low, "high": gap.high}}
        told = f"{gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]"
        lines.append(f"| {name} | {means['ndcg@10']:.4f} | {told} | {means['hitrate@10']:.3f} |")
    sys.stdout.write("\n".join(lines) + "\n")
    written = {"machine": describe(), "quick": arguments.quick, "encoder": arguments.encoder, "seed": arguments.seed}
    written |= {"set": arguments.set, "num_users": len(strangers), "random_ndcg@10": question.random_ndcg()}
    (arguments.out / "cold_described.json").write_text(json.dumps(written | {"rows": rows}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
