"""Shows published lists with titles, and where everything lies; it reads what readers read, and computes nothing.

python jobs/show.py --config configs/demo.yaml [--set KEY=VALUE] [--users 3] [USER_ID ...]

Write `--` before ids that begin with `-`.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jobs.command import add_overrides, end_process
from jobs.empty_lists import why_all_empty, why_empty
from jobs.user_ids import CommandLine, named, user_id
from recsys.data.histories import shards_of
from recsys.errors import RecsysError
from recsys.pipeline.lists.find_titles import find_titles
from recsys.schema import RECOMMENDATIONS
from recsys.settings import Config, load_config
from recsys.storage.filesystem import Storage
from recsys.storage.latest import Latest, require_latest
from recsys.storage.manifest import MANIFEST, Shard, read_manifest, verify_shard
from recsys.storage.runs import RunFolder
from recsys.storage.tables import iter_batches

_BATCH_ROWS = 65_536


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; answers the exit code."""
    args = _parser().parse_args(argv)
    try:
        show(load_config(args.config, args.set), args.user_ids, args.users)
    except RecsysError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


def show(config: Config, user_ids: Sequence[str] = (), num_users: int = 3) -> None:
    """Print the published lists of the named users, or of the first `num_users` where none is named.

    Raises:
        InputError: nothing is published, a user is unknown, or a file is missing or damaged.
    """
    storage = Storage(config.storage)
    latest, manifest = _published(storage)
    lists = find_lists(storage, latest, manifest, user_ids, num_users)
    shown = set(lists["user_id"].to_pylist())
    empty = [user for user in user_ids if user not in shown]
    reasons = why_empty(RunFolder(storage, latest.run_id), manifest, empty) if empty else {}
    titles = find_titles(RunFolder(storage, latest.run_id), lists["item_id"])
    console = Console()
    _print_lists(console, lists, titles)
    for user, reason in reasons.items():
        console.print(Text(f"{named([user])}: the list is empty: {reason}"), soft_wrap=True)
    if not manifest["users"]:
        console.print(Text(why_all_empty(manifest)), soft_wrap=True)
    _print_places(console, storage, latest, manifest)


def find_lists(
    storage: Storage, latest: Latest, manifest: dict[str, Any], user_ids: Sequence[str], num_users: int
) -> pa.Table:
    """RECOMMENDATIONS of the named users, or of the first `num_users` where none is named; reads only their shards.

    A named user may have no list.

    Raises:
        InputError: a shard is missing or damaged.
    """
    shards: list[Shard] = [shard for shard in manifest["shards"] if shard["users"]]
    if user_ids:
        wanted = shards_of(pa.array(user_ids, pa.string()), manifest["config"]["histories"]["shards"])
        shards = [shard for shard in shards if shard["name"].removesuffix(".parquet") in wanted]
    pieces: list[pa.Table] = []
    chosen: list[str] = list(dict.fromkeys(user_ids))
    for shard in shards:
        verify_shard(storage, latest, shard)
        for batch in iter_batches(storage, f"{latest.path}/{shard['name']}", _BATCH_ROWS):
            if not user_ids:
                found = pc.unique(batch["user_id"]).to_pylist()
                chosen += [user for user in found if user not in chosen][: num_users - len(chosen)]
            pieces.append(batch.filter(pc.is_in(batch["user_id"], value_set=pa.array(chosen, pa.string()))))
        if not user_ids and len(chosen) >= num_users:
            break
    return pa.concat_tables(pieces) if pieces else RECOMMENDATIONS.empty_table()


def _published(storage: Storage) -> tuple[Latest, dict[str, Any]]:
    latest = require_latest(storage)
    return latest, read_manifest(storage, latest)


def _print_lists(console: Console, lists: pa.Table, titles: dict[str, str]) -> None:
    for user in pc.unique(lists["user_id"]).to_pylist():
        table = Table(
            "rank", "item", "title", "score", "source", "reason", title=Text(f"user {user}"), title_justify="left"
        )
        rows = lists.filter(pc.equal(lists["user_id"], user)).sort_by("rank")
        for row in rows.to_pylist():
            title = titles.get(row["item_id"], "")
            # Text, so that a title with [brackets] is shown and not taken for a colour.
            texts = (Text(row["item_id"]), Text(title), f"{row['score']:.3f}", Text(row["source"]), Text(row["reason"]))
            table.add_row(str(row["rank"]), *texts)
        console.print(table)


def _print_places(console: Console, storage: Storage, latest: Latest, manifest: dict[str, Any]) -> None:
    run = RunFolder(storage, latest.run_id)
    places = {
        "run": f"{latest.run_id}, model {latest.model_id}",
        "lists": f"{storage.url(latest.path)}/shard-*.parquet",
        "": f"{manifest['users']:,} users, {manifest['rows']:,} rows in {len(manifest['shards'])} files",
        "manifest": storage.url(latest.path, MANIFEST),
        "summary": storage.url(run.metrics_path),
        "report": storage.url(run.report_path),
        "quarantine": storage.url(run.quarantine_dir),
    }
    for name, place in places.items():
        console.print(Text(f"{name:<11}{place}"), soft_wrap=True)


def _parser() -> argparse.ArgumentParser:
    parser = CommandLine(description="Show the published lists of some users.")
    parser.add_argument("--config", required=True, help="the config of the night")
    add_overrides(parser)
    parser.add_argument("--users", type=_positive, default=3, help="how many users, where none is named (default 3)")
    help_ids = "users to show; write -- before ids that begin with -"
    parser.add_argument("user_ids", nargs="*", type=user_id, metavar="USER_ID", help=help_ids)
    return parser


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


if __name__ == "__main__":
    end_process(main)
