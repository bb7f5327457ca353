"""How good are live lists for anonymous users who send their first 1, 2 or 3 items?

    python tests/benchmarks/cold_live.py [--given 1,2,3] [--seed 0] [--encoder null] [--set KEY=VALUE …] [--quick]

The night has default settings and the Online Retail events before 2011-11-25. The users are the customers who came
after that day. `LiveSnapshot.answer` answers them as the live service does, without a user id. The targets are the
items they bought next. The baseline is the best-selling items of the last 7 days. Prints a Markdown table and writes
bench/cold_live.json. The night is kept below bench/ under a digest of everything it depends on.
"""

import json
import shutil
import sys
from typing import Any

import pandas as pd
from anonymous import live_lists, options_of
from cases import CUT, ITEMS_GIVEN
from judge import Judged, K, Question
from machine import describe
from quality import Bench, digest, night_config, say, short

from jobs.start_service import load_live
from recsys.evaluation.bootstrap import paired_bootstrap
from recsys.storage.filesystem import Storage
from recsys.storage.latest import require_latest

POPULARITY_DAYS = 7


def new_users(past: pd.DataFrame, events: pd.DataFrame) -> dict[str, list[str]]:
    """The users of the split `cold-users` that the past does not have → their first items, oldest first."""
    new = events[~events.user_id.isin(set(past.user_id))].sort_values("timestamp", kind="stable")
    return {user: own.item_id.tolist() for user, own in new.groupby("user_id")}


def next_items(first: dict[str, list[str]], rest: pd.DataFrame, given: int) -> pd.DataFrame:
    """Targets as rows of user_id, item_id: what each user took after the ``given`` items of the request."""
    waiting = [(user, item) for user, own in first.items() for item in own[given:]]
    return pd.concat([pd.DataFrame(waiting, columns=["user_id", "item_id"]), rest], ignore_index=True)


def bodies_of(first: dict[str, list[str]], given: int) -> dict[str, dict[str, Any]]:
    """Request fields of each user: a history of the ``given`` items that the user took first."""
    return {user: {"history": [{"item_id": item} for item in own[:given]]} for user, own in first.items()}


def popular_lists(past: pd.DataFrame, first: dict[str, list[str]], given: int) -> pd.DataFrame:
    """Lists as rows of user_id, rank, item_id: the best sellers of the week before the cut, without the given items."""
    week = past[past.timestamp >= CUT - pd.Timedelta(days=POPULARITY_DAYS)]
    counts = week.drop_duplicates(["user_id", "item_id"]).item_id.value_counts()
    best = counts.reset_index().sort_values(["count", "item_id"], ascending=[False, True]).item_id.tolist()
    rows = []
    for user, own in first.items():
        others = [item for item in best if item not in own[:given]][:K]
        rows += [(user, rank, item) for rank, item in enumerate(others, 1)]
    return pd.DataFrame(rows, columns=["user_id", "rank", "item_id"])


def night(bench: Bench, seed: int) -> Storage:
    """The warehouse of the night. Runs the night if it is missing."""
    split = bench.split("retail-new")
    data = digest([split / "events.parquet", split / "items.parquet"])
    out = bench.out / "cold_live" / f"{short(data, bench.code, bench.options.encoder, *bench.changes)}-{seed}"
    storage = Storage(str(out / "warehouse"))
    if not storage.exists("recommendations/LATEST.json"):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        facts = json.loads((split / "split.json").read_text())
        config = night_config(out / "warehouse", split, facts["date"], seed, encoder=bench.options.encoder)
        say(f"a night, seed {seed} …")
        bench.night(out, config)
    return storage


def measured(live: Judged, popular: Judged) -> dict[str, Any]:
    """The figures of a row, with the paired interval of the difference in NDCG@10."""
    gap = paired_bootstrap(live.ndcg - popular.ndcg)
    difference = {"mean": gap.mean, "low": gap.low, "high": gap.high}
    return {"live": live.means(), "popularity": popular.means(), "difference": difference}


def line(given: str, row: dict[str, Any]) -> str:
    """A row of the Markdown table."""
    gap = row["difference"]
    cells = [f"{row[who]['ndcg@10']:.4f}" for who in ("live", "popularity")]
    cells.append(f"{gap['mean']:+.4f} [{gap['low']:+.4f}, {gap['high']:+.4f}]")
    cells += [f"{row[who]['hitrate@10']:.3f}" for who in ("live", "popularity")]
    return f"| {given} | " + " | ".join(cells) + " |"


def main() -> int:
    """Run the night if it is missing, ask for lists, then print and write the table."""
    options = options_of(__doc__)
    options.add_argument("--given", type=lambda text: [int(part) for part in text.split(",")], default=[1, 2, 3])
    arguments = options.parse_args()
    if strange := [given for given in arguments.given if not 1 <= given <= ITEMS_GIVEN]:
        options.error(f"--given {strange[0]}: of each customer the first 1 to {ITEMS_GIVEN} items are known")
    bench = Bench(arguments)
    past, items = (pd.read_parquet(bench.split("retail-new") / f"{name}.parquet") for name in ("events", "items"))
    folder = bench.split("cold-users")
    rest = pd.read_parquet(folder / "cold-users" / "truth.parquet")
    first = new_users(past, pd.read_parquet(folder / "events.parquet"))
    storage = night(bench, arguments.seed)
    live = load_live(storage, require_latest(storage))
    rows = {}
    for given in arguments.given:
        asked_by = pd.DataFrame(
            [(user, item) for user, own in first.items() for item in own[:given]], columns=["user_id", "item_id"]
        )
        question = Question(pd.concat([past, asked_by]), items, next_items(first, rest, given), exclude_seen=True)
        answers = (
            live_lists(live, bodies_of(first, given), CUT.to_pydatetime(), "personalized"),
            popular_lists(past, first, given),
        )
        row = measured(*(question.judge(lists) for lists in answers))
        rows[str(given)] = row | {"random_ndcg@10": question.random_ndcg(), "num_targets": len(question.truth)}
    lines = [f"{len(first)} customers, {len(items)} items, seed {arguments.seed}.", ""]
    lines += ["| items given | NDCG@10 live | popularity | difference | hit rate live | popularity |"]
    lines += ["| --- |" + " ---: |" * 5, *(line(given, row) for given, row in rows.items())]
    sys.stdout.write("\n".join(lines) + "\n")
    written = {"machine": describe(), "quick": arguments.quick, "encoder": arguments.encoder, "seed": arguments.seed}
    written |= {"set": arguments.set, "num_users": len(first), "given": rows}
    (bench.out / "cold_live.json").write_text(json.dumps(written, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
