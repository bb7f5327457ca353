"""The plan of a night for `--dry-run`: its inputs with their sizes, and its stages with what they write."""

from collections.abc import Iterable
from operator import attrgetter
from typing import Any

from rich.markup import escape
from rich.table import Table

from jobs.command import console
from recsys.data.config import TableInput
from recsys.data.estimates import estimate_rows
from recsys.evaluation.list_checks import CHECKS
from recsys.pipeline.gate_summary import QUALITY
from recsys.pipeline.input_list import list_input
from recsys.pipeline.run import Run
from recsys.pipeline.stage import Stage
from recsys.settings import Config
from recsys.storage.addresses import open_input
from recsys.storage.manifest import lists_folder


def print_plan(run: Run, stages: Iterable[Stage[Any]]) -> None:
    """Print what a night would do. Reads the names, sizes and samples of the input files, and writes nothing."""
    config = run.config
    console.print(f"run [bold]{run.folder.run_id}[/], events before {run.end:%Y-%m-%d %H:%M} UTC", highlight=False)
    inputs = Table(title="inputs")
    for column in ("input", "path", "files", "bytes", "rows (about)"):
        inputs.add_column(column, overflow="fold")
    sources: dict[str, TableInput | None] = {
        "events": config.inputs.events,
        "items": config.inputs.items,
        "users": config.inputs.users,
    }
    for name, source in sources.items():
        if source is None:
            continue
        files, num_bytes, rows = _size(source)
        inputs.add_row(name, escape(source.path), f"{files:,}", f"{num_bytes:,}", f"{rows:,}")
    console.print(inputs)
    console.print(_stage_table(run, stages))
    console.print(_gate_table(config))
    console.print("[bold]resolved config[/]")
    console.print(config.to_yaml(), markup=False, highlight=False)


def _size(source: TableInput) -> tuple[int, int, int]:
    files = list_input(source)
    fs, _ = open_input(source.path)
    return len(files), sum(file.size for file in files), estimate_rows(fs, files, source.format)


def _stage_table(run: Run, stages: Iterable[Stage[Any]]) -> Table:
    table = Table(title="stages")
    for column in ("stage", "workers", "work", "writes"):
        table.add_column(column, overflow="fold")
    for stage in stages:
        if stage.applies(run.config):
            writes = "\n".join(run.storage.url(place.rstrip("/")) for place in places(run, stage.writes)) or "—"
            table.add_row(stage.name, stage.workers(run.config), stage.summary, escape(writes))
    return table


def _gate_table(config: Config) -> Table:
    """The gates that a night passes before it is published, and their limits."""
    table = Table(title="gates")
    for column in ("gate", "refused unless", "config key"):
        table.add_column(column, overflow="fold")
    metric, tolerance = config.gate.metric, f"{config.gate.tolerance:.1%}"
    rivals = f"popularity, nor {tolerance} below the published model"
    table.add_row(QUALITY, f"{metric} is not significantly below {rivals}", "gate.tolerance")
    for check in CHECKS:
        limit = attrgetter(check.threshold)(config)
        table.add_row(check.name, "off" if limit is None else f"{check.kind} {limit:.1%}", check.threshold)
    return table


def places(run: Run, paths: Iterable[str]) -> list[str]:
    """Paths of a stage's declaration as this run has them, below the storage root."""
    own = {
        "run": run.folder.dir,
        "histories": run.folder.histories_dir,
        "model": run.model_path(),
        "refit": run.model_path(run.refit_id),
        "lists": lists_folder(run.folder),
    }
    return [path.format_map(own) for path in paths]
