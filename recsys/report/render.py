"""The run report: one HTML page for people, made of what the stages recorded.

A run may have recorded little: it was refused, or nothing could be measured. What is missing is a dash on the page.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import ChainableUndefined, Environment, PackageLoader

#: What the page shows for a value that no stage recorded.
DASH = "–"
#: What the page says for the verdict of all gates together.
HEADLINES = {
    "passed": "Passed",
    "refused": "Refused, nothing was published",
    "not_examined": "Passed, but not examined",
    "overridden": "Refused, published by --force",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleList:
    """One user's list in the report: the newest titles of the history, and the recommended titles."""

    user_id: str
    history: Sequence[str]
    recommended: Sequence[tuple[int, str, float]]
    """(rank, title, score)."""


class _Missing(ChainableUndefined):
    """A value that no stage recorded, and every value inside it."""

    def __str__(self) -> str:
        return DASH


def render_report(
    run_id: str, stages: Mapping[str, Mapping[str, Any]], gate: Mapping[str, Any], samples: Sequence[SampleList]
) -> str:
    """The page as HTML. Every text from the data is escaped.

    Args:
        run_id: The run's name.
        stages: Records of the stages, in the order they ran; any of them and any of their fields may be missing.
        gate: The verdicts of the gates, see `recsys.pipeline.gate_summary`; empty if none was reached.
        samples: Some users' lists.
    """
    pages = Environment(
        loader=PackageLoader("recsys.report", "."),
        autoescape=True,
        undefined=_Missing,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters["figure"] = _figure
    pages.filters["gain"] = _gain
    reasons = {
        f"{stage}: {reason}": count
        for stage in ("catalog", "users", "ingest")
        for reason, count in _part(stages, stage, "reasons").items()
    }
    longest = max((_number(entry.get("seconds")) or 0.0 for entry in stages.values()), default=0.0)
    return pages.get_template("report.html").render(
        run_id=run_id,
        stages=stages,
        widths={name: _width(entry.get("seconds"), longest) for name, entry in stages.items()},
        gate=gate,
        headline=HEADLINES.get(gate.get("verdict", ""), DASH),
        samples=samples,
        reasons=reasons,
        history=stages.get("finetune", {}).get("history") or [],
        reused=stages.get("finetune", {}).get("reused") or "",
        gains=_part(stages, "fuse", "gains"),
        filtered=_part(stages, "recommend", "filtered"),
        moved=_part(_part(stages, "recommend"), "reranked", "moved"),
    )


def _part(record: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """A mapping inside a record; an empty one where it is missing."""
    for key in keys:
        record = record.get(key) or {}
    return record


def _number(value: Any) -> float | None:
    known = isinstance(value, int | float) and math.isfinite(value)
    return value if known else None


def _figure(value: Any, digits: int = 0) -> str:
    number = _number(value)
    return DASH if number is None else f"{number:,.{digits}f}"


def _gain(value: Any) -> str:
    number = _number(value)
    return DASH if number is None else f"{number:+.1f}"


def _width(seconds: Any, longest: float) -> float:
    """Width of a bar in percent of the longest."""
    return round(100 * (_number(seconds) or 0.0) / (longest or 1.0), 1)
