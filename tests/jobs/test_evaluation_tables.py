"""The tables of an evaluation, as people read them."""

import io

from rich.console import Console

from jobs import evaluation_tables


def test_every_figure_is_shown_and_what_cannot_be_told_is_a_dash(monkeypatch):
    page = io.StringIO()
    monkeypatch.setattr(evaluation_tables, "console", Console(file=page, width=120))
    difference = {"mean": 0.05, "low": -0.01, "high": 0.11}
    evaluation_tables.print_figures(
        {
            "protocol": "time",
            "users": 1234,
            "ranker": {"ndcg@10": 0.25, "average_popularity@20": 1500.0, "gini@20": 0.75},
            "popularity": {"ndcg@10": 0.2, "average_popularity@20": 3000.5, "gini@20": 0.99},
            "difference": {
                "ndcg@10": difference,
                "average_popularity@20": {"mean": -1500.5, "low": -1600.25, "high": -1400.0},
            },
            "slice_metric": "ndcg@10",
            "slices": {
                "history 10+": {"users": 1100, "ranker": 0.3, "popularity": 0.25, "difference": difference},
                "cold items": {"users": 0, "ranker": None, "popularity": None, "difference": None},
            },
            "tail_frontier": [{"tail": 0.0, "ndcg@10": 0.25}, {"tail": 0.1, "ndcg@10": 0.245}],
        }
    )
    titles = [line.strip() for line in page.getvalue().splitlines() if "holdout" in line or "slices" in line]
    assert titles == ["time holdout, 1,234 users, full ranking", "ndcg@10 by slices"]
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in page.getvalue().splitlines() if "│" in line]
    assert rows == [
        ["ndcg@10", "0.2500", "0.2000", "+0.0500", "-0.0100 … +0.1100"],
        ["average_popularity@20", "1,500.0000", "3,000.5000", "-1,500.5000", "-1,600.2500 … -1,400.0000"],
        ["gini@20", "0.7500", "0.9900", "–", "–"],
        ["history 10+", "1,100", "0.3000", "0.2500", "+0.0500", "-0.0100 … +0.1100"],
        ["cold items", "0", "–", "–", "–", "–"],
        ["0", "0.2500"],
        ["0.1", "0.2450"],
    ]
