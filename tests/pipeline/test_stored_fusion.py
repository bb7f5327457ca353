"""A fusion is read as it was written, and what was damaged since is refused."""

import dataclasses
import logging
from pathlib import Path

import pytest

from recsys.errors import InputError
from recsys.model.checkpoint import FUSION_FILE, TREES_FILE
from recsys.pipeline.run import Run
from recsys.pipeline.stored.stored_fusion import copy_fusion, read_fusion, write_fusion
from recsys.ranking.fusion import Fusion
from recsys.settings import decode_config
from recsys.signals.registry import columns_of, usual_signals
from recsys.storage.filesystem import Storage
from recsys.storage.runs import RunFolder
from tests.ranking.random_trees import random_trees

WEIGHTS = Fusion(weights={"retrieval": 1.0}, short={"text": 0.5}, typical_length=4)
TREES = random_trees(columns_of(usual_signals()))
BOTH = dataclasses.replace(WEIGHTS, trees=TREES)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    inputs = {"events": {"path": "x"}, "items": {"path": "y", "text": "{title}"}}
    folder = RunFolder(Storage(str(tmp_path)), "2026-11-22-0123456789ab")
    return Run(config=decode_config({"inputs": inputs}), date=folder.date, folder=folder)


def test_a_fusion_is_read_as_it_was_written(run: Run) -> None:
    write_fusion(run, "plain", WEIGHTS)
    assert read_fusion(run, "plain") == WEIGHTS
    assert not run.storage.exists(f"models/plain/{TREES_FILE}")
    write_fusion(run, "both", BOTH)
    copy_fusion(run, "both", "copy")
    for model in ("both", "copy"):
        found = read_fusion(run, model)
        assert found.trees is not None
        assert found.trees.as_dict() == TREES.as_dict()
        assert dataclasses.replace(found, trees=None) == WEIGHTS


def test_a_fusion_without_trees_replaces_one_with_trees(run: Run) -> None:
    """As where the gate gives the whole weight to popularity."""
    write_fusion(run, "model", BOTH)
    write_fusion(run, "model", WEIGHTS)
    assert read_fusion(run, "model") == WEIGHTS


def test_a_fusion_of_a_version_without_trees_is_read(run: Run) -> None:
    run.storage.write_json(f"models/old/{FUSION_FILE}", WEIGHTS.as_dict())
    assert read_fusion(run, "old") == WEIGHTS


def test_trees_that_are_missing_or_changed_are_refused(run: Run) -> None:
    write_fusion(run, "model", BOTH)
    path = f"models/model/{TREES_FILE}"
    run.storage.write_bytes(path, run.storage.read_bytes(path).replace(b"0.1", b"0.2"))
    with pytest.raises(InputError, match=r"fusion_trees\.json: is not the file that was written"):
        read_fusion(run, "model")
    run.storage.delete(path)
    with pytest.raises(InputError, match=r"fusion_trees\.json: is missing; train the model again"):
        read_fusion(run, "model")


def test_where_a_signal_is_gone_the_weights_score_alone(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    trees = random_trees((*columns_of(usual_signals()), "from_a_plugin"))
    write_fusion(run, "model", dataclasses.replace(WEIGHTS, trees=trees))
    with caplog.at_level(logging.WARNING):
        assert read_fusion(run, "model") == WEIGHTS
    assert "its trees ask for ['from_a_plugin', 'rank:from_a_plugin'], which no signal gives" in caplog.text
