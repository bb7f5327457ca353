"""Copies of a real night under other dates: what the shop would have after many nights in which nothing changed."""

import datetime as dt
import hashlib
import json
from pathlib import Path

from recsys.pipeline.publishing.needed_files import needed_files
from recsys.storage.filesystem import Storage
from recsys.storage.json_files import to_json
from recsys.storage.latest import LATEST
from recsys.storage.manifest import MANIFEST, lists_folder
from recsys.storage.publish import receipt_path
from recsys.storage.runs import RunFolder

_TEXTS = (".json", ".yaml", ".html", ".md")


def clone_night(source: Path, run_id: str, root: Path, date: dt.date, *, continues: str | None = None) -> RunFolder:
    """Publish a copy of a night, in the night after the new date.

    Args:
        source: Storage of the night.
        run_id: Of the night.
        root: Storage of the copy.
        date: Of the copy.
        continues: Id of the run whose model the copy continued; None: of none.
    """
    run = RunFolder(Storage(str(root)), date.isoformat() + run_id[10:])

    def renamed(text: str) -> str:
        return text.replace(run_id, run.run_id).replace(f"run_date={run_id[:10]}", f"run_date={date}")

    for file in source.rglob("*"):
        path = file.relative_to(source).as_posix()
        if not file.is_file() or run_id not in path or (path.startswith("items/") and (root / "items").exists()):
            continue
        target = root / renamed(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(renamed(file.read_text()).encode() if file.suffix in _TEXTS else file.read_bytes())
    if continues is not None:
        start = root / run.dir / "stages/finetune/start.json"
        start.write_text(json.dumps(json.loads(start.read_text()) | {"model_id": f"ranker-{continues}"}))
    manifest_path = root / lists_folder(run) / MANIFEST
    manifest = json.loads(manifest_path.read_text()) | {"run_date": date.isoformat(), "needs": needed_files(run)}
    manifest_path.write_bytes(to_json(manifest))
    receipt = json.loads((root / receipt_path(run)).read_text()) | {
        "run_date": date.isoformat(),
        "published_at": published_at(date).isoformat(),
        "manifest_sha256": hashlib.sha256(manifest_path.read_bytes()).hexdigest(),
    }
    for path in (receipt_path(run), LATEST):
        (root / path).write_bytes(to_json(receipt))
    return run


def published_at(date: dt.date) -> dt.datetime:
    """When the copy of a date was published: at 2:30 on the next day."""
    return dt.datetime.combine(date, dt.time(2, 30), tzinfo=dt.UTC) + dt.timedelta(days=1)
