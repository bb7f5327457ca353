"""The metrics: formula, source and an example for each of them, out of their docstrings."""

import inspect
from collections.abc import Sequence

from markdown_table import cell, table

from recsys.evaluation.metrics.metric import Metric
from recsys.evaluation.metrics.registry import METRICS, accuracy_metrics, catalog_metrics, list_metrics

INTRO = """\
# Metrics

All metrics rank the full catalog, never a sample. Shapes: U users, K places of a list, I items. In the examples, `hits`
says which places of a list hold a relevant item. [Extending](../extending.md#a-metric) shows how to add a metric.

"""

ACCURACY = """\
These metrics have a value for each user. Their names in the config and in reports end with the number of places, such
as `ndcg@10`. `gate.metric` names one of them.
"""

LISTS = """\
These metrics have a value for each list, and need no held-out events. Long tail: all items except the fifth of the
catalog with the most interactions (the short head).
"""


def page() -> str:
    """Markdown: all metrics in one table, then their docstrings by kind."""
    rows = [(f"[`{metric.name}`](#{metric.name})", cell(metric.summary)) for metric in METRICS]
    return (
        INTRO
        + table(("metric", "what it measures"), rows)
        + _chapter("Accuracy", ACCURACY, accuracy_metrics())
        + _chapter("Single lists", LISTS, list_metrics())
        + _chapter("All lists together", "", catalog_metrics())
    )


def _chapter(title: str, text: str, metrics: Sequence[Metric]) -> str:
    return f"\n## {title}\n\n{text}" + "".join(_section(metric) for metric in metrics)


def _section(metric: Metric) -> str:
    """The docstring of a metric's class as Markdown, the example in a block."""
    prose, _, example = (inspect.getdoc(type(metric)) or "").partition("\n>>> ")
    code = f"\n```pycon\n>>> {example.strip()}\n```\n" if example else ""
    return f"\n### `{metric.name}`\n\n{prose.strip()}\n{code}"
