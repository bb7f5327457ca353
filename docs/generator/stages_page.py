"""The stage table: what each stage of a night does, reads and writes."""

from markdown_table import cell, table

from jobs.nightly import NIGHT
from recsys.settings import Config

INTRO = """\
# Stages of a night

A night runs these stages in this order. Each stage runs once: its record is stored in `runs/<run_id>/stages/`, and a second
start of the same night skips it. `python jobs/nightly.py --config configs/demo.yaml --dry-run` prints the stages of your config.

Paths are below the storage. `{run}` is `runs/<run_id>`, `{histories}` is `histories/<run_id>`, `{model}` and `{refit}` are
folders in `models/`, and `{lists}` is the folder of the lists in `recommendations/`. Entries such as `inputs.events` are
keys of the config.

"""


def page(config: Config) -> str:
    """Markdown: one table of all stages. `config` says how many workers a night with default settings has."""
    rows = [
        (
            f"`{stage.name}`",
            cell(stage.summary) + (f" Only {cell(stage.condition.words)}." if stage.condition else ""),
            _paths(stage.reads),
            _paths(stage.writes),
            stage.workers(config),
        )
        for stage in NIGHT
    ]
    return INTRO + table(("stage", "what it does", "reads", "writes", "workers"), rows, stacked="stages")


def _paths(paths: tuple[str, ...]) -> str:
    return "<br>".join(f"`{path}`" for path in paths) or "–"
