"""The table `metrics`: what the records of a night say, one number in a row."""

import datetime as dt

from recsys.evaluation.night_metrics import night_metrics
from recsys.schema import METRICS

DATE = dt.date(2026, 11, 22)
WHOLE = {"mean": 0.2, "low": 0.1, "high": 0.3}
RECORDS = {
    "ingest": {
        "rows": 150,
        "feedback_rows": 40,
        "filtered": 10,
        "quarantined": 6,
        "forgiven": 1,
        "reasons": {"bad_time": 6},
        "seconds": 2.5,
    },
    "gate": {
        "details": {
            "metric": "ndcg@10",
            "model": 0.2,
            "num_users": 40,
            "baselines": {"popularity": {"mean": 0.15, "difference": {"mean": 0.05, "low": 0.01, "high": 0.09}}},
        },
        "segments": [
            {"segment": "all", "metric": "ndcg@10", "users": 40, "model": WHOLE},
            {"segment": "cold users", "metric": "ndcg@10", "users": 0, "model": None},
        ],
    },
    "enrich": {"enriched": 30, "written": 4, "waiting": 2, "input_tokens": 90, "output_tokens": 10, "cost": 0.5}
    | {"refused": {"empty": 3}, "failed": {}},
    "fuse": {"gains": {"text": {"percent": 3.0, "low": -1.0, "high": 7.0, "users": 40}}},
    "recommend": {"users": 50, "users_without_list": 1, "recommendations": 490, "filtered": {"blocked": 2}},
    "check": {"figures": {"lists": 49, "coverage": 0.5, "short_share": None}, "overlap": None},
}


def test_every_number_has_its_row_and_its_interval() -> None:
    table = night_metrics(DATE, RECORDS)
    assert table.schema == METRICS
    rows = {(row["metric"], row["segment"]): (row["value"], row["low"], row["high"]) for row in table.to_pylist()}
    assert len(rows) == len(table)
    assert {row["run_date"] for row in table.to_pylist()} == {DATE}
    assert rows["ndcg@10", "all"] == (0.2, 0.1, 0.3)
    assert rows["ndcg@10", "popularity"] == (0.15, None, None)
    assert rows["ndcg@10_difference", "popularity"] == (0.05, 0.01, 0.09)
    assert rows["gain_percent", "text"] == (3.0, -1.0, 7.0)
    assert rows["quarantine_rate", "events"] == (0.05, None, None)
    assert rows["quarantined", "events: bad_time"] == (6.0, None, None)
    assert rows["coverage", "all"] == (0.5, None, None)
    assert rows["seconds", "ingest"] == (2.5, None, None)
    assert rows["with_written_text", "items"] == (30.0, None, None)
    assert (rows["tokens", "items"][0], rows["token_cost", "items"][0]) == (100.0, 0.5)
    assert rows["texts_refused", "items: empty"] == (3.0, None, None)
    assert ("with_written_text", "users") not in rows
    assert ("short_lists", "all") not in rows
    assert ("ndcg@10", "cold users") not in rows


def test_a_night_without_records_has_no_rows() -> None:
    assert night_metrics(DATE, {}).num_rows == 0


def test_a_model_that_nobody_could_measure_has_no_quality() -> None:
    gate = RECORDS["gate"] | {"segments": [], "details": {"metric": "ndcg@10", "model": 0.0, "num_users": 0}}
    rows = night_metrics(DATE, RECORDS | {"gate": gate}).to_pylist()
    found = {(row["metric"], row["segment"]): row["value"] for row in rows}
    assert ("ndcg@10", "all") not in found
    assert found["measured_users", "all"] == 0
