"""What a stored run needs besides its own files: models and the vectors of text encoders.

Records are read as plain values, so that a run of any older version can be asked.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from recsys.errors import InputError, one_line
from recsys.pipeline.model_records import WARM_START
from recsys.pipeline.stages import ENCODE_TEXTS, ENRICH_ITEMS, ENRICH_USERS, FINETUNE, LEARN_BASKETS, REENCODE
from recsys.storage.filesystem import Storage
from recsys.storage.manifest import MANIFEST, decode_manifest, lists_folder
from recsys.storage.publish import deletion_mark
from recsys.storage.read_together import read_together
from recsys.storage.record_kinds import MODEL_CARD, STAGE, RecordKind
from recsys.storage.runs import RunFolder, run_folders


@dataclass(frozen=True, slots=True)
class References:
    """What some runs need."""

    models: frozenset[str]
    """Ids."""
    encoders: frozenset[str]
    """Digests, by which text vectors are stored."""
    writers: frozenset[str] = frozenset()
    """Digests of back ends with their prompts, by which written texts are stored."""


def references(runs: Iterable[RunFolder], published_models: Iterable[str] = ()) -> References:
    """The models and the encoders that runs need: to answer, to be measured, and to be continued by the next night.

    Those are their own models, the models that made their lists, those that their training continued, those of the
    arms of their experiments, and what a refit is based on.

    Args:
        runs: Of one storage.
        published_models: Models that LATEST and receipts name.

    Raises:
        InputError, ConfigError: a record is damaged, so that nobody can tell what a run needs.
        NewerFormatError: a newer release wrote one.
    """
    runs = list(runs)
    models, encoders, writers = set(published_models), set[str](), set[str]()
    for named in read_together(_named_by, runs):
        models |= named.models
        encoders |= named.encoders
        writers |= named.writers
    waiting = sorted(models)
    while runs and waiting:
        card = _record(runs[0].storage, f"models/{waiting.pop()}/model.json", MODEL_CARD)
        encoders |= {card[name] for name in ("encoder_id", "base_encoder_id") if card.get(name)}
        if (base := card.get("base")) and base not in models:
            models.add(base)
            waiting.append(base)
    return References(models=frozenset(models), encoders=frozenset(encoders), writers=frozenset(writers))


def run_that_needs(run: RunFolder) -> str | None:
    """Id of another run that needs a model of this run; None: no other does, or this run has no model.

    All other runs are asked but those whose deletion was begun.

    Raises:
        As `references`.
    """
    models = frozenset(model for model in run.model_ids if run.storage.list(f"models/{model}"))
    if not models:
        return None  # as at nearly every start of a night, which so reads no records of other nights
    others = [other for other in run_folders(run.storage) if other != run]
    others = [other for other in others if not run.storage.exists(deletion_mark(other))]
    if models.isdisjoint(references(others).models):
        return None
    return next(other.run_id for other in others if not models.isdisjoint(references([other]).models))


def _named_by(run: RunFolder) -> References:
    """What a run names itself."""
    paths = (run.stage_path(stage.name) for stage in (ENCODE_TEXTS, LEARN_BASKETS, REENCODE))
    records = [_record(run.storage, path, STAGE) for path in paths]
    written = [_record(run.storage, run.stage_path(stage.name), STAGE) for stage in (ENRICH_ITEMS, ENRICH_USERS)]
    return References(
        models=frozenset({*run.model_ids, *_continued(run), *arm_models(run)}),
        encoders=frozenset(record["encoder_id"] for record in records if "encoder_id" in record),
        writers=frozenset(record["writer_id"] for record in written if "writer_id" in record),
    )


def _continued(run: RunFolder) -> Iterator[str]:
    start = _record(run.storage, run.part_path(FINETUNE.name, WARM_START), STAGE)
    yield from (start[name] for name in ("model_id", "reused_refit") if start.get(name))


def arm_models(run: RunFolder) -> list[str]:
    """Ids of the models that the experiments of the run's config name.

    Raises:
        InputError, ConfigError: the config is damaged.
        NewerFormatError: a newer release wrote it.
    """
    try:
        return [
            arm["model"]
            for experiment in _settings(run).get("experiments") or ()
            for arm in experiment["arms"]
            if arm.get("model")
        ]
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(
            f"{run.storage.url(run.config_path)}: its experiments are damaged ({one_line(error)}), so nobody can tell "
            f"which models the run needs; restore it, or delete the run"
        ) from error


def _settings(run: RunFolder) -> Mapping[str, Any]:
    """The config as it is stored: of a published run in its manifest, which is read faster than YAML."""
    path = f"{lists_folder(run)}/{MANIFEST}"
    try:
        manifest = decode_manifest(run.storage.read_bytes(path), run.storage.url(path))
    except FileNotFoundError:
        manifest = {}
    if manifest.get("config"):
        return dict(manifest["config"])
    try:
        return run.read_config()
    except FileNotFoundError:
        return {}


def _record(storage: Storage, path: str, kind: RecordKind) -> Mapping[str, Any]:
    """A stored record; empty where it is missing."""
    try:
        data = storage.read_bytes(path)
    except FileNotFoundError:
        return {}
    return kind.decode(data, storage.url(path))
