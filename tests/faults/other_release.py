"""Nights on a storage in which another release wrote: an older one, and a newer one that was rolled back."""

import hashlib
import shutil

from recsys.pipeline.open_run import stored_run
from recsys.pipeline.run import Run
from recsys.pipeline.stages import FINETUNE, WRITE_LISTS
from recsys.storage import record_kinds
from recsys.storage.filesystem import Storage
from recsys.storage.latest import LATEST, require_latest
from recsys.storage.manifest import MANIFEST, lists_folder
from recsys.storage.runs import RunFolder
from tests.faults.checks import check_output, check_published
from tests.faults.findings import LostError
from tests.faults.older.remake import SETTINGS
from tests.faults.shop import Attempt, Shop
from tests.faults.stored_kinds import OLDER, write_newer

#: Exit code of a job that finds what only a newer release can read.
NEWER = 2
#: Of the night before, in a newer form: the file, its kind, and the exit code of the night that follows.
PUBLISHED = (
    ("{model}/model.json", record_kinds.MODEL_CARD, 0),
    ("{model}/fusion.json", record_kinds.FUSION, 0),
    ("{model}/training.json", record_kinds.TRAINING_PAST, 0),
    ("{run}/config.yaml", record_kinds.STORED_CONFIG, 0),
    ("{run}/start.json", record_kinds.RUN_START, 0),
    ("{run}/published.json", record_kinds.POINTER, 0),
    ("site/summaries/{run_id}.json", record_kinds.NIGHT_SUMMARY, 0),
    ("{lists}/_MANIFEST.json", record_kinds.MANIFEST_RECORD, 0),
    ("{encoder_note}", record_kinds.ENCODER_NOTE, 0),
    (LATEST, record_kinds.POINTER, NEWER),
)
#: Of the night that is not finished.
UNFINISHED = (
    ("{run}/start.json", record_kinds.RUN_START),
    (f"{{run}}/stages/{FINETUNE.name}.json", record_kinds.STAGE),
    (f"{{run}}/stages/{WRITE_LISTS.name}.json", record_kinds.STAGE),
    (f"{{run}}/stages/{WRITE_LISTS.name}/shard-00001.json", record_kinds.STAGE),
)


def night_after_upgrade(shop: Shop, _: int) -> None:
    """Today's night continues the model that an older release published."""
    attempt = shop.attempt("upgrade")
    shutil.copytree(OLDER / "stages", attempt.root)
    model = require_latest(Storage(str(attempt.root))).model_id
    night = attempt.inline(encoder=SETTINGS["encoder"])
    check_output(night, 0)
    latest = check_published(attempt.root)
    run = stored_run(RunFolder(Storage(str(attempt.root)), latest.run_id))
    if run.record(FINETUNE).warm_start != model:
        raise LostError(f"{attempt.root}: the model of the older release was not continued:\n{night.said[-3000:]}")


def num_rollbacks(_: Shop) -> int:
    """Tries of the row of the table."""
    return len(PUBLISHED) + len(UNFINISHED)


def night_after_rollback(shop: Shop, number: int) -> None:
    """A newer release wrote one of the records that tonight reads: the night is published, or names the record."""
    if number > len(PUBLISHED):
        _go_on(shop, *UNFINISHED[number - len(PUBLISHED) - 1])
        return
    place, kind, code = PUBLISHED[number - 1]
    attempt = shop.attempt("rollback", shop.night_before)
    before = _published(attempt)
    path = _place(before, place)
    write_newer(before, path, kind)
    if path.endswith(MANIFEST):
        _point_to(before, path)
    night = attempt.inline()
    check_output(night, code)
    if code == NEWER:
        if path not in night.answer()["error"]:
            raise LostError(f"{attempt.root}: the error does not name {path}: {night.answer()}")
    elif check_published(attempt.root).run_date != shop.today:
        raise LostError(f"{attempt.root}: today's night is not published")


def _go_on(shop: Shop, place: str, kind: record_kinds.RecordKind) -> None:
    """A night that a newer release began goes on, and its lists are those of an undisturbed night."""
    attempt = shop.attempt("rollback", shop.stopped_before("stages/check.json"))
    (folder,) = (attempt.root / "runs").glob(f"{shop.today}-*")
    run = stored_run(RunFolder(Storage(str(attempt.root)), folder.name))
    write_newer(run, _place(run, place), kind)
    check_output(attempt.inline(), 0)
    check_published(attempt.root, expected=shop.expected)


def _published(attempt: Attempt) -> Run:
    storage = Storage(str(attempt.root))
    return stored_run(RunFolder(storage, require_latest(storage).run_id))


def _place(run: Run, place: str) -> str:
    (note,) = run.storage.list("models/scratch-encoders")
    return place.format(
        run=run.folder.dir,
        run_id=run.folder.run_id,
        model=run.model_path(run.published_id),
        lists=lists_folder(run.folder),
        encoder_note=f"models/scratch-encoders/{note}",
    )


def _point_to(run: Run, manifest: str) -> None:
    """Let the pointers have the hash of the changed manifest."""
    digest = hashlib.sha256(run.storage.read_bytes(manifest)).hexdigest()
    for path in (LATEST, f"{run.folder.dir}/published.json"):
        run.storage.write_json(path, run.storage.read_json(path) | {"manifest_sha256": digest})
