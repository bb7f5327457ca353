"""Users who validate tonight's training were not learned by the model that it continues."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from recsys.model.checkpoint import ModelCard
from recsys.pipeline.model_records import WarmStart
from recsys.pipeline.run import Run
from recsys.pipeline.stages import ENCODE_TEXTS, SHUFFLE_HISTORIES
from recsys.pipeline.training.learned_items import learned_counts
from recsys.pipeline.training.settle_warm_start import settle_warm_start
from recsys.ranking.fusion import Fusion
from recsys.storage.filesystem import Storage
from recsys.storage.manifest import write_manifest
from recsys.storage.publish import publish
from recsys.storage.runs import RunFolder
from recsys.storage.tables import read_table
from tests.pipeline.test_published_model import SPEC
from tests.records import finish

#: (user, time) of each event.
Events = set[tuple[str, object]]
MakeRun = Callable[[str, int], Run]


@pytest.fixture
def make_run(make_night: Callable[..., Run], draw_events: Callable[..., pa.Table], tmp_path: Path) -> MakeRun:
    """A night that draws so many validation users, in a storage of this name."""
    events = draw_events(400, days=60)

    def make(storage: str, num_validation: int) -> Run:
        settings = {"storage": str(tmp_path / storage), "train": {"validation_users": num_validation}}
        run = make_night(events, settings=settings)
        finish(run, ENCODE_TEXTS, encoder_id="configured")
        return run

    return make


def publish_model_of(run: Run, storage: Path) -> ModelCard:
    """The model of a run, published in another storage, as the model of the day before."""
    model_id = "ranker-x"
    card = ModelCard(
        model_id=model_id, base=None, encoder_id="configured", trained_until=run.cutoff.isoformat(), max_length=8,
        event_kinds=[], spec=SPEC,
    )  # fmt: skip
    folder = storage / "models" / model_id
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(json.dumps(card.as_dict()))
    (folder / "fusion.json").write_text(json.dumps(Fusion(weights={}).as_dict()))
    if run.storage.exists(run.held_out_path(run.model_id)):
        shutil.copy(run.storage.path(run.held_out_path(run.model_id)), folder / "held_out.parquet")
    other = RunFolder(Storage(str(storage)), "2026-11-21-0123456789ab")
    publish(other, write_manifest(other, [], {"model_id": model_id}), model_id)
    return card


def learned_and_asked(run: Run) -> tuple[Events, Events]:
    """What training learns from, and the baskets by which it is validated."""
    found: tuple[Events, Events] = set(), set()
    for shard in run.record(SHUFFLE_HISTORIES).shards:
        interactions = read_table(run.storage, f"{run.interactions_dir}/{shard}.parquet")
        for events, part in zip(found, run.validation_split(interactions), strict=True):
            events.update(zip(part["user_id"].to_pylist(), part["timestamp"].to_pylist(), strict=True))
    return found


def test_validation_users_are_more_than_last_night(make_run: MakeRun, tmp_path: Path) -> None:
    first = make_run("first", 12)
    assert settle_warm_start(first) is None
    learned, asked = learned_and_asked(first)
    assert len(read_table(first.storage, first.held_out_path(first.model_id))) == len(asked)
    ids = read_table(first.storage, first.catalog_path)["item_id"].combine_chunks()
    assert learned_counts(first, ids).all(), "others took every item too"

    second = make_run("second", 18)
    assert learned & learned_and_asked(second)[1], "the share grew: these baskets would leak"
    card = publish_model_of(first, tmp_path / "second")
    assert settle_warm_start(second) == card
    _, asked_now = learned_and_asked(second)
    assert asked_now
    assert not learned & asked_now
    assert asked_now <= asked

    # a restart finds the same, whatever was published meanwhile
    shutil.rmtree(tmp_path / "second" / "recommendations")
    assert settle_warm_start(second) == card


@pytest.mark.parametrize("knows_whom_it_kept", [True, False])
def test_a_model_that_learned_from_most_of_them_is_not_continued(
    make_run: MakeRun, tmp_path: Path, caplog: pytest.LogCaptureFixture, knows_whom_it_kept: bool
) -> None:
    first, second = make_run("first", 4), make_run("second", 40)
    _, without = learned_and_asked(second)
    if knows_whom_it_kept:
        settle_warm_start(first)
    published = publish_model_of(first, tmp_path / "second")
    files = second.storage.sizes(second.model_path(published.model_id))
    with caplog.at_level(logging.INFO):
        assert settle_warm_start(second) is None
    assert "training starts with random weights" in caplog.text
    assert second.warm_start == WarmStart(model_id="", trained_until="")
    assert learned_and_asked(second)[1] == without
    assert second.storage.sizes(second.model_path(published.model_id)) == files, "what is published stays as it is"
