"""The metrics: formula, source and an example for each of them, out of their docstrings."""

import inspect
import re
from collections.abc import Callable
from typing import Any

from recsys.evaluation import beyond_accuracy
from recsys.evaluation.metrics import METRICS

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

#: Functions of `recsys.evaluation.beyond_accuracy`, in the order of the reports.
OF_LISTS = ("longtail_share", "average_popularity", "novelty", "intra_list_diversity", "coverage", "gini")


def page() -> str:
    """Markdown: the accuracy metrics of the registry, then the metrics of lists."""
    accuracy = [_section(f"{name}@k", metric) for name, metric in METRICS.items()]
    lists = [_section(name, getattr(beyond_accuracy, name)) for name in OF_LISTS]
    return INTRO + "".join(accuracy) + LISTS + "".join(lists)


def _section(name: str, metric: Callable[..., Any]) -> str:
    """A docstring as Markdown: formulas and examples in blocks."""
    text = inspect.getdoc(metric) or ""
    prose, _, example = text.partition("\n>>> ")
    prose = re.sub(r"\nArgs:\n.*?(?=\n\n|\Z)", "", prose, flags=re.DOTALL).strip()
    code = f"\n```pycon\n>>> {example.strip()}\n```\n" if example else ""
    return f"\n### `{name}`\n\n{prose}\n{code}"
