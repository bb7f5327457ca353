"""Where a stage of a run reads and writes, below the storage root."""

from collections.abc import Iterable

from recsys.pipeline.run import Run
from recsys.storage.manifest import lists_folder, table_folder


def places(run: Run, paths: Iterable[str]) -> list[str]:
    """Paths of a stage's declaration as this run has them, below the storage root."""
    own = {
        "run": run.folder.dir,
        "histories": run.folder.histories_dir,
        "model": run.model_path(),
        "refit": run.model_path(run.refit_id),
        "lists": lists_folder(run.folder),
        "similar_items": table_folder(run.folder, "similar_items"),
    }
    return [path.format_map(own) for path in paths]
