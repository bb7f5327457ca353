"""Each check of finished lists has a limit, a sentence with the figures, and a state for what cannot be examined."""

import dataclasses
from typing import Any

import pytest

from recsys.evaluation.config import GateConfig
from recsys.evaluation.list_checks import CHECKS, CheckResult, NightFigures, check_lists

BEFORE = NightFigures(
    run_id="2026-11-21-abc",
    lists=1000,
    top_k=10,
    items=400,
    short_share=0.1,
    coverage=0.4,
    invalid_share=0.0,
    not_finite_share=0.0,
    equal_share=0.0,
    quarantine_rate=0.01,
)
GATE = GateConfig()
LIMITS: dict[str, float | None] = {f"gate.{name}": value for name, value in GATE} | {"inputs.max_quarantine_rate": 0.05}


def results(before: NightFigures | str = BEFORE, limits: Any = None, **tonight: Any) -> dict[str, CheckResult]:
    figures = dataclasses.replace(BEFORE, run_id="2026-11-22-abc", **tonight)
    return {result.name: result for result in check_lists(figures, before, LIMITS | (limits or {}))}


def test_a_night_like_the_last_one_passes() -> None:
    assert {result.verdict for result in results().values()} == {"passed"}
    assert len(results()) == len(CHECKS)


@pytest.mark.parametrize(
    ("change", "name", "reason"),
    [
        (
            {"lists": 499},
            "users",
            "the users with a list are 49.9 % of those of 2026-11-21-abc; gate.min_users_ratio is at least 50.0 %",
        ),
        ({"lists": 0}, "users", "the users with a list are 0.0 % of those"),
        ({"short_share": 0.5}, "lists", "is 40.0 % above that of 2026-11-21-abc; gate.max_short_lists_rise is at most"),
        (
            {"coverage": 0.1, "items": 100},
            "coverage",
            "are 25.0 % of those of 2026-11-21-abc; gate.min_coverage_ratio is at least 30",
        ),
        ({"quarantine_rate": 0.2}, "quarantine", "20.0 % of the rows of an input were quarantined; inputs.max_quara"),
        ({"not_finite_share": 0.00001}, "scores", "0.001 % of the scores are NaN or infinite; gate.max_non_finite_s"),
        ({"equal_share": 0.9}, "equal scores", "in 90.0 % of the lists all scores are equal; gate.max_equal_score"),
        (
            {"invalid_share": 0.01, "fault": "user 'a': x"},
            "schema",
            "break the contract of the table, such as: user 'a",
        ),
    ],
)
def test_a_bad_night_is_refused_with_the_figures(change: dict[str, Any], name: str, reason: str) -> None:
    found = results(**change)
    assert [each.name for each in found.values() if each.verdict == "refused"] == [name]
    assert reason in found[name].reason
    off = results(limits={next(check.threshold for check in CHECKS if check.name == name): None}, **change)
    assert off[name].verdict == "off"


def test_a_first_night_passes_and_says_what_was_not_examined() -> None:
    found = results("no night was published before")
    skipped = {name for name, result in found.items() if result.verdict == "not_examined"}
    assert skipped == {"users", "lists", "coverage"}
    assert {found[name].reason for name in skipped} == {"no night was published before"}
    assert {result.verdict for name, result in found.items() if name not in skipped} == {"passed"}


def test_a_night_without_lists_is_refused_only_where_there_were_lists() -> None:
    nothing: dict[str, Any] = dict.fromkeys(
        ("items", "short_share", "coverage", "invalid_share", "not_finite_share", "equal_share")
    )
    assert results(lists=0, **nothing)["users"].verdict == "refused"
    first = results("no night was published before", lists=0, **nothing)
    assert {result.verdict for result in first.values()} == {"not_examined", "passed"}
    old = dataclasses.replace(BEFORE, **nothing)  # an older version published it: only its users are known
    assert results(old)["coverage"].reason == "2026-11-21-abc has no figure to compare with"


@pytest.mark.parametrize(
    "change",
    [{"coverage": 0.04, "items": 400, "lists": 5000}, {"coverage": 0.4, "items": 40}],
    ids=["ten times the catalog", "a tenth of the catalog"],
)
def test_a_shop_may_grow_and_shrink(change: dict[str, Any]) -> None:
    assert {result.verdict for result in results(**change).values()} == {"passed"}


def test_lists_of_another_length_are_not_compared() -> None:
    found = results(top_k=2, items=80, coverage=0.08, short_share=0.9)
    for name in ("coverage", "lists"):
        assert found[name].verdict == "not_examined"
        assert found[name].reason == "recommend.top_k was 10 in 2026-11-21-abc and is 2 now"
    assert found["users"].verdict == "passed"


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_every_threshold_is_a_key_of_the_config(check: Any) -> None:
    assert check.threshold in LIMITS
