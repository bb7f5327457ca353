"""The stage table: what each stage of a night does, reads and writes, and where its code is."""

from collections.abc import Iterable

from markdown_table import cell, in_blocks, table

from jobs.nightly import NIGHT

INTRO = """\
# Stages of a night

A night runs these stages in this order. Each stage runs once: its record is stored in `runs/<run_id>/stages/`, and a
second start of the same night skips it. `python jobs/nightly.py --config configs/demo.yaml --dry-run` prints the stages
of your config with their workers.

Paths are below the storage. Entries such as `inputs.events` are keys of the config.

"""

#: What the placeholders of `Stage.reads` and `Stage.writes` stand for.
PLACES = {
    "run": "runs/<run_id>",
    "histories": "histories/<run_id>",
    "model": "models/<model_id>",
    "refit": "models/<refit model_id>",
    "lists": "recommendations/run_date=<date>/run_id=<run_id>",
    "similar_items": "similar_items/run_date=<date>/run_id=<run_id>",
}


def page() -> str:
    """Markdown: one table of all stages."""
    rows = [
        (
            f"`{stage.name}`",
            cell(stage.summary) + (f" Only {cell(stage.condition.words)}." if stage.condition else ""),
            _paths(stage.reads),
            _paths(stage.writes),
            f"`{stage.function.replace(':', '.')}`",
        )
        for stage in NIGHT
    ]
    return INTRO + in_blocks(table(("stage", "what it does", "reads", "writes", "code"), rows), "blocks stages")


def _paths(paths: Iterable[str]) -> str:
    return ", ".join(f"`{path.format_map(PLACES)}`" for path in paths) or "–"
