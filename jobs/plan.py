"""The plan of a night for `--dry-run`: its inputs with their sizes, and its stages with what they write."""

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from rich.markup import escape
from rich.table import Table

from jobs.log_output import console
from recsys.evaluation.list_checks import CHECKS
from recsys.pipeline.doctor.estimate_stages import REFERENCE, StageCost, estimate_stage, last_nights
from recsys.pipeline.inputs.input_list import InputName
from recsys.pipeline.inputs.input_sizes import InputSize, input_sizes
from recsys.pipeline.measuring.gate_summary import QUALITY
from recsys.pipeline.run import Run
from recsys.pipeline.stage import Stage
from recsys.pipeline.stage_places import places
from recsys.pipeline.stage_progress import duration
from recsys.settings import Config


def print_plan(run: Run, stages: Iterable[Stage[Any]]) -> None:
    """Print what a night would do. Reads the names, sizes and samples of the input files, and writes nothing."""
    config = run.config
    console.print(f"run [bold]{run.folder.run_id}[/], events before {run.end:%Y-%m-%d %H:%M} UTC", highlight=False)
    console.print(f"storage {escape(run.storage.root)}", highlight=False, soft_wrap=True)
    inputs = Table(title="inputs")
    for column in ("input", "path", "files", "bytes", "rows (about)"):
        inputs.add_column(column, overflow="fold")
    sizes = input_sizes(config)
    for name, size in sizes.items():
        inputs.add_row(name, escape(size.source.path), f"{size.files:,}", f"{size.bytes:,}", f"{size.rows:,}")
    console.print(inputs)
    stages = [stage for stage in stages if stage.applies(config)]
    console.print(_stage_table(run, stages))
    console.print(_gate_table(config))
    console.print(_cost_table(run, stages, sizes))
    console.print("[bold]resolved config[/]")
    console.print(config.to_yaml(), markup=False, highlight=False)


def _stage_table(run: Run, stages: Iterable[Stage[Any]]) -> Table:
    """The stages; what they write is named below the storage, as in docs/operations.md."""
    table = Table(title="stages")
    for column in ("stage", "workers", "work", "writes below storage"):
        table.add_column(column, overflow="fold")
    for stage in stages:
        folders = (place.rstrip("/").replace(run.folder.run_id, "<run_id>") for place in places(run, stage.writes))
        writes = "\n".join(folders) or "—"
        table.add_row(stage.name, stage.workers(run.config), stage.summary, escape(writes))
    return table


def _cost_table(run: Run, stages: Sequence[Stage[Any]], sizes: Mapping[InputName, InputSize]) -> Table:
    """About what each stage takes, and where the figures come from."""
    nights = last_nights(run, stages)
    events, items = sizes["events"].rows if "events" in sizes else 0, sizes["items"].rows
    costs = {stage.name: estimate_stage(stage.name, nights, events, items) for stage in stages}
    known = [cost for cost in costs.values() if cost is not None]
    table = Table(title="about what it takes", show_footer=True, caption=_sources_of(known), caption_justify="left")
    total = sum(cost.seconds for cost in known)
    table.add_column("estimated", footer="all")
    table.add_column("time", justify="right", footer=duration(total))
    table.add_column("memory MB", justify="right", footer=f"{max(cost.peak_memory_mb for cost in known):,.0f}")
    table.add_column("storage MB", justify="right", footer=f"{sum(cost.stored_bytes for cost in known) / 1e6:,.1f}")
    table.add_column("measured in")
    for name, cost in costs.items():
        if cost is None:
            table.add_row(name, "unknown", "unknown", "unknown", "no night")
        else:
            memory, stored = f"{cost.peak_memory_mb:,.0f}", f"{cost.stored_bytes / 1e6:,.1f}"
            table.add_row(name, duration(cost.seconds), memory, stored, cost.measured)
    return table


def _sources_of(costs: Iterable[StageCost]) -> str:
    words = "Scaled to the rows of the inputs. Memory is that of the largest process."
    if any(cost.measured == REFERENCE.name for cost in costs):
        size = f"{REFERENCE.events:,} events and {REFERENCE.items:,} items"
        words += (
            f" {REFERENCE.name}: one of {size} on two CPU cores, where no night of this storage has the stage, or only "
            f"much smaller ones have it."
        )
    return words


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
        wanted = check.sentence.format(value=f"{check.kind} {limit or 0:.1%}", fault="", before="the night before")
        table.add_row(check.name, "off" if limit is None else wanted, check.threshold)
    return table
