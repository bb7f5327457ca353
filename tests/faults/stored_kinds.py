"""Each kind of stored records, as an older release wrote it and as a newer one may."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from recsys.errors import NewerFormatError
from recsys.model.config import COMPRESSED, OTHER_STORAGE
from recsys.model.file_hashes import verify_hashes
from recsys.model.onnx_encoder import EXPORT_FILE, read_export
from recsys.pipeline.encoders.compressed_encoder import STORE, read_note
from recsys.pipeline.encoders.encoder_figures import figures_path, read_figures
from recsys.pipeline.encoders.encoder_variants import FULL, EncoderVariant
from recsys.pipeline.encoders.transfer_encoder import taken_folder
from recsys.pipeline.inputs.feedback_index import INDEX_PATH, read_index
from recsys.pipeline.inputs.validated_files import VALIDATED, Ledger
from recsys.pipeline.inputs.validated_uses import read_use
from recsys.pipeline.model_records import WARM_START
from recsys.pipeline.open_run import stored_run
from recsys.pipeline.publishing.write_report import read_summaries
from recsys.pipeline.run import Run
from recsys.pipeline.stages import FINETUNE
from recsys.pipeline.start_run import read_start
from recsys.pipeline.stored.published_model import model_card
from recsys.pipeline.stored.stored_fusion import read_fusion
from recsys.pipeline.training.training_budget import read_past
from recsys.storage import record_kinds
from recsys.storage.filesystem import Storage
from recsys.storage.latest import LATEST, require_latest
from recsys.storage.manifest import MANIFEST, decode_manifest, lists_folder
from recsys.storage.publish import published
from recsys.storage.record_kinds import FORMAT_VERSION, RecordKind
from recsys.storage.runs import RunFolder
from tests.faults.findings import LostError, TracebackError
from tests.faults.shop import Shop

OLDER = Path(__file__).parent / "older"


def copy_of(name: str, folder: Path) -> Run:
    """The published run of a copy of an older release's storage."""
    storage = Storage(str(shutil.copytree(OLDER / name, folder / "warehouse")))
    return stored_run(RunFolder(storage, require_latest(storage).run_id))


@dataclass(frozen=True)
class Stored:
    """One kind of records: where a night has one, and how it is read."""

    kind: RecordKind
    path: Callable[[Run], str]
    read: Callable[[Run], object]
    redone: bool = False
    """Whether a newer record is work to do again. Otherwise it is an error."""
    older: bool = True
    """Whether the older night has such a record."""

    def __str__(self) -> str:
        return f"{self.kind.name}, done again" if self.redone else self.kind.name


def _taken(run: Run) -> str:
    return taken_folder(
        run.storage, run.config.encoder.model_copy(update={"model": OTHER_STORAGE + "x", "revision": "m"})
    )


def _figures(run: Run) -> str:
    return figures_path(run, EncoderVariant(name=FULL), None)


def _note(_: Run) -> str:
    name = hashlib.sha256(f"{OTHER_STORAGE}x\nm".encode()).hexdigest()[:32]
    return f"models/transferred-encoders/{name}.json"


def _validated(run: Run) -> object:
    return Ledger(run.storage, "0").read("a")


def _manifest(run: Run) -> str:
    return f"{lists_folder(run.folder)}/{MANIFEST}"


