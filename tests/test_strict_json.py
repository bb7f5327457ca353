"""Records come back from their stored form as they were, also with figures that JSON cannot hold."""

import json
import math
from dataclasses import replace

import pytest

from recsys.config.strict_json import as_json, from_json
from recsys.pipeline.model_records import TrainedModel
from recsys.storage.json_files import to_json

TRAINED = TrainedModel(
    rows=4,
    windows=2,
    recent_windows=1,
    validation_users=3,
    epochs=2,
    best_epoch=1,
    recent_helped=False,
    loss=0.5,
    validation_ndcg=0.25,
    candidate_pass=False,
    model_id="m",
    warm_start="none",
    history=[{"loss": 0.5}, {"loss": 0.75}],
    phases=["all", "all"],
)


def stored(record: TrainedModel) -> dict[str, object]:
    """As a storage holds it."""
    found: dict[str, object] = json.loads(to_json(as_json(record)))
    return found


def test_a_figure_that_is_no_number_is_one_again() -> None:
    record = replace(TRAINED, validation_ndcg=math.nan, history=[{"loss": 0.5}, {"loss": math.nan}])
    assert stored(record)["validation_ndcg@10"] is None
    found = from_json(TrainedModel, stored(record))
    assert math.isnan(found.validation_ndcg)
    assert math.isnan(found.history[1]["loss"])
    assert replace(found, validation_ndcg=0.25, history=TRAINED.history) == TRAINED


@pytest.mark.parametrize(
    ("field", "value", "fault"), [("windows", None, "windows"), ("loss", "0.5", "loss"), ("model_id", None, "model_id")]
)
def test_other_values_of_a_wrong_type_are_refused(field: str, value: object, fault: str) -> None:
    with pytest.raises(ValueError, match=f"^{fault}: "):
        from_json(TrainedModel, stored(TRAINED) | {"validation_ndcg@10": None, field: value})
