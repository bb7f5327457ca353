"""The model that a training starts from, or that a night without a training keeps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from recsys.model.checkpoint import ModelCard, load_ranker, read_card
from recsys.pipeline.run import Run
from recsys.pipeline.stages import ENCODE_TEXTS, INGEST_EVENTS
from recsys.pipeline.training.train_task import Task, build_task, save_task
from recsys.storage.tables import write_table
from tests.pipeline.conftest import IDS
from tests.records import finish

RANKER = {"hidden_size": 8, "layers": 1, "heads": 2}
BEFORE = ["like", "view"]


@pytest.fixture
def night(make_night: Callable[..., Run], draw_events: Callable[..., pa.Table]) -> Callable[..., Run]:
    """A run whose texts are encoded, with these kinds of events."""

    def make(kinds: list[str], ranker: dict[str, Any] = RANKER, **settings: Any) -> Run:
        run = make_night(draw_events(100, days=40), settings={"ranker": ranker, **settings})
        vectors = np.random.default_rng(0).normal(size=(len(IDS), 4)).astype(np.float32)
        lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 4)
        table = pa.table({"item_id": IDS, "vector": lists})
        write_table(run.storage, run.text_vectors_path("e"), table, table.schema)
        finish(run, ENCODE_TEXTS, encoder_id="e")
        finish(run, INGEST_EVENTS, kinds=kinds)
        return run

    return make


@pytest.fixture
def published(night: Callable[..., Run], tmp_path: Path) -> Task:
    """A model of a night before, whose embeddings of kinds all differ."""
    run = night(BEFORE)
    task = build_task(run, "ranker-before", None)
    torch.nn.init.normal_(task.ranker.event_embedding.weight)
    folder = tmp_path / "before"
    folder.mkdir()
    save_task(folder, task, "fp32")
    run.storage.upload_folder(folder, run.model_path("ranker-before"))
    return task


def kept(run: Run, folder: Path) -> tuple[Task, ModelCard]:
    """What a night writes that does not train."""
    task = build_task(run, run.model_id, "ranker-before", learns=False)
    folder.mkdir()
    save_task(folder, task, "fp32")
    return task, read_card(folder)


@pytest.mark.parametrize(
    "kinds", [["like", "purchase"], ["add", "like"], ["add", "like", "purchase", "view"], ["view"]]
)
def test_a_kind_of_event_keeps_its_embedding_whatever_kinds_come_and_go(
    night: Callable[..., Run], published: Task, kinds: list[str]
) -> None:
    """A new kind begins as what the model read it as before: as a kind that it does not know."""
    before = published.ranker.event_embedding.weight.detach()
    run = night(kinds)
    found = build_task(run, run.model_id, "ranker-before").ranker.event_embedding.weight.detach()
    rows = [0, *(1 + BEFORE.index(kind) if kind in BEFORE else 0 for kind in kinds)]
    assert torch.equal(found, before[rows])


def test_a_night_that_does_not_train_keeps_the_model_as_it_is_whatever_the_settings_say(
    night: Callable[..., Run], published: Task, tmp_path: Path
) -> None:
    """Weights that fit no longer would be random, and lists would be made by them."""
    train = {"objective": "gbce"}
    histories = {"max_length": 5}
    run = night(["add", "like"], {**RANKER, "hidden_size": 16, "layers": 2}, train=train, histories=histories)
    task, card = kept(run, tmp_path / "kept")
    assert (card.spec, card.event_kinds, card.max_length) == (
        published.card.spec,
        BEFORE,
        published.card.max_length,
    )
    before, after = published.ranker.whole_weights(), task.ranker.whole_weights()
    assert before.keys() == after.keys()
    for name, weight in before.items():
        assert torch.equal(after[name], weight), name
    ranker, _ = load_ranker(tmp_path / "kept", pa.array(IDS), task.ranker.text_vectors)
    assert torch.equal(ranker.event_embedding.weight, published.ranker.event_embedding.weight)


def test_a_training_takes_what_fits_into_the_network_of_tonight(night: Callable[..., Run], published: Task) -> None:
    run = night(BEFORE, {**RANKER, "hidden_size": 16})
    task = build_task(run, run.model_id, "ranker-before")
    assert task.card.spec.item_dim == 16
    assert task.card.event_kinds == BEFORE
