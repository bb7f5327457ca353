"""How good are live lists for anonymous users who send only their age, gender and occupation?

    python tests/benchmarks/cold_described.py [--seed 0] [--encoder null] [--set KEY=VALUE …] [--quick]

A random fifth of the users of MovieLens 100K is withheld. The night has default settings and reads the ratings and the
attributes of the other users. `LiveSnapshot.answer` answers the withheld users as the live service does, without a user
id: once with attributes, once with nothing. The targets are the first `ASKED` films that each of them rated. The
baseline is the films that most users rated. Prints a Markdown table and writes bench/cold_described.json.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anonymous import live_lists, options_of
from cases import atomic, film_items
from judge import K, Question
from machine import describe
from quality import Bench, digest, raw_data, say, short

from jobs.start_service import load_live
from recsys.evaluation.bootstrap import paired_bootstrap
from recsys.storage.filesystem import Storage
from recsys.storage.latest import require_latest

WITHHELD, WITHHELD_SEED, ASKED = 0.2, 0, 10
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
    """Tables `events` and `items` to learn from, `users`, and the events that are `withheld`."""
    ratings, films, users = (atomic(data / f"ml-100k/ml-100k.{name}") for name in ("inter", "item", "user"))
    ratings["timestamp"] = pd.to_datetime(ratings.timestamp.astype(float), unit="s", utc=True)
    ids = np.sort(users.user_id.unique())
    withheld = np.random.default_rng(WITHHELD_SEED).choice(ids, int(WITHHELD * len(ids)), replace=False)
    users["decade"] = (users.age.astype(int) // 10 * 10).astype(str) + "s"
    events = ratings[["user_id", "item_id", "timestamp"]].sort_values(["user_id", "timestamp"], kind="stable")
    gone = events.user_id.isin(set(withheld))
    return {
        "events": events[~gone],
        "items": film_items(films),
        "users": users[["user_id", *ATTRIBUTES]],
        "withheld": events[gone],
    }


def night(bench: Bench, seed: int) -> Path:
    """The folder of the night's inputs and its warehouse. Runs the night if it is missing."""
    data = raw_data()
    raw = digest([*sorted((data / "ml-100k").iterdir()), Path(__file__)])
    out = bench.out / "cold_described" / f"{short(raw, bench.code, bench.options.encoder, *bench.changes)}-{seed}"
    if not Storage(str(out / "warehouse")).exists("recommendations/LATEST.json"):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        made = tables(data)
        for name, table in made.items():
            table.to_parquet(out / f"{name}.parquet")
        settings = {"seed": seed, "encoder": bench.options.encoder, "date": made["events"].timestamp.max().date()}
        say(f"a night, seed {seed} …")
        bench.night(out, CONFIG.format(out=out, **settings))
    return out


def popular_lists(past: pd.DataFrame, users: pd.DataFrame) -> pd.DataFrame:
    """Lists as rows of user_id, rank, item_id: the items that most users had."""
    best = past.groupby("item_id").user_id.nunique().sort_values(ascending=False, kind="stable").index[:K]
    rows = [(user, rank, item) for user in users.user_id for rank, item in enumerate(best, 1)]
    return pd.DataFrame(rows, columns=["user_id", "rank", "item_id"])


def main() -> int:
    """Run the night if it is missing, ask for lists, then print and write the table."""
    arguments = options_of(__doc__).parse_args()
    folder = night(Bench(arguments), arguments.seed)
    past, items, users, withheld = (
        pd.read_parquet(folder / f"{name}.parquet") for name in ("events", "items", "users", "withheld")
    )
    storage = Storage(str(folder / "warehouse"))
    live = load_live(storage, require_latest(storage))
    anonymous = users[users.user_id.isin(set(withheld.user_id))].sort_values("user_id")
    truth = withheld.groupby("user_id").head(ASKED)[["user_id", "item_id"]].drop_duplicates()
    question, now = Question(past, items, truth, exclude_seen=True), past.timestamp.max().to_pydatetime()
    bodies = {
        user: {"attributes": own}
        for user, own in zip(anonymous.user_id, anonymous[ATTRIBUTES].to_dict("records"), strict=True)
    }
    described = question.judge(live_lists(live, bodies, now, "popular"))
    baselines = {
        "no attributes": question.judge(live_lists(live, {user: {} for user in bodies}, now, "popular")),
        "rated by most": question.judge(popular_lists(past, anonymous)),
    }
    rows: dict[str, dict[str, Any]] = {"with attributes": described.means()}
    lines = [f"{len(anonymous)} users, {len(items)} items, seed {arguments.seed}.", ""]
    lines += ["| | NDCG@10 | gain of attributes [95 %] | hit rate |", "| --- | ---: | ---: | ---: |"]
    lines.append(f"| with attributes | {described.means()['ndcg@10']:.4f} | | {described.means()['hitrate@10']:.3f} |")
    for name, judged in baselines.items():
        gap, means = paired_bootstrap(described.ndcg - judged.ndcg), judged.means()
        rows[name] = means | {"difference": {"mean": gap.mean, "low": gap.low, "high": gap.high}}
        more = f"{gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]"
        lines.append(f"| {name} | {means['ndcg@10']:.4f} | {more} | {means['hitrate@10']:.3f} |")
    sys.stdout.write("\n".join(lines) + "\n")
    written = {"machine": describe(), "quick": arguments.quick, "encoder": arguments.encoder, "seed": arguments.seed}
    written |= {"set": arguments.set, "num_users": len(anonymous), "random_ndcg@10": question.random_ndcg()}
    (arguments.out / "cold_described.json").write_text(json.dumps(written | {"rows": rows}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
