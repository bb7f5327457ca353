"""The metrics: formula, source and an example for each of them, out of their docstrings."""

import inspect
import re

from recsys.evaluation.metrics.metric import Metric
from recsys.evaluation.metrics.registry import METRICS, accuracy_metrics

INTRO = """\
# Metrics

All metrics rank the full catalog, never a sample. Shapes: U users, K places of a list, I items. In the examples, `hits`
says which places of a list hold a relevant item.

## Accuracy

These metrics have a value for each user. Their names in the config and in reports end with the number of places, such as
`ndcg@10`. `gate.metric` names one of them.
"""

LISTS = """
## What the lists are like

`jobs/evaluate.py` prints these too. They need no held-out events. Long tail: all items except the fifth of the catalog
with the most interactions (the short head).
"""


def page() -> str:
    """Markdown: the accuracy metrics of the registry, then the metrics of lists."""
    of_accuracy = accuracy_metrics()
    accuracy = [_section(metric) for metric in of_accuracy]
    lists = [_section(metric) for metric in METRICS if metric not in of_accuracy]
    return INTRO + "".join(accuracy) + LISTS + "".join(lists)


def _section(metric: Metric) -> str:
    """The docstring of a metric's class as Markdown: formulas and examples in blocks."""
    text = inspect.getdoc(type(metric)) or ""
    prose, _, example = text.partition("\n>>> ")
    prose = re.sub(r"\nArgs:\n.*?(?=\n\n|\Z)", "", prose, flags=re.DOTALL).strip()
    code = f"\n```pycon\n>>> {example.strip()}\n```\n" if example else ""
    return f"\n### `{metric.name}@k`\n\n{prose}\n{code}"
