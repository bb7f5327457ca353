"""A metric of a plugin is measured, and the gate may go by it."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from recsys.errors import ConfigError
from recsys.evaluation.measure import measure
from recsys.evaluation.metrics.registry import METRICS, accuracy_metrics
from recsys.plugins import load_plugins
from recsys.settings import decode_config

PLUGIN = "tests.plugins.precision"
INPUTS: dict[str, Any] = {"events": {"path": "events"}, "items": {"path": "items.parquet", "text": "{title}"}}


@pytest.fixture
def no_plugins() -> Iterator[None]:
    """What a test registers is forgotten after it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(METRICS, "_things", dict(METRICS._things))
        patch.delitem(sys.modules, PLUGIN, raising=False)
        yield
        with contextlib.suppress(KeyError):
            del sys.modules[PLUGIN]


@pytest.mark.usefixtures("no_plugins")
def test_the_gate_goes_by_a_metric_of_a_plugin() -> None:
    settings = {"inputs": INPUTS, "gate": {"metric": "precision@5"}}
    with pytest.raises(ConfigError, match=r"gate\.metric: metric 'precision@5' is not known; choose one of ndcg@k"):
        decode_config(settings)
    config = decode_config(settings | {"plugins": [PLUGIN]})
    assert config.gate.metric == "precision@5"
    assert accuracy_metrics()[-1].name == "precision"


@pytest.mark.usefixtures("no_plugins")
def test_a_metric_of_a_plugin_is_measured() -> None:
    load_plugins([PLUGIN])
    measured = measure(np.array([[3, 1], [2, -1]]), np.array([0, 1, 2]), np.array([1, 2]), ["precision@2", "mrr@2"])
    assert {name: values.tolist() for name, values in measured.items()} == {
        "precision@2": [0.5, 0.5],
        "mrr@2": [0.5, 1.0],
    }
