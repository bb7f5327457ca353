"""Compares the arms of the experiments of past nights by what users did afterwards."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.config.stored import decode_stored
from recsys.data.assignment import arm_in
from recsys.data.histories import hash_ids, rank_ids
from recsys.errors import InputError, NewerFormatError
from recsys.evaluation.comparison import Comparison, ExperimentTotals
from recsys.evaluation.realized import RealizedLists
from recsys.pipeline.measuring.past_lists import PastNight, PastNights
from recsys.ranking.experiment_config import Experiment
from recsys.storage.manifest import read_manifest

logger = logging.getLogger(__name__)

_USER_KEY = "recsys-compare--"
_METRICS = ("hitrate@10", "ndcg@10", "taken_per_list")


def experiment_nights(past: PastNights, name: str) -> tuple[Experiment, list[PastNight]]:
    """The newest definition of an experiment, and the nights that had it; nights before a change are left out.

    Raises:
        InputError: no past night had the experiment.
    """
    defined = [(night, _definition(night.manifest, name)) for night in past.nights]
    known = [(night, one) for night, one in defined if one is not None]
    if not known:
        names = sorted({one["name"] for night in past.nights for one in _experiments(night.manifest)})
        raise InputError(f"--compare {name}: no past night has this experiment; they have {', '.join(names) or 'none'}")
    newest = known[-1][1]
    same: list[PastNight] = []
    for night, one in reversed(known):
        if not _same_split(one, newest):
            logger.warning(
                "%s: it was changed after %s; that night and those before are left out", name, night.pointer.run_date
            )
            break
        same.insert(0, night)
    if same[0] is past.nights[0] and _began_before(past, newest):
        logger.warning(
            "%s: it began before %s, and older nights are not joined: raise realized.nights, since the intervals hold "
            "from one first night on",
            *(name, past.nights[0].pointer.run_date),
        )
    return newest, same


def compare_arms(past: PastNights, experiment: Experiment, nights: Sequence[PastNight]) -> Comparison:
    """The arms of an experiment beside its control, night by night."""
    metrics = [*_METRICS, *(["revenue_per_list"] if past.prices else [])]
    totals = ExperimentTotals({arm.name: arm.share for arm in experiment.arms}, metrics)
    nobody = (np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64), np.zeros((0, len(metrics))))
    for night in nights:
        # a night may have no lists
        parts = [nobody, *(_members(found, experiment, priced=bool(past.prices)) for found in past.results(night))]
        users, arms, values = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        totals.add_night(users, arms, values)
    return totals.compare()


def _members(
    found: RealizedLists, experiment: Experiment, *, priced: bool
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Numbers, arms and values of the users of a shard who are in the experiment."""
    names, variant = rank_ids(found.variants)
    places = {arm.name: place for place, arm in enumerate(experiment.arms)}
    arm_of_variant = np.array([places.get(arm_in(name, experiment.name) or "", -1) for name in names.to_pylist()])
    arms = arm_of_variant[variant]
    inside = arms >= 0
    columns = [*found.accuracy.values(), found.taken, *([found.revenue] if priced else [])]
    users = hash_ids(found.user_ids.filter(pa.array(inside)), _USER_KEY)
    return users, arms[inside], np.stack(columns, axis=1)[inside]


def _began_before(past: PastNights, experiment: Experiment) -> bool:
    """Whether the newest night that is too old to be joined had the experiment, as far as it can be read."""
    if past.older is None:
        return False
    try:
        before = _definition(read_manifest(past.storage, past.older), experiment.name)
    except (InputError, NewerFormatError):
        return False
    return before is not None and _same_split(before, experiment)


def _same_split(one: Experiment, other: Experiment) -> bool:
    return (one.split_by, one.arms) == (other.split_by, other.arms)


def _experiments(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (manifest.get("config") or {}).get("experiments") or []
    return found


def _definition(manifest: Mapping[str, Any], name: str) -> Experiment | None:
    found = next((one for one in _experiments(manifest) if one["name"] == name), None)
    return None if found is None else decode_stored(Experiment, found, f"manifest of {manifest['run_id']}")


def as_answer(experiment: Experiment, nights: Sequence[PastNight], compared: Comparison) -> dict[str, Any]:
    """The comparison after the last night, as plain values for JSON; null where there is no interval yet."""
    return {
        "experiment": experiment.name,
        "control": compared.arms[0],
        "nights": len(nights),
        "first_night": nights[0].pointer.run_date.isoformat(),
        "last_night": nights[-1].pointer.run_date.isoformat(),
        "users": dict(zip(compared.arms, compared.ratio.users, strict=True)),
        "expected_users": dict(zip(compared.arms, np.round(compared.ratio.expected, 1).tolist(), strict=True)),
        "sample_ratio_p_value": compared.ratio.p_value,
        "sample_ratio_mismatch": compared.ratio.mismatch,
        "switched_users": compared.switched,
        "results": [
            {
                "arm": one.arm,
                "metric": one.metric,
                "mean": _number(one.mean),
                "control_mean": _number(one.control_mean),
                "difference": _bounds(one.difference),
                "lift_percent": _bounds(one.lift, 100),
                "different": one.is_different,
            }
            for one in compared.results
        ],
    }


def _bounds(found: Any, factor: float = 1.0) -> dict[str, float | None]:
    return {name: _number(factor * getattr(found, name)) for name in ("estimate", "low", "high")}


def _number(values: npt.NDArray[np.float64]) -> float | None:
    return round(float(values[-1]), 6) if np.isfinite(values[-1]) else None
