"""What all gates said of a run: for the report, the manifest, the last line, and the refusal of a night."""

import logging
from typing import Any

from recsys.config.strict_json import as_json
from recsys.errors import GateError
from recsys.pipeline.run import Run
from recsys.pipeline.stage import Stage
from recsys.pipeline.stages import CHECK_LISTS, RUN_GATE
from recsys.storage.manifest import is_complete

logger = logging.getLogger(__name__)

#: Name of the gate that compares the model with popularity and the published model. The others check the lists.
QUALITY = "quality"


def gate_summary(run: Run, *, publishing: bool = False) -> dict[str, Any]:
    """The verdicts of the gates that the run has reached; empty if it has reached none.

    Args:
        run: The run.
        publishing: The lists are published now, although their manifest does not exist yet.

    Returns:
        For JSON: the fields of `recsys.evaluation.gate.Verdict`, and `checks` (the gate of quality and each check of
        `recsys.evaluation.list_checks`, with name, verdict, value, threshold and reason), `overridden` (names of the
        gates that refused lists which were published by `--force`) and `verdict`: `passed`, `refused`, `not_examined`
        or `overridden`.
    """
    quality, checked = run.done(RUN_GATE), run.done(CHECK_LISTS)
    if quality is None:
        return {}
    own = quality.record
    checks: list[dict[str, Any]] = [
        {"name": QUALITY, "verdict": own.verdict, "value": own.details.get("model"), "threshold": None}
        | {"reason": own.reason}
    ]
    if checked is not None:
        checks += [as_json(result) for result in checked.record.checks]
    refused = [check["name"] for check in checks if check["verdict"] == "refused"]
    forced = bool(refused) and (publishing or is_complete(run.folder))
    verdict = "refused" if refused else own.verdict
    return own.details | {
        "checks": checks,
        "overridden": refused if forced else [],
        "verdict": "overridden" if forced else verdict,
    }


def stop_if_refused(run: Run, stage: Stage[Any]) -> None:
    """Stop a night that a gate refused, unless it was started with `--force`.

    Args:
        run: The run.
        stage: The stage that just ran: `RUN_GATE` or `CHECK_LISTS`.

    Raises:
        GateError: names the gates and the way out; its details are the refused checks.
    """
    refused = {
        check["name"]: check
        for check in gate_summary(run)["checks"]
        if check["verdict"] == "refused" and (check["name"] == QUALITY) == (stage is RUN_GATE)
    }
    if not refused:
        return
    reasons = "; ".join(f"{name}: {check['reason']}" for name, check in refused.items())
    if run.force:
        logger.warning("--force overrides the gate of %s", reasons)
        return
    raise GateError(
        f"the gate refused the night {run.folder.run_id}: {reasons}. Nothing was published. Find the cause, or publish "
        f"this night with --force",
        {"gate": refused},
    )


def was_refused(run: Run) -> bool:
    """Whether a gate refused the run, and its lists were not published."""
    return gate_summary(run).get("verdict") == "refused"


def verdict_answer(run: Run) -> dict[str, Any]:
    """`gate` and `gate_reason` for the last line of a night: the verdict, and what a reader must know of it."""
    summary = gate_summary(run)
    told = [check for check in summary["checks"] if check["verdict"] == "refused"]
    told = told or [check for check in summary["checks"] if check["verdict"] == summary["verdict"] == "not_examined"]
    reasons = [f"{check['name']}: {check['reason']}" for check in told]
    return {"gate": summary["verdict"], "gate_reason": "; ".join(reasons) or summary["reason"]}
