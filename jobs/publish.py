"""Shows which nights are published, moves LATEST to another one, and deletes nights that no rule keeps.

python jobs/publish.py --config configs/demo.yaml --list
python jobs/publish.py --config configs/demo.yaml --to 2026-11-21-0123456789ab
python jobs/publish.py --config configs/demo.yaml --retain [--dry-run]
"""

from argparse import Namespace
from typing import Any

from rich.table import Table
from rich.text import Text

from jobs import command
from jobs.log_output import console
from recsys.errors import ConfigError
from recsys.pipeline.publishing.retain_nights import retain_nights
from recsys.pipeline.publishing.retention_plan import plan_retention
from recsys.pipeline.publishing.roll_back import roll_back
from recsys.pipeline.publishing.stored_nights import StoredNight, stored_nights
from recsys.pipeline.publishing.write_report import write_index_again
from recsys.settings import Config
from recsys.storage.filesystem import Storage
from recsys.storage.latest import read_latest
from recsys.storage.runs import RunFolder


def publish(config: Config, options: Namespace) -> command.Answer:
    """Do what the options ask for."""
    storage = Storage(config.storage)
    if options.dry_run and not options.retain:
        raise ConfigError("--dry-run: shows what --retain would delete; give --retain, too")
    if options.list:
        return _list(storage, config)
    if options.retain:
        return _retain(storage, config, dry_run=options.dry_run)
    moved = roll_back(storage, options.to)
    return {
        "status": "published",
        "run_id": moved.latest.run_id,
        "path": storage.url(moved.latest.path),
        "model_id": moved.latest.model_id,
        "latest": True,
        "before": moved.before,
    }


def _list(storage: Storage, config: Config) -> command.Answer:
    nights = stored_nights(storage, config.retention)
    _print_nights(storage, nights, config)
    return _latest(storage) | {"status": "listed", "nights": [night.as_json() for night in nights]}


def _retain(storage: Storage, config: Config, *, dry_run: bool) -> command.Answer:
    if not config.retention.is_on:
        raise ConfigError(
            "retention: keep_nights and keep_days are null, so every night stays; set one of them, such as "
            "--set retention.keep_nights=30"
        )
    if dry_run:
        plan = plan_retention(storage, config.retention)
        table = Table("run", "MB", title="what --retain would delete")
        for run in plan.runs:
            table.add_row(run.run.run_id, _mb(run.bytes))
        for folder, size in plan.stores.items():
            table.add_row(folder, _mb(size))
        if table.row_count:
            console.print(table)
        answer: dict[str, Any] = {"status": "planned", "deleted": [run.run.run_id for run in plan.runs]}
        return _latest(storage) | answer | {"bytes": plan.bytes, "kept": sorted(plan.kept)}
    done = retain_nights(storage, config.retention)
    if done.deleted:
        write_index_again(storage)
    return _latest(storage) | {
        "status": "retained",
        "deleted": done.deleted,
        "in_use": done.in_use,
        "bytes": done.bytes,
    }


def _latest(storage: Storage) -> dict[str, Any]:
    latest = read_latest(storage)
    return {} if latest is None else {"run_id": latest.run_id, "path": storage.url(latest.path)}


def _print_nights(storage: Storage, nights: list[StoredNight], config: Config) -> None:
    if not nights:
        console.print(f"No night is published in {storage.root}.", markup=False, highlight=False, soft_wrap=True)
        return
    table = Table(title="published nights", show_edge=False, pad_edge=False)  # so it fits into 80 columns
    for column in ("run", "model", "users", "rows", "MB", "published", "stays"):
        is_number = column in ("users", "rows", "MB")
        whole = column == "run" or is_number  # `--to` takes the whole id of the run
        table.add_column(column, overflow="fold", no_wrap=whole, justify="right" if is_number else "left")
    for night in nights:
        pointer = night.pointer
        counts = (f"{night.users:,}", f"{night.rows:,}", _mb(night.bytes))
        published = pointer.published_at[:16].replace("T", " ")
        stays = "LATEST" if night.is_latest else night.kept or "no"
        table.add_row(
            Text(pointer.run_id),
            Text(_model(RunFolder(storage, pointer.run_id), pointer.model_id)),
            *counts,
            published,
            stays,
        )
    console.print(table)
    if not config.retention.is_on:
        console.print("Every night stays: retention.keep_nights and retention.keep_days are null.")


def _model(run: RunFolder, model_id: str) -> str:
    """The model of a night, in few letters where the night trained it."""
    measured, refit = run.model_ids
    return {measured: "own", refit: "refit"}.get(model_id, model_id)


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f}"


def main() -> int:
    """The command line."""
    description = "Show the published nights, move LATEST to one of them, or delete old ones."
    parser = command.parser(description, dated=False)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--list", action="store_true", help="show the published nights, the oldest first")
    what.add_argument("--to", metavar="RUN_ID", help="check every file of this night, then point LATEST to it")
    what.add_argument("--retain", action="store_true", help="delete the nights that no rule of `retention` keeps")
    parser.add_argument("--dry-run", action="store_true", help="with --retain: show what it would delete")
    return command.run(publish, parser)


if __name__ == "__main__":
    command.end_process(main)
