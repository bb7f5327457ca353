"""The published nights of a storage with their sizes, and whether retention keeps them: for people."""

from dataclasses import dataclass
from typing import Any

from recsys.pipeline.publishing.retention_plan import plan_retention, run_size
from recsys.storage.config import RetentionConfig
from recsys.storage.filesystem import Storage
from recsys.storage.latest import Latest
from recsys.storage.manifest import read_manifest
from recsys.storage.nights import published_runs
from recsys.storage.read_together import read_together
from recsys.storage.runs import RunFolder


@dataclass(frozen=True, kw_only=True)
class StoredNight:
    """A published night."""

    pointer: Latest
    users: int
    rows: int
    bytes: int
    """Of its files, without vectors of texts, which nights share."""
    is_latest: bool
    """Whether LATEST names it."""
    kept: str
    """Why the next retention keeps it; empty: it deletes it."""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "run_date": self.pointer.run_date.isoformat(),
            "run_id": self.pointer.run_id,
            "model_id": self.pointer.model_id,
            "published_at": self.pointer.published_at,
            "users": self.users,
            "rows": self.rows,
            "bytes": self.bytes,
            "latest": self.is_latest,
            "kept": self.kept,
        }


def stored_nights(storage: Storage, settings: RetentionConfig) -> list[StoredNight]:
    """Every published run, oldest first.

    Raises:
        InputError: LATEST, a receipt or a manifest is damaged.
    """
    plan = plan_retention(storage, settings)

    def look_at(pointer: Latest) -> StoredNight:
        manifest = read_manifest(storage, pointer)
        return StoredNight(
            pointer=pointer,
            users=manifest["users"],
            rows=manifest["rows"],
            bytes=run_size(RunFolder(storage, pointer.run_id)),
            is_latest=plan.latest is not None and plan.latest.run_id == pointer.run_id,
            kept=plan.kept.get(pointer.run_id, ""),
        )

    return read_together(look_at, published_runs(storage))
