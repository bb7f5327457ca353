"""The declared stages as a table for the documentation, and their places for the plan of a run."""

from collections.abc import Iterable, Sequence
from typing import Any

from recsys.pipeline.run import Run
from recsys.pipeline.stage import Stage
from recsys.storage.publish import lists_folder

#: What the placeholders of `Stage.reads` and `Stage.writes` stand for.
_SHOWN = {
    "run": "runs/<run_id>",
    "histories": "histories/<run_id>",
    "model": "models/<model_id>",
    "refit": "models/<model_id>-refit",
    "lists": "recommendations/run_date=<date>/run_id=<run_id>",
}


def stage_rows(stages: Iterable[Stage[Any]]) -> list[str]:
    """The lines of a Markdown table: name, what the stage does, what it reads, what it writes, and its module."""
    rows = ["| stage | what it does | reads | writes | code |", "| --- | --- | --- | --- | --- |"]
    for stage in stages:
        summary = stage.summary + (f" Only {stage.condition.words}." if stage.condition else "")
        module = stage.function.partition(":")[0]
        cells = (f"`{stage.name}`", summary, _code(stage.reads), _code(stage.writes), f"`{module}`")
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def places(run: Run, paths: Iterable[str]) -> list[str]:
    """Paths of a declaration as the run has them, below the storage root."""
    own = {
        "run": run.folder.dir,
        "histories": run.folder.histories_dir,
        "model": run.model_path(),
        "refit": run.model_path(run.refit_id),
        "lists": lists_folder(run.folder),
    }
    return [path.format_map(own) for path in paths]


def _code(paths: Sequence[str]) -> str:
    return ", ".join(f"`{path.format_map(_SHOWN)}`" for path in paths) or "—"