KINDS = (
    Stored(record_kinds.POINTER, lambda _: LATEST, lambda run: require_latest(run.storage)),
    Stored(
        record_kinds.POINTER,
        lambda run: f"{run.folder.dir}/published.json",
        lambda run: published(run.storage, run.folder.run_id),
    ),
    Stored(
        record_kinds.MANIFEST_RECORD,
        _manifest,
        lambda run: decode_manifest(run.storage.read_bytes(_manifest(run)), run.storage.url(_manifest(run))),
    ),
    Stored(record_kinds.STORED_CONFIG, lambda run: run.folder.config_path, lambda run: stored_run(run.folder)),
    Stored(
        record_kinds.MODEL_CARD,
        lambda run: f"{run.model_path()}/model.json",
        lambda run: model_card(run, run.model_id),
    ),
    Stored(
        record_kinds.FUSION,
        lambda run: f"{run.model_path()}/fusion.json",
        lambda run: read_fusion(run, run.model_id),
    ),
    Stored(
        record_kinds.FUSION_TREES,
        lambda run: f"{run.model_path()}/fusion_trees.json",
        lambda run: read_fusion(run, run.model_id),
        older=False,
    ),
    Stored(
        record_kinds.FILE_HASHES,
        lambda run: f"{run.model_path()}/hashes.json",
        lambda run: verify_hashes(Path(run.storage.path(run.model_path()))),
        older=False,
    ),
    Stored(record_kinds.ENCODER_NOTE, _note, _taken, older=False),
    Stored(
        record_kinds.COMPRESSED_NOTE,
        lambda _: f"{STORE}/vocabulary-0.json",
        lambda run: read_note(run.storage, f"{COMPRESSED}vocabulary-0"),
        older=False,
    ),
    Stored(
        record_kinds.COMPRESSED_FIGURES,
        _figures,
        lambda run: read_figures(run, _figures(run)),
        redone=True,
        older=False,
    ),
    Stored(
        record_kinds.ENCODER_EXPORT,
        lambda _: f"models/encoder-a-onnx/{EXPORT_FILE}",
        lambda run: read_export(Path(run.storage.path("models/encoder-a-onnx"))),
        older=False,
    ),
    Stored(record_kinds.FEEDBACK_INDEX, lambda _: INDEX_PATH, lambda run: read_index(run.storage), older=False),
    Stored(
        record_kinds.STAGE,
        lambda run: run.folder.stage_path(FINETUNE.name),
        lambda run: run.record(FINETUNE),
    ),
    Stored(
        record_kinds.STAGE,
        lambda run: run.folder.stage_path(FINETUNE.name),
        lambda run: run.done(FINETUNE),
        redone=True,
    ),
    Stored(
        record_kinds.STAGE,
        lambda run: run.folder.part_path(FINETUNE.name, WARM_START),
        lambda run: run.warm_start,
        redone=True,
    ),
    Stored(record_kinds.RUN_START, lambda run: run.folder.start_path, lambda run: read_start(run.folder), redone=True),
    Stored(
        record_kinds.TRAINING_PAST,
        lambda run: f"{run.model_path()}/training.json",
        lambda run: read_past(run, run.model_id),
        redone=True,
    ),
    Stored(
        record_kinds.VALIDATED_FILE,
        lambda _: f"{VALIDATED}/0/a.json",
        _validated,
        redone=True,
        older=False,
    ),
    Stored(
        record_kinds.LEDGER_USE,
        lambda _: f"{VALIDATED}/nights/a.json",
        lambda run: read_use(run.storage, f"{VALIDATED}/nights/a.json"),
        redone=True,
        older=False,
    ),
    Stored(
        record_kinds.NIGHT_SUMMARY,
        lambda run: f"site/summaries/{run.folder.run_id}.json",
        lambda run: next(iter(read_summaries(run.storage)), None),
        redone=True,
        older=False,
    ),
)


def write_newer(run: Run, path: str, kind: RecordKind) -> None:
    """Turn a record into one of a newer release, with a field that this one does not know."""
    newer = kind.version + 1
    if path.endswith(".yaml"):
        run.storage.write_bytes(path, f"# {FORMAT_VERSION}: {newer}\n".encode() + run.storage.read_bytes(path))
        return
    stored = run.storage.read_json(path) if run.storage.exists(path) else {}
    run.storage.write_json(path, stored | {FORMAT_VERSION: newer, "moon": {"phase": 1}})
    if path.endswith("fusion_trees.json"):
        fusion = f"{run.model_path()}/fusion.json"
        digest = hashlib.sha256(run.storage.read_bytes(path)).hexdigest()
        run.storage.write_json(fusion, run.storage.read_json(fusion) | {"trees_sha256": digest})


def num_kinds(_: Shop) -> int:
    """Tries of the row of the table."""
    return len(KINDS)


def read_kind(_: Shop, number: int) -> None:
    """Read one kind of an older release, then in the form of a newer one."""
    stored = KINDS[number - 1]
    with TemporaryDirectory() as folder:
        run = copy_of("stages", Path(folder))
        if stored.older and stored.read(run) is None:
            raise LostError(f"{stored}: the record of an older release is not read")
        write_newer(run, stored.path(run), stored.kind)
        try:
            found = stored.read(run)
        except NewerFormatError:
            if stored.redone:
                raise TracebackError(f"{stored}: a newer form is work to do again, and no error") from None
            return
        except Exception as error:
            raise TracebackError(f"{stored}: a newer form gives {error!r}") from error
        if found is not None:
            raise LostError(f"{stored}: a newer form is read as if it were known")
