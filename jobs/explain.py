"""Shows what each signal adds to the published lists of some users. It makes the lists again, as the night did.

python jobs/explain.py --config configs/demo.yaml USER_ID [USER_ID ...]

Write `--` before ids that begin with `-`.
"""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.table import Table
from rich.text import Text

from jobs import command
from jobs.empty_lists import why_empty
from jobs.log_output import console
from jobs.user_ids import named, read_histories, user_id
from recsys.model.features import index_catalog
from recsys.pipeline.lists.fallback_lists import fallback_reasons
from recsys.pipeline.open_run import stored_run
from recsys.pipeline.run import Run
from recsys.pipeline.scoring.load_variants import load_variants
from recsys.ranking.snapshot import Snapshot
from recsys.ranking.variants import recommend_variants
from recsys.settings import Config
from recsys.storage.filesystem import Storage
from recsys.storage.latest import require_latest
from recsys.storage.manifest import read_manifest
from recsys.storage.runs import RunFolder


def explain(config: Config, options: Namespace) -> command.Answer:
    """Recompute the lists with their contributions, but not those of users who got popular items instead."""
    storage = Storage(config.storage)
    latest = require_latest(storage)
    run, model_id = stored_run(RunFolder(storage, latest.run_id)), latest.model_id
    histories = read_histories(run.folder, options.user_ids, run.config.histories.shards)
    fallback = fallback_reasons(run, histories)
    for user, reason in fallback.items():
        words = "the published list is of popular items, since the user's own could not be made"
        console.print(Text(f"{named([user])}: {words}: {reason}"), soft_wrap=True)
    histories = histories.filter(
        pc.invert(pc.is_in(histories["user_id"], value_set=pa.array([*fallback], pa.string())))
    )
    rows = _explained(run, model_id, histories) if len(histories) else []
    shown = {row["user_id"] for row in rows}
    empty = [user for user in histories["user_id"].to_pylist() if user not in shown]
    reasons = why_empty(run.folder, read_manifest(storage, latest), empty) if empty else {}
    for user, reason in reasons.items():
        console.print(Text(f"{named([user])}: the list is empty: {reason}"), soft_wrap=True)
    return {
        "status": "explained",
        "run_id": run.folder.run_id,
        "path": run.storage.url(run.folder.dir),
        "model_id": model_id,
        "lists": rows,
        "empty": reasons,
        "fallback": fallback,
    }


def _explained(run: Run, model_id: str, histories: pa.Table) -> list[dict[str, Any]]:
    """Rows of the lists of these users with their contributions; they are printed, too."""
    recommend = run.config.recommend.model_copy(update={"use_gpu": False})
    variants = load_variants(run, model_id, recommend)
    snapshot = variants.default
    recommended = recommend_variants(variants, histories, recommend)
    rows = [
        row | {"contributions": dict(zip(snapshot.columns, np.round(values.astype(float), 4).tolist(), strict=True))}
        for row, values in zip(recommended.lists.to_pylist(), recommended.contributions, strict=True)
    ]
    _print(rows, snapshot)
    return rows


def _print(rows: Sequence[dict[str, Any]], snapshot: Snapshot) -> None:
    """A table a user: what lifts each item above the user's other candidates, in nats, the largest first."""
    shown_ids = pa.array(sorted({row["item_id"] for row in rows}), pa.string())
    places = index_catalog(shown_ids, snapshot.item_ids)
    titles = dict(zip(shown_ids.to_pylist(), snapshot.titles.take(pa.array(places)).to_pylist(), strict=True))
    for user in dict.fromkeys(row["user_id"] for row in rows):
        own = [row for row in rows if row["user_id"] == user]
        table = Table("rank", "item", "what each number adds", title=Text(f"user {user}"), title_justify="left")
        for row in own:
            table.add_row(str(row["rank"]), Text(titles[row["item_id"]]), Text(_lifts(row["contributions"])))
        console.print(table)


def _lifts(contributions: Mapping[str, float]) -> str:
    """The numbers that add something, in words. A column for each would be too narrow to read on a terminal.

    >>> _lifts({"text": 0.3, "ease_decayed": -1.25, "query": 0.0})
    'ease_decayed -1.25, text +0.30'
    """
    largest = sorted(contributions.items(), key=lambda item: -abs(item[1]))
    return ", ".join(f"{name} {lift:+.2f}" for name, lift in largest if abs(lift) >= 0.005)


def main() -> int:
    """The command line."""
    parser = command.parser("Tell what each signal contributes to the published lists of some users.", dated=False)
    help_ids = "users whose lists are explained; write -- before ids that begin with -"
    parser.add_argument("user_ids", nargs="+", type=user_id, metavar="USER_ID", help=help_ids)
    return command.run(explain, parser)


if __name__ == "__main__":
    command.end_process(main)
