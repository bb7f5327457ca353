"""What a stage will take, from nights that were measured."""

from jobs.nightly import NIGHT
from recsys.pipeline.doctor.estimate_stages import REFERENCE, MeasuredNight, StageCost, estimate_stage


def night(seconds: float, events: int = 1000) -> MeasuredNight:
    costs = {"ingest": StageCost(seconds, 800.0, 10), "catalog": StageCost(seconds, 3500.0, 10)}
    return MeasuredNight(name=f"night of {seconds}", events=events, items=100, costs=costs)


def test_time_and_storage_grow_with_the_rows_and_memory_above_that_of_the_libraries() -> None:
    ingest = estimate_stage("ingest", [night(2.0)], events=3000, items=100)
    assert ingest == StageCost(seconds=6.0, peak_memory_mb=800.0, stored_bytes=30, measured="last night")
    catalog = estimate_stage("catalog", [night(2.0)], events=3000, items=50)
    assert catalog == StageCost(seconds=1.0, peak_memory_mb=2500.0, stored_bytes=5, measured="last night")


def test_one_night_beside_other_work_does_not_count() -> None:
    cost = estimate_stage("ingest", [night(90.0), night(2.0), night(2.5)], events=1000, items=100)
    assert cost is not None
    assert (cost.seconds, cost.measured) == (2.5, "last 3 nights")


def test_a_stage_that_no_night_of_the_storage_has_is_estimated_from_the_reference() -> None:
    cost = estimate_stage("finetune", [night(2.0)], REFERENCE.events, REFERENCE.items)
    assert cost is not None
    assert (cost.seconds, cost.measured) == (212.5, "Online Retail")
    assert estimate_stage("of a plugin", [], 1, 1) is None


def test_a_night_of_a_shop_without_events_says_nothing_of_the_first_events() -> None:
    cost = estimate_stage("ingest", [night(2.0, events=0)], REFERENCE.events, REFERENCE.items)
    assert cost is not None
    assert (cost.seconds, cost.measured) == (0.2, "Online Retail")
    sample = estimate_stage("ingest", [night(2.0, events=REFERENCE.events // 1000)], REFERENCE.events, REFERENCE.items)
    assert sample == cost
    still_without = estimate_stage("ingest", [night(2.0, events=0)], 0, 100)
    assert still_without == StageCost(seconds=0.0, peak_memory_mb=800.0, stored_bytes=0, measured="last night")


def test_the_reference_has_every_stage_that_all_nights_have() -> None:
    assert {stage.name for stage in NIGHT if stage.condition is None} <= set(REFERENCE.costs)
