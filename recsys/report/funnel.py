"""How rows become lists: what is left after each step of a night."""

from collections.abc import Mapping
from dataclasses import dataclass

from recsys.report.recorded import Recorded, number


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is left after a step."""

    group: str
    """What is counted: the group's first step is the whole."""
    name: str
    count: float
    share: float
    """Of the group's first step, 0 to 1."""


def funnel(stages: Mapping[str, Recorded]) -> list[Step]:
    """The steps whose numbers the stages recorded, group by group.

    >>> [(step.name, step.count, step.share) for step in funnel({"ingest": {"rows": 10, "filtered": 2, "accepted": 5}})]
    [('read', 10, 1.0), ('kept by where', 8, 0.8), ('accepted', 5, 0.5)]
    """
    steps = []
    for group, counts in _counts(stages).items():
        known = [(name, count) for name, count in counts.items() if count is not None]
        for name, count in known:
            share = min(max(count / (known[0][1] or 1), 0.0), 1.0)
            steps.append(Step(group=group, name=name, count=count, share=share))
    return steps


def _counts(stages: Mapping[str, Recorded]) -> dict[str, dict[str, float | None]]:
    kept = _less(number(stages, "ingest", "rows"), number(stages, "ingest", "filtered"))
    accepted = number(stages, "ingest", "accepted")
    return {
        "events": {
            "read": number(stages, "ingest", "rows"),
            "kept by where": kept,
            "up to the night's date": _less(kept, number(stages, "ingest", "later")),
            "accepted": accepted,
            "without repeats": _less(accepted, number(stages, "histories", "duplicates")),
        },
        "items": {
            "rows read": number(stages, "catalog", "rows"),
            "items": number(stages, "catalog", "items"),
            "with a written text": number(stages, "enrich", "enriched"),
            "may be recommended": number(stages, "recommend", "filtered", "recommendable"),
            "in a list": number(stages, "check", "figures", "items"),
        },
        "users": {
            "with a history": number(stages, "histories", "users"),
            "with a written profile": number(stages, "enrich_users", "enriched"),
            "with a list": number(stages, "check", "figures", "lists"),
        },
        "places": {
            "candidates": number(stages, "recommend", "reranked", "candidates"),
            "in lists": number(stages, "recommend", "recommendations"),
        },
    }


def _less(count: float | None, removed: float | None) -> float | None:
    return None if count is None or removed is None else count - removed
