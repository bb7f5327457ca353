"""The stage `gate`: the new model must be as good as popularity and the published model on the held-out days."""

import logging
from dataclasses import replace

from recsys.evaluation.gate import Verdict, judge
from recsys.evaluation.segments import MeasuredSegment, measure_segment
from recsys.model.checkpoint import ModelCard
from recsys.pipeline.encoders.encode_texts import encode_for
from recsys.pipeline.measuring.measure_holdout import MeasuredHoldout, measure_holdout
from recsys.pipeline.measuring.measure_shard import POPULARITY, SLICE_METRIC
from recsys.pipeline.model_records import GateVerdict
from recsys.pipeline.run import Run
from recsys.pipeline.scoring.fit_fusion import keep_popularity_alone
from recsys.pipeline.stages import FINETUNE
from recsys.pipeline.stored.published_model import published_model
from recsys.schema import ALL_USERS

logger = logging.getLogger(__name__)


def run_gate(run: Run) -> GateVerdict:
    """Measure the new model, popularity and the published model on the held-out days, and judge the new model.

    A refusal is an answer, not an error: the caller stops the night. Where the ranker learned nothing, nobody has
    measured the weights of the other signals before. If popularity beats them, the lists are made of it alone.
    """
    rival = published_model(run)
    if rival is not None:
        encode_for(run, rival)
    measured, verdict = _examine(run, rival)
    below = not verdict.passed and verdict.baselines[POPULARITY].difference.high < 0
    if below and not run.record(FINETUNE).trained and keep_popularity_alone(run):
        warning = f"nothing was learned, and {verdict.reason}: the lists are made of popularity alone"
        # the model is popularity now: what the rules of the shop do to its lists is no reason to refuse it
        measured, verdict = _examine(run, rival, popularity=run.model_id)
        verdict = replace(verdict, warnings=(warning, *verdict.warnings))
    for warning in verdict.warnings:
        logger.warning("gate: %s", warning)
    return GateVerdict(
        rows=measured.num_users,
        verdict="refused" if not verdict.passed else "passed" if verdict.examined else "not_examined",
        reason=verdict.reason,
        compared_with=rival.model_id if rival else "none",
        details=verdict.as_dict(),
        segments=_segments(run, measured, rival),
        peak_memory_mb=measured.peak_memory_mb,
    )


def _examine(run: Run, rival: ModelCard | None, popularity: str = POPULARITY) -> tuple[MeasuredHoldout, Verdict]:
    """Measure and judge; `popularity` is the ranker that counts as popularity."""
    gate = run.config.gate
    models = [run.model_id, *([] if rival is None else [rival.model_id])]
    measured = measure_holdout(run, models, [gate.metric], gate.max_users, "slices")
    values = {name: by_metric[gate.metric] for name, by_metric in measured.values.items()}
    return measured, judge(
        gate.metric,
        values[run.model_id],
        values[popularity],
        values[rival.model_id] if rival else None,
        gate.min_users,
        run.config.seed,
        gate.tolerance,
    )


def _segments(run: Run, measured: MeasuredHoldout, rival: ModelCard | None) -> list[MeasuredSegment]:
    """The new model beside its baselines, for all measured users and by slices."""
    names = {POPULARITY: POPULARITY} | ({} if rival is None else {"published": rival.model_id})
    metric = run.config.gate.metric
    groups = {ALL_USERS: (metric, {ranker: values[metric] for ranker, values in measured.values.items()})}
    groups |= {part: (SLICE_METRIC, values) for part, values in measured.slices.items()}
    return [
        measure_segment(
            segment,
            name,
            values[run.model_id],
            {baseline: values[ranker] for baseline, ranker in names.items()},
            run.config.seed,
        )
        for segment, (name, values) in groups.items()
    ]
