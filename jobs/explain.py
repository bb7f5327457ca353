"""Shows what each signal adds to the published lists of some users. It makes the lists again, as the night did.

python jobs/explain.py --config configs/demo.yaml USER_ID [USER_ID ...]
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.table import Table
from rich.text import Text

from jobs import command
from recsys.data.histories import shard_of
from recsys.errors import InputError
from recsys.pipeline.load_snapshot import load_snapshot
from recsys.pipeline.open_run import stored_run
from recsys.pipeline.run import Run
from recsys.ranking.lists import recommend_batch
from recsys.ranking.snapshot import Snapshot
from recsys.schema import HISTORIES
from recsys.settings import Config
from recsys.storage.filesystem import Storage
from recsys.storage.latest import require_latest
from recsys.storage.runs import RunFolder
from recsys.storage.tables import iter_batches

_BATCH_ROWS = 65_536


def explain(config: Config, options: Namespace) -> command.Answer:
    """Recompute the lists with their contributions."""
    storage = Storage(config.storage)
    latest = require_latest(storage)
    run, model_id = stored_run(RunFolder(storage, latest.run_id)), latest.model_id
    histories = find_histories(run, options.user_ids)
    recommend = run.config.recommend.model_copy(update={"use_gpu": False})
    snapshot = load_snapshot(run, model_id, recommend, "full")
    recommended = recommend_batch(snapshot, histories, recommend)
    rows = [
        row | {"contributions": dict(zip(snapshot.columns, np.round(values.astype(float), 4).tolist(), strict=True))}
        for row, values in zip(recommended.lists.to_pylist(), recommended.contributions, strict=True)
    ]
    _print(rows, snapshot)
    return {
        "status": "explained",
        "run_id": run.folder.run_id,
        "path": run.storage.url(run.folder.dir),
        "model_id": model_id,
        "lists": rows,
    }


def find_histories(run: Run, user_ids: Sequence[str]) -> pa.Table:
    """HISTORIES of these users, in their order; reads only their shards.

    Raises:
        InputError: a user has no history.
    """
    wanted = list(dict.fromkeys(user_ids))
    shards = np.unique(shard_of(pa.array(wanted, pa.string()), run.config.histories.shards))
    paths = [f"{run.folder.histories_dir}/shard-{shard:05d}.parquet" for shard in shards]
    batches = (batch for path in paths for batch in iter_batches(run.storage, path, _BATCH_ROWS))
    theirs = (batch.filter(pc.is_in(batch["user_id"], value_set=pa.array(wanted, pa.string()))) for batch in batches)
    found = pa.concat_tables([HISTORIES.empty_table(), *theirs], promote_options="default")  # there may be texts too
    known = found["user_id"].to_pylist()
    if missing := [user for user in wanted if user not in known]:
        raise InputError(
            f"user {', '.join(missing)}: has no history in run {run.folder.run_id}; it needs an accepted interaction"
        )
    return found.take([known.index(user) for user in wanted])


def _print(rows: Sequence[dict[str, Any]], snapshot: Snapshot) -> None:
    """A table a user: what lifts each item above the user's other candidates, in nats, weightiest signals first."""
    titles = dict(zip(snapshot.item_ids.to_pylist(), snapshot.titles.to_pylist(), strict=True))
    for user in dict.fromkeys(row["user_id"] for row in rows):
        own = [row for row in rows if row["user_id"] == user]
        moved = {name: sum(abs(row["contributions"][name]) for row in own) for name in snapshot.columns}
        shown = [name for name in sorted(snapshot.columns, key=lambda name: -moved[name]) if moved[name]]
        table = Table("rank", "item", *shown, title=Text(f"user {user}"), title_justify="left")
        for row in own:
            lifts = (f"{row['contributions'][name]:+.2f}" for name in shown)
            table.add_row(str(row["rank"]), Text(titles[row["item_id"]]), *lifts)
        command.console.print(table)


def main() -> int:
    """The command line."""
    parser = command.parser("Tell what each signal contributes to the published lists of some users.", night=False)
    parser.add_argument("user_ids", nargs="+", metavar="USER_ID", help="users whose lists are explained")
    return command.run(explain, parser)


if __name__ == "__main__":
    sys.exit(main())
