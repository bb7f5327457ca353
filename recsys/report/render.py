"""The run report: one HTML page for people, made of what the stages recorded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleList:
    """One user's list in the report: the newest titles of the history, and the recommended titles."""

    user_id: str
    history: Sequence[str]
    recommended: Sequence[tuple[int, str, float]]
    """(rank, title, score)."""


def render_report(
    run_id: str, stages: Mapping[str, Mapping[str, Any]], gate: Mapping[str, Any], samples: Sequence[SampleList]
) -> str:
    """The page as HTML. Every text from the data is escaped.

    Args:
        run_id: The run's name.
        stages: Records of the stages, in the order they ran.
        gate: The verdict of the gate, see `recsys.evaluation.gate.Verdict.as_dict`.
        samples: Some users' lists.
    """
    pages = Environment(
        loader=PackageLoader("recsys.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters["figure"] = _figure
    reasons = {
        f"{stage}: {reason}": count
        for stage in ("catalog", "ingest")
        for reason, count in stages.get(stage, {}).get("reasons", {}).items()
    }
    history = stages.get("finetune", {}).get("history", [])
    lists = stages.get("recommend", {})
    return pages.get_template("report.html").render(
        run_id=run_id,
        stages=stages,
        gate=gate,
        samples=samples,
        reasons=reasons,
        history=history,
        filtered=lists.get("filtered", {}),
        moved=lists.get("reranked", {}).get("moved", {}),
        longest=max((entry["seconds"] for entry in stages.values()), default=1.0),
    )


def _figure(value: float, digits: int = 0) -> str:
    return f"{value:,.{digits}f}"
