"""The figures of an evaluation as tables for people."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from jobs.log_output import console

_COMPARED = ("ranker", "popularity", "difference", "95 % interval")


def print_figures(figures: dict[str, Any]) -> None:
    """Print every metric of both rankers, the slices, and the effect of the long-tail boost.

    Args:
        figures: See `recsys.pipeline.measuring.evaluate_run.evaluate_run`.
    """
    title = f"{figures['protocol']} holdout, {figures['users']:,} users, full ranking"
    metrics = _table(title, ("metric", *_COMPARED))
    for metric in figures["ranker"]:
        compared = (figures["ranker"][metric], figures["popularity"][metric], figures["difference"].get(metric))
        metrics.add_row(metric, *_cells(*compared))
    console.print(metrics)
    slices = _table(f"{figures['slice_metric']} by slices", ("slice", "users", *_COMPARED))
    for name, part in figures["slices"].items():
        cells = _cells(part["ranker"], part["popularity"], part["difference"])
        slices.add_row(name, f"{part['users']:,}", *cells)
    console.print(slices)
    frontier = figures["tail_frontier"]
    dial = _table("rerank.long_tail_boost", tuple(frontier[0]))
    for point in frontier:
        dial.add_row(*(f"{value:,.4g}" if name == "tail" else f"{value:,.4f}" for name, value in point.items()))
    console.print(dial)


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="left" if column == columns[0] else "right", overflow="fold")
    return table


def _cells(ours: float | None, theirs: float | None, difference: dict[str, float] | None) -> list[str]:
    """Both means, and their difference with its interval; a dash for what does not exist without users."""
    means = ["–" if mean is None else f"{mean:,.4f}" for mean in (ours, theirs)]
    if difference is None:
        return [*means, "–", "–"]
    return [*means, f"{difference['mean']:+,.4f}", f"{difference['low']:+,.4f} … {difference['high']:+,.4f}"]
