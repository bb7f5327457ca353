"""The last stage: the manifest, then the pointer. And what is left to do after it: deleting intermediate files."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from recsys.pipeline.list_records import PublishedLists, WrittenShard, WrittenTableFile
from recsys.pipeline.measuring.gate_summary import gate_summary
from recsys.pipeline.publishing.analyst_tables import write_analyst_tables
from recsys.pipeline.publishing.needed_files import needed_files
from recsys.pipeline.run import Run
from recsys.pipeline.stage import Stage
from recsys.pipeline.stages import WRITE_LISTS, WRITE_SIMILAR_ITEMS
from recsys.storage.lease import Lease
from recsys.storage.manifest import (
    PublishedTable,
    Shard,
    TableFile,
    lists_folder,
    write_manifest,
)
from recsys.storage.publish import publish

logger = logging.getLogger(__name__)

#: Fields of records that are of no interest to people.
_INTERNAL = ("parts", "shards", "details")


def publish_lists(run: Run, lease: Lease) -> PublishedLists:
    """Write the manifest of the night's lists and point LATEST to them, in one step.

    Raises:
        LockedError: another process took this night over meanwhile; nothing was published.
    """
    shards = [
        Shard(name=shard.name, rows=shard.rows, users=shard.users, bytes=shard.bytes, sha256=shard.sha256)
        for shard in run.parts(WRITE_LISTS, WrittenShard).values()
    ]
    records = _stage_records(run)
    assert len(shards) == run.record(WRITE_LISTS).shards, "a shard has no record"
    details = {
        "model_id": run.published_id,
        "metrics": _for_people(records),
        "gate": gate_summary(run, publishing=True),
        "config": run.config.model_dump(mode="json"),
        "tables": _other_tables(run) | write_analyst_tables(run, records),
        "needs": needed_files(run.folder),
    }
    lease.check()
    manifest = write_manifest(run.folder, shards, details)
    is_latest = publish(run.folder, manifest, run.published_id)
    if not is_latest:
        logger.warning("a later night is published already: LATEST still points to it; this night is in the history")
    return PublishedLists(
        rows=sum(shard["rows"] for shard in shards),
        path=lists_folder(run.folder),
        latest=is_latest,
        manifest_sha256=manifest,
    )


def _other_tables(run: Run) -> dict[str, PublishedTable]:
    """What is published beside the lists, by the name of the table."""
    if not WRITE_SIMILAR_ITEMS.applies(run.config):
        return {}
    files = run.parts(WRITE_SIMILAR_ITEMS, WrittenTableFile)
    listed = [
        TableFile(name=file.name, rows=file.rows, bytes=file.bytes, sha256=file.sha256)
        for _, file in sorted(files.items())
    ]
    return {"similar_items": PublishedTable(path=run.record(WRITE_SIMILAR_ITEMS).path, files=listed)}


def delete_intermediate_files(run: Run, stages: Iterable[Stage[Any]]) -> None:
    """Delete what no stage reads after the lists are published."""
    for folder in intermediate_folders(run, stages):
        run.storage.delete_folder(folder)


def intermediate_folders(run: Run, stages: Iterable[Stage[Any]]) -> list[str]:
    """Folders that no stage needs after the lists are published, sorted."""
    return sorted({f"{run.folder.dir}/{folder}" for stage in stages for folder in stage.intermediate})


def stage_metrics(run: Run) -> dict[str, dict[str, Any]]:
    """The stored records of the finished stages by name, as plain values for people."""
    return _for_people(_stage_records(run))


def _for_people(records: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        name: {key: value for key, value in record.items() if key not in _INTERNAL} for name, record in records.items()
    }


def _stage_records(run: Run) -> dict[str, dict[str, Any]]:
    """The stored records of the finished stages by name."""
    names = [name.removesuffix(".json") for name in run.storage.list(run.folder.stages_dir) if name.endswith(".json")]
    records = {name: run.folder.done(name) for name in names}
    return {name: record for name, record in records.items() if record is not None}
