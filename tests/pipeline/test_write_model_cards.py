"""The figures of a model card, where little could be measured."""

from dataclasses import replace

from recsys.pipeline.model_records import FittedFusion
from recsys.pipeline.publishing.write_model_cards import _metrics


def test_default_weights_have_no_quality() -> None:
    default = FittedFusion(
        rows=40,
        users=5,
        ndcg=0.0,
        alone={},
        short_ndcg=0.0,
        short_ndcg_without=0.0,
        trees=0,
        trees_ndcg=0.0,
        trees_ndcg_without=0.0,
        weights={"popularity": 1.0},
        weights_short={},
        weights_session={},
    )
    assert _metrics(default, None) == []
    (row,) = _metrics(replace(default, users=50, ndcg=0.25, alone={"popularity": 0.25}), None)
    assert (row.value, row.users) == ("0.2500", 50)
