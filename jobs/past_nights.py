"""What users did with the lists of past nights: `jobs/evaluate.py --realized` and `--compare`."""

from typing import Any

import pyarrow as pa
from rich.table import Table
from rich.text import Text

from jobs.command import Answer
from jobs.log_output import console
from recsys.evaluation.confidence_sequence import MIN_USERS
from recsys.pipeline.measuring.compare_arms import as_answer, compare_arms, experiment_nights
from recsys.pipeline.measuring.past_lists import open_past_nights
from recsys.pipeline.measuring.realized_results import REALIZED_PATH, days_joined, write_realized
from recsys.pipeline.publishing.write_report import read_summaries, write_index
from recsys.schema import ALL_USERS
from recsys.settings import Config
from recsys.storage.filesystem import Storage
from recsys.storage.site import INDEX

#: What the table of people shows of a night, in this order.
_SHOWN = ("lists", "active_users", "hitrate@10", "ndcg@10", "taken_per_list", "revenue")


def realized(config: Config) -> Answer:
    """Join past lists with later events, write the results, show them in the site of the nights, and print them."""
    past = open_past_nights(Storage(config.storage), config.realized)
    table = write_realized(past)
    write_index(past.storage, read_summaries(past.storage))
    _print_realized(table)
    return {
        "status": "evaluated",
        "run_id": past.nights[-1].pointer.run_id,
        "path": past.storage.url(REALIZED_PATH),
        "site": past.storage.url(INDEX),
        "nights": len(past.nights),
        **days_joined(past),
        "results": [
            row | {"run_date": row["run_date"].isoformat()} for row in table.to_pylist() if row["segment"] == ALL_USERS
        ],
    }


def compare(config: Config, name: str) -> Answer:
    """Compare the arms of an experiment, and print each one's lift."""
    past = open_past_nights(Storage(config.storage), config.realized)
    experiment, nights = experiment_nights(past, name)
    answer = as_answer(experiment, nights, compare_arms(past, experiment, nights))
    _print_comparison(answer)
    return {"status": "compared", "run_id": nights[-1].pointer.run_id, "path": None, **answer}


def _print_realized(table: pa.Table) -> None:
    """A row for each night and segment; places of sources and of the live service are below."""
    rows = table.to_pylist()
    found: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["run_date"].isoformat(), row["segment"]), {})[row["metric"]] = row
    metrics = [name for name in _SHOWN if any(row["metric"] == name for row in rows)]
    users = _table("what users did with their lists", "night", "lists of", *metrics)
    places = _table("what users did with the places of lists", "night", "places of", "shown", "taken", "revenue")
    for (night, segment), values in found.items():
        if "shown" in values:
            cells = (_cell(values.get(name)) for name in ("shown", "taken_share", "revenue"))
            places.add_row(night, Text(segment), *cells)
        else:
            users.add_row(night, Text(segment), *(_cell(values.get(name)) for name in metrics))
    for shown in (users, places):
        if shown.row_count:
            console.print(shown)


def _print_comparison(answer: Answer) -> None:
    title = f"{answer['experiment']}: control {answer['control']}, nights: {answer['nights']}"
    table = _table(title, "arm", "metric", "mean", "control", "lift", "95 % at all times", "different")
    for row in answer["results"]:
        lift = row["lift_percent"]
        bounds = "–" if lift["low"] is None else f"{lift['low']:+,.1f} … {lift['high']:+,.1f} %"
        estimate = "–" if lift["estimate"] is None else f"{lift['estimate']:+,.1f} %"
        means = (_number(row["mean"]), _number(row["control_mean"]))
        table.add_row(Text(row["arm"]), row["metric"], *means, estimate, bounds, "yes" if row["different"] else "no")
    console.print(table)
    if any(row["difference"]["low"] is None for row in answer["results"]):
        words = f"–: no interval yet. An arm has fewer than {MIN_USERS} users, or too few of its users took something."
        console.print(Text(words), soft_wrap=True)
    if answer["sample_ratio_mismatch"]:
        console.print(
            Text(
                f"The arms do not have the sizes of their shares: {answer['users']}, expected "
                f"{answer['expected_users']}. Find the cause before you believe any difference."
            ),
            style="bold",
            soft_wrap=True,
        )


def _table(title: str, *columns: str) -> Table:
    """A table whose cells are whole, also on a narrow terminal."""
    table = Table(title=Text(title))
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == "night")
    return table


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return "–"
    text = _number(row["value"])
    return text if row["low"] is None else f"{text} [{_number(row['low'])}, {_number(row['high'])}]"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.4f}"
