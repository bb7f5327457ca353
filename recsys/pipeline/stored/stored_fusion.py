"""A fusion as it is stored beside its model: the weights, and the trees in a file that the weights name by its hash."""

import hashlib
import logging
from dataclasses import fields

from recsys.errors import InputError
from recsys.model.checkpoint import FUSION_FILE, TREES_FILE
from recsys.pipeline.run import Run
from recsys.ranking.fusion import Fusion
from recsys.ranking.trees import Trees
from recsys.signals.registry import columns_of, signals_of
from recsys.storage.json_files import to_json
from recsys.storage.record_kinds import FUSION, FUSION_TREES

logger = logging.getLogger(__name__)

#: In the file of the weights: SHA-256 of the file of the trees; null without trees.
_TREES_HASH = "trees_sha256"
_WAY_OUT = "train the model again with --force"


def write_fusion(run: Run, model_id: str, fusion: Fusion) -> None:
    """Store a fusion beside its model: first the trees, so that weights never name a file that is not there."""
    trees = None if fusion.trees is None else to_json(FUSION_TREES.stamp(fusion.trees.as_dict()))
    if trees is not None:
        run.storage.write_bytes(f"{run.model_path(model_id)}/{TREES_FILE}", trees)
    named = fusion.as_dict() | {_TREES_HASH: None if trees is None else hashlib.sha256(trees).hexdigest()}
    run.storage.write_json(f"{run.model_path(model_id)}/{FUSION_FILE}", FUSION.stamp(named))


def read_fusion(run: Run, model_id: str) -> Fusion:
    """The fusion that was fitted for a model.

    Where a signal that the trees ask for is gone, the weights score alone: they are 0 for what they do not know.

    Raises:
        InputError: the weights or the trees are missing or damaged.
        NewerFormatError: a newer release wrote them.
    """
    path = f"{run.model_path(model_id)}/{FUSION_FILE}"
    if not run.storage.exists(path):
        raise InputError(
            f"{run.storage.url(path)}: is missing; the stage `fuse` writes it: train the model with --force"
        )
    stored = FUSION.decode(run.storage.read_bytes(path), run.storage.url(path), _WAY_OUT)
    expected = stored.get(_TREES_HASH)  # a model of an older version has no trees
    known = {field.name: stored[field.name] for field in fields(Fusion) if field.name in stored}
    return Fusion(**known | {"trees": None if expected is None else _read_trees(run, model_id, expected)})


def copy_fusion(run: Run, model_id: str, to_model_id: str) -> None:
    """Store the same fusion beside another model."""
    for name in (TREES_FILE, FUSION_FILE):
        path = f"{run.model_path(model_id)}/{name}"
        if run.storage.exists(path):
            run.storage.write_bytes(f"{run.model_path(to_model_id)}/{name}", run.storage.read_bytes(path))


def _read_trees(run: Run, model_id: str, expected: str) -> Trees | None:
    path = f"{run.model_path(model_id)}/{TREES_FILE}"
    if not run.storage.exists(path):
        raise InputError(f"{run.storage.url(path)}: is missing; {_WAY_OUT}")
    data = run.storage.read_bytes(path)
    if hashlib.sha256(data).hexdigest() != expected:
        raise InputError(f"{run.storage.url(path)}: is not the file that was written; {_WAY_OUT}")
    stored = FUSION_TREES.decode(data, run.storage.url(path), _WAY_OUT)
    columns = columns_of(signals_of(run.config))
    if gone := Trees.unknown_features(stored, columns):
        logger.warning("%s: its trees ask for %s, which no signal gives: weights score alone", model_id, gone)
        return None
    return Trees.from_dict(stored, columns)
