"""The last stage: the manifest, then the pointer; and the tidying of what only the running night needed."""

import logging
from typing import Any

from recsys.pipeline.run import Record, Run
from recsys.storage.lease import Lease
from recsys.storage.publish import Shard, lists_folder, publish, write_manifest

logger = logging.getLogger(__name__)


def publish_night(run: Run, lease: Lease) -> Record:
    """Write the manifest of the night's lists and move LATEST to them, in one step.

    Raises:
        LockedError: another run took over this night meanwhile; nothing was published.
    """
    parts = run.folder.parts("recommend")
    shards: list[Shard] = [
        {key: record[key] for key in ("name", "rows", "users", "bytes", "sha256")}  # type: ignore[misc]
        for record in parts.values()
    ]
    details: dict[str, Any] = {
        "model_id": run.published_id,
        "metrics": stage_metrics(run),
        "gate": run.record("gate")["details"],
        "config": run.config.model_dump(mode="json"),
    }
    lease.check()
    manifest = write_manifest(run.folder, run.date, shards, details)
    is_latest = publish(run.folder, manifest, run.published_id)
    if not is_latest:
        logger.warning("a later night is published already: LATEST stays there, this one is in the history of nights")
    return {
        "rows": sum(shard["rows"] for shard in shards),
        "path": lists_folder(run.folder),
        "latest": is_latest,
        "manifest_sha256": manifest,
    }


def tidy(run: Run) -> None:
    """Drop what a finished night needs no more: parts of the ingest, texts in flight, training checkpoints."""
    for folder in ("events", "versions", "item_counts", "texts", "user_texts", "train", "transition_counts", "fusion"):
        run.storage.delete_folder(f"{run.folder.dir}/{folder}")


def stage_metrics(run: Run) -> dict[str, Record]:
    """The records of the stages that are done, without the parts' own paths."""
    names = [name.removesuffix(".json") for name in run.storage.list(run.folder.stages_dir) if name.endswith(".json")]
    records = {name: run.folder.done(name) for name in names}
    return {
        name: {key: value for key, value in record.items() if key not in ("parts", "shards", "details")}
        for name, record in records.items()
        if record is not None
    }
