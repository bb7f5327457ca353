"""The checks of finished lists before they are published. Each compares one figure with a threshold of the config."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import ConfigDict

from recsys.config.strict_json import STRICT


@dataclass(frozen=True, kw_only=True)
class NightFigures:
    """What the checks look at: figures of a night's lists, and of its inputs."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    run_id: str
    lists: int
    """Users with a list."""
    top_k: int | None = None
    """`recommend.top_k`."""
    items: int | None = None
    """Items that are in a list."""
    short_share: float | None
    """Share of the lists that have fewer items than `recommend.top_k` and the catalog allow."""
    coverage: float | None
    """Share of the items that may be recommended which are in a list."""
    invalid_share: float | None
    """Share of the lists that break the contract of the table."""
    not_finite_share: float | None
    """Share of the scores that are NaN or infinite."""
    equal_share: float | None
    """Share of the lists of two items or more in which all scores are equal; None where there are few of them, or the
    ranker is not trained: then equal scores are no fault."""
    quarantine_rate: float | None
    """Largest share of bad rows of an input."""
    fault: str = ""
    """What is wrong with the first list that breaks the contract."""


#: The figure of a check, or the reason why there is none.
Figure = float | str
Measure = Callable[[NightFigures, NightFigures | str], Figure]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check: its name, its function, its threshold and its sentence."""

    name: str
    threshold: str
    """Config key of the limit; null switches the check off."""
    kind: Literal["at least", "at most"]
    measure: Measure
    """From the figures of tonight, and those of the night before or the reason why there are none."""
    sentence: str
    """What is measured, with `{value}`, `{fault}` and `{before}` (the run id of the night before)."""


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The verdict of one check."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: str
    verdict: Literal["passed", "refused", "not_examined", "off"]
    value: float | None
    threshold: float | None
    reason: str
    """A sentence for people, without its full stop."""


def _own(field: str, missing: str) -> Measure:
    """A figure of tonight."""

    def measure(tonight: NightFigures, _: NightFigures | str) -> Figure:
        value: float | None = getattr(tonight, field)
        return missing if value is None else value

    return measure


def _against(compare: Callable[[NightFigures, NightFigures], Figure]) -> Measure:
    """A figure of tonight beside that of the night before, if there is one."""

    def measure(tonight: NightFigures, before: NightFigures | str) -> Figure:
        return before if isinstance(before, str) else compare(tonight, before)

    return measure


def _users(tonight: NightFigures, before: NightFigures) -> Figure:
    """The users with a list, as a share of the night before's."""
    return tonight.lists / before.lists if before.lists else _no_figure(before)


def _more_short(tonight: NightFigures, before: NightFigures) -> Figure:
    """How much larger the share of short lists is than the night before's."""
    if other := _other_length(tonight, before):
        return other
    old, new = before.short_share, tonight.short_share
    return _no_figure(before) if old is None or new is None else new - old


def _coverage(tonight: NightFigures, before: NightFigures) -> Figure:
    """The items in a list, as a share of the night before's.

    A catalog that grows lowers their share of the catalog, one that shrinks their number: the better of both counts.
    """
    if other := _other_length(tonight, before):
        return other
    pairs = ((tonight.coverage, before.coverage), (tonight.items, before.items))
    return max((new / old for new, old in pairs if old and new is not None), default=_no_figure(before))


def _other_length(tonight: NightFigures, before: NightFigures) -> str:
    """Why lists of another length are not compared; empty where the length is the same."""
    if before.top_k in (None, tonight.top_k):
        return ""
    return f"recommend.top_k was {before.top_k} in {before.run_id} and is {tonight.top_k} now"


def _no_figure(before: NightFigures) -> str:
    return f"{before.run_id} has no figure to compare with"


#: Every check, in the order of reports.
CHECKS = (
    Check(
        name="schema",
        threshold="gate.max_invalid_lists",
        kind="at most",
        measure=_own("invalid_share", "there is no list"),
        sentence="{value} of the lists break the contract of the table{fault}",
    ),
    Check(
        name="scores",
        threshold="gate.max_non_finite_scores",
        kind="at most",
        measure=_own("not_finite_share", "there is no list"),
        sentence="{value} of the scores are NaN or infinite",
    ),
    Check(
        name="equal scores",
        threshold="gate.max_equal_score_lists",
        kind="at most",
        measure=_own("equal_share", "the ranker is not trained, or there are too few lists of two items"),
        sentence="in {value} of the lists all scores are equal",
    ),
    Check(
        name="users",
        threshold="gate.min_users_ratio",
        kind="at least",
        measure=_against(_users),
        sentence="the users with a list are {value} of those of {before}",
    ),
    Check(
        name="lists",
        threshold="gate.max_short_lists_rise",
        kind="at most",
        measure=_against(_more_short),
        sentence="the share of lists with fewer items than possible is {value} above that of {before}",
    ),
    Check(
        name="coverage",
        threshold="gate.min_coverage_ratio",
        kind="at least",
        measure=_against(_coverage),
        sentence="the items in lists, by number or by share of the catalog, are {value} of those of {before}",
    ),
    Check(
        name="quarantine",
        threshold="inputs.max_quarantine_rate",
        kind="at most",
        measure=_own("quarantine_rate", "no row was read"),
        sentence="{value} of the rows of an input were quarantined",
    ),
)


def check_lists(
    tonight: NightFigures, before: NightFigures | str, thresholds: Mapping[str, float | None]
) -> list[CheckResult]:
    """Every check of `CHECKS`.

    Args:
        tonight: Figures of the new lists.
        before: Figures of the night before, or the reason why there are none.
        thresholds: The limit by config key; None switches a check off.
    """
    return [_judge(check, tonight, before, thresholds[check.threshold]) for check in CHECKS]


def _judge(check: Check, tonight: NightFigures, before: NightFigures | str, limit: float | None) -> CheckResult:
    value = check.measure(tonight, before)
    if isinstance(value, str):
        return CheckResult(name=check.name, verdict="not_examined", value=None, threshold=limit, reason=value)
    fault = f", such as: {tonight.fault}" if tonight.fault else ""
    run = before if isinstance(before, str) else before.run_id
    reason = check.sentence.format(value=_percent(value), fault=fault, before=run)
    if limit is None:
        return CheckResult(name=check.name, verdict="off", value=value, threshold=None, reason=reason)
    passed = value >= limit if check.kind == "at least" else value <= limit
    if not passed:
        reason += f"; {check.threshold} is {check.kind} {_percent(limit)}"
    verdict: Literal["passed", "refused"] = "passed" if passed else "refused"
    return CheckResult(name=check.name, verdict=verdict, value=value, threshold=limit, reason=reason)


def _percent(value: float) -> str:
    """Few digits, but never 0 % for what is not 0.

    >>> _percent(0.5), _percent(0.00004), _percent(0.0), _percent(-0.25)
    ('50.0 %', '0.004 %', '0.0 %', '-25.0 %')
    """
    return f"{value * 100:.1f} %" if round(abs(value), 3) or not value else f"{value * 100:.1g} %"
