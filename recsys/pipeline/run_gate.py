"""The stage `gate`: the new model must be as good as popularity and the published model on the held-out days."""

import logging

from recsys.evaluation.gate import judge
from recsys.pipeline.encode_texts import encode_for
from recsys.pipeline.measure_holdout import measure_holdout
from recsys.pipeline.measure_shard import POPULARITY
from recsys.pipeline.published_model import published_model
from recsys.pipeline.records import GateVerdict
from recsys.pipeline.run import Run

logger = logging.getLogger(__name__)


def run_gate(run: Run) -> GateVerdict:
    """Measure the new model, popularity and the published model on the held-out days, and judge the new model.

    A refusal is an answer, not an error: the caller stops the night.
    """
    gate = run.config.gate
    rival = published_model(run)
    models = [run.model_id]
    if rival is not None:
        encode_for(run, rival)
        models.append(rival.model_id)
    measured = measure_holdout(run, models, [gate.metric], gate.max_users)
    values = {name: by_metric[gate.metric] for name, by_metric in measured.values.items()}
    verdict = judge(
        gate.metric,
        values[run.model_id],
        values[POPULARITY],
        values[rival.model_id] if rival else None,
        gate.min_users,
        run.config.seed,
        gate.tolerance,
    )
    for warning in verdict.warnings:
        logger.warning("gate: %s", warning)
    return GateVerdict(
        rows=measured.num_users,
        verdict="refused" if not verdict.passed else "passed" if verdict.examined else "not_examined",
        reason=verdict.reason,
        compared_with=rival.model_id if rival else "none",
        details=verdict.as_dict(),
        peak_memory_mb=measured.peak_memory_mb,
    )
