"""The page of a night: HTML made of what the stages recorded, for people.

A night may have recorded little: it was refused, or nothing could be measured. What is missing is a dash, or left
out.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from recsys.report.config_changes import ConfigChange
from recsys.report.funnel import funnel
from recsys.report.night_charts import RANKERS, night_charts
from recsys.report.night_summary import READING, UNPUBLISHED, WRITES_LISTS, NightSummary
from recsys.report.page_templates import template
from recsys.report.recorded import Recorded, entries, number, numbers, part, text, total
from recsys.report.sample_lists import SampleList

#: What the page says for the verdict of all gates together.
HEADLINES = {
    "passed": "Passed",
    "refused": "Refused, nothing was published",
    "not_examined": "Passed, but not examined",
    "overridden": "Refused, published by --force",
    UNPUBLISHED: "Ended before its lists were published",
    "": "Ended before a gate",
}
#: Stages that have texts written, and about what.
WRITING = {"enrich": "items", "enrich_users": "users"}
#: A reason names the user of the first bad list, and may end with the limit.
_NAMES_A_USER = re.compile(r", such as: .*?(; gate\.\w+ is at most [^;]*)?$", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class NightRecords:
    """What a night's page shows; of `stages` and `gate`, anything may be missing."""

    run_id: str
    stages: Mapping[str, Recorded]
    """Records of the stages, in the order they ran."""
    gate: Recorded
    """The verdicts of the gates, see `recsys.pipeline.measuring.gate_summary`; empty if none was reached."""
    summary: NightSummary
    before: NightSummary | None = None
    """The published night before."""
    samples: Sequence[SampleList] = ()
    shown_columns: Mapping[str, Collection[str]] = field(default_factory=dict)
    """Columns whose quarantined values are shown, by stage: those that name no user."""
    config: str = ""
    """The resolved config as YAML."""
    changes: Sequence[ConfigChange] | None = None
    """What changed in it since the night before; None: there is none to compare with."""


def render_night(night: NightRecords) -> tuple[str, str]:
    """The page twice: for the site, and as one file of its own. Every text from the data is escaped."""
    values = _values(night)
    page = template("night.html")
    return page.render(**values, home="../index.html", style="../style.css"), page.render(
        **values, home="../../site/index.html", style=""
    )


def _values(night: NightRecords) -> dict[str, Any]:
    stages = night.stages
    segments = entries(stages, "gate", "segments")
    checks = _checks(night.gate)
    reason = text(night.gate, "reason")  # of the gate of quality, whatever the checks of the lists say
    refused = [each for each in checks if each["verdict"] == "refused" and each["reason"] != reason]
    return {
        "run_id": night.run_id,
        "now": night.summary,
        "before": night.before,
        "gate": night.gate,
        "checks": checks,
        "refused": "; ".join(f"{each['name']}: {each['reason']}" for each in refused),
        "warnings": _texts(night.gate.get("warnings")),
        "baselines": {name: part(night.gate, "baselines", name) for name in part(night.gate, "baselines")},
        "headline": HEADLINES.get(night.summary.verdict, night.summary.verdict),
        "stages": stages,
        "longest": max((number(stages, name, "seconds") or 0.0 for name in stages), default=0.0),
        "funnel": funnel(stages),
        "charts": night_charts(stages),
        "rankers": RANKERS,
        "segments": segments,
        "rivals": [name for name in RANKERS if any(name in part(each, "baselines") for each in segments)],
        "written": [_written(stages, stage) for stage in WRITING if stage in stages],
        "reused": text(stages, "finetune", "reused"),
        "learned_since": text(stages, "finetune", "since")[:10],
        "epochs": entries(stages, "finetune", "history"),
        "alone": numbers(stages, "fuse", "validation_alone"),
        "weights": {name: numbers(stages, "fuse", name) for name in ("weights", "weights_short", "weights_session")},
        "gains": {name: part(stages, "fuse", "gains", name) for name in part(stages, "fuse", "gains")},
        "quarantine": _quarantine(stages, night.shown_columns),
        "filtered": numbers(stages, "recommend", "filtered"),
        "moved": numbers(stages, "recommend", "reranked", "moved"),
        "samples": night.samples,
        "config": night.config,
        "changes": night.changes,
    }


def _written(stages: Mapping[str, Recorded], stage: str) -> dict[str, Any]:
    """What a stage that has texts written did."""
    counts = {name: number(stages, stage, name) for name in ("rows", "enriched", "written", "waiting", "cost")}
    return counts | {
        "about": WRITING[stage],
        "refused": total(list(numbers(stages, stage, "refused").values())),
        "failed": total(list(numbers(stages, stage, "failed").values())),
        "tokens": total([number(stages, stage, name) for name in ("input_tokens", "output_tokens")]),
        "model": text(stages, stage, "model"),
    }


def _checks(gate: Recorded) -> list[dict[str, str]]:
    overridden = _texts(gate.get("overridden"))
    found = []
    for check in entries(gate, "checks"):
        name, verdict = text(check, "name"), text(check, "verdict")
        words = verdict.replace("_", " ") + (", overridden by --force" if name in overridden else "")
        found.append(
            {
                "name": name,
                "verdict": verdict,
                "words": words,
                "reason": _NAMES_A_USER.sub(r"\1", text(check, "reason")),
            }
        )
    return found


def _texts(values: Any) -> list[str]:
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []


def _quarantine(stages: Mapping[str, Recorded], shown_columns: Mapping[str, Collection[str]]) -> list[dict[str, Any]]:
    """Reasons by input, the commonest first, with examples of bad values; and why users got popular items."""
    found = []
    for stage in (*READING, WRITES_LISTS):
        examples = entries(stages, stage, "examples")
        reasons = sorted(numbers(stages, stage, "reasons").items(), key=lambda each: (-each[1], each[0]))
        for reason, rows in reasons:
            columns = shown_columns.get(stage, ())
            shown = [_example(each, columns) for each in examples if text(each, "reason") == reason]
            found.append({"stage": stage, "reason": reason, "rows": rows, "examples": shown})
    return found


def _example(example: Recorded, shown_columns: Collection[str]) -> dict[str, Any]:
    """A bad value. Of a column that is not shown, and of a whole line, only its length."""
    column, value = text(example, "column"), example.get("value")
    if value is None:
        words = "no value"
    elif column in shown_columns:
        words = f"“{value}”"
    else:
        words = f"{len(str(value))} characters"
    return {"column": column or "a line of", "value": words, "rows": number(example, "rows")}
