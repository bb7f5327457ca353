"""Records of stages that a test does not run: the values that matter are given, the others are neutral."""

import dataclasses
from types import UnionType
from typing import Any, get_origin, get_type_hints

from recsys.pipeline.run import Run
from recsys.pipeline.stage import Done, R, Stage, Timing

TIMING = Timing(seconds=1.0, rows_per_s=1.0, finished_at="2026-11-22T00:00:00+00:00")


def finish(run: Run, stage: Stage[R], **values: Any) -> R:
    """Store a stage as finished."""
    record: R = _neutral(stage.record, **values)
    run.remember(stage, Done(record, TIMING))
    return record


def _neutral(kind: Any, **values: Any) -> Any:
    """A dataclass or another type with zeros and empty values, except for the given fields."""
    if isinstance(kind, UnionType):
        return None
    if not dataclasses.is_dataclass(kind):
        return (get_origin(kind) or kind)()
    hints = get_type_hints(kind)
    missing = [each.name for each in dataclasses.fields(kind) if each.default is dataclasses.MISSING]
    return kind(**{name: _neutral(hints[name]) for name in missing if name not in values} | values)
