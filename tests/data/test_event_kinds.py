"""Kinds of events: which models learn, and what people are told."""

import pyarrow as pa
import pytest

from recsys.data.events.event_kinds import EventKinds
from recsys.errors import InputError


def kinds_of(*rows: tuple[str, float], item: str = "i") -> EventKinds:
    """Of events of these kinds and weights."""
    kinds, weights = zip(*rows, strict=True)
    return EventKinds.count(pa.table({"item_id": [item] * len(rows), "event": kinds, "weight": weights}))


MIXED = kinds_of(("view", 0.0), ("buy", 1.0), ("buy", 2.0), ("return", -1.0), ("view", 0.5))


def test_positives_are_learned_and_the_others_are_counted() -> None:
    assert (MIXED.learned, MIXED.non_positive, MIXED.weightless) == (["buy", "view"], {"return": 1, "view": 1}, False)
    assert MIXED.warnings({"buy": 2.0}, has_kinds=True) == []


def test_parts_add_up() -> None:
    searches = kinds_of(("search", 0.0), item="")
    total = EventKinds.sum([MIXED, searches.as_json(), MIXED.as_json()])
    assert total.positive == {"buy": 4, "view": 2}
    assert total.learned == ["buy", "search", "view"]


def test_where_no_event_has_a_weight_all_of_weight_0_count_as_1() -> None:
    none = kinds_of(("view", 0.0), ("buy", 0.0), ("return", -1.0))
    none.refuse_only_negative()
    assert (none.learned, none.non_positive, none.weightless) == (["buy", "view"], {"return": 1}, True)
    (warning,) = none.warnings({}, has_kinds=True)
    assert "none of the events has a weight above 0 (weight 0: 'view' (1), 'buy' (1))" in warning


def test_events_that_only_say_what_users_do_not_want_are_refused() -> None:
    only = kinds_of(("return", -1.0), ("return", -2.0))
    with pytest.raises(
        InputError, match=r"all 2 events have a negative weight \('return' \(2\)\).*inputs.event_weights"
    ):
        only.refuse_only_negative()
    MIXED.refuse_only_negative()


def test_kinds_that_no_event_has_are_named_with_those_that_there_are() -> None:
    (warning,) = MIXED.warnings(["Buy", "purchase", "wish list"], has_kinds=True)
    assert warning == (
        "inputs.event_weights: no event is of the kind 'purchase', 'wish list'; there are 'buy' (2), 'view' (2), "
        "'return' (1)"
    )
    (warning,) = kinds_of(("interaction", 1.0)).warnings(["buy"], has_kinds=False)
    assert warning.endswith("'interaction' (1); inputs.events.columns.event names no column")


def test_of_many_kinds_the_commonest_are_named() -> None:
    many = kinds_of(*((f"k{number:04}", 1.0) for number in range(1000)), ("k0999", 1.0))
    (warning,) = many.warnings(["buy"], has_kinds=True)
    assert "there are 'k0999' (2), 'k0000' (1)" in warning
    assert warning.endswith("and 980 more")
    assert len(many.learned) == 1000


def test_of_very_many_kinds_the_commonest_are_learned() -> None:
    ids = kinds_of(*((f"k{number:04}", 1.0) for number in range(1200)), ("k1199", 1.0))
    assert ids.learned == [*(f"k{number:04}" for number in range(999)), "k1199"]
    (warning,) = ids.warnings({}, has_kinds=True)
    assert warning.startswith("inputs.events.columns.event: there are 1,200 kinds of events, such as 'k1199' (2), ")
