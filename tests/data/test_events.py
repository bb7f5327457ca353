import dataclasses
import datetime as dt
import json
import uuid
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.checks.quarantine import Reason
from recsys.data.config import EventsInput
from recsys.data.events.interactions import EventRules, NormalisedEvents, normalise_events
from recsys.errors import InputError
from recsys.schema import INTERACTIONS, INTERACTIONS_WITH_TEXT, QUARANTINE

COLUMNS = {"user_id": "who", "item_id": "what", "timestamp": "when", "event": "kind", "weight": "much"}
SPEC = EventsInput(path="unused", columns=COLUMNS)  # type: ignore[arg-type]
RULES = EventRules(
    known_items=pa.array(["i1", "i2", "7"]),
    max_id_chars=5,
    earliest=dt.datetime(1990, 1, 1, tzinfo=dt.UTC),
    end=dt.datetime(2026, 11, 23, tzinfo=dt.UTC),
    now=dt.datetime(2026, 11, 24, 9, tzinfo=dt.UTC),
)
GOOD = {"who": "u1", "what": "i1", "when": "2026-11-22 10:00", "kind": "view", "much": "2"}


def normalise(*rows: dict[str, Any], spec: EventsInput = SPEC, rules: EventRules = RULES) -> NormalisedEvents:
    table = pa.table({name: pa.array([row[name] for row in rows]) for name in rows[0]})
    found = normalise_events(table, "f.csv", spec, rules)
    assert found.accepted.schema == INTERACTIONS
    assert found.quarantined.schema == QUARANTINE
    found.accepted.validate(full=True)
    parts = found.accepted.num_rows + found.quarantined.num_rows + found.num_filtered + found.num_later
    assert found.num_read == len(rows) == parts
    return found


def test_a_good_row_becomes_an_interaction() -> None:
    found = normalise(GOOD | {"who": " u1 "})

    assert found.accepted.to_pylist() == [
        {
            "user_id": "u1",
            "item_id": "i1",
            "timestamp": dt.datetime(2026, 11, 22, 10, tzinfo=dt.UTC),
            "event": "view",
            "weight": 2.0,
        }
    ]
    assert found.newest == dt.datetime(2026, 11, 22, 10, tzinfo=dt.UTC)


def test_missing_kinds_and_weights_have_defaults() -> None:
    blank = normalise(GOOD | {"kind": None, "much": None}, GOOD | {"kind": " ", "much": ""})
    unmapped = normalise(GOOD, spec=EventsInput(path="x", columns=COLUMNS | {"event": None, "weight": None}))  # type: ignore[arg-type]

    for row in blank.accepted.to_pylist() + unmapped.accepted.to_pylist():
        assert (row["event"], row["weight"]) == ("interaction", 1.0)


@pytest.mark.parametrize(
    ("change", "column", "reason"),
    [
        ({"who": None}, "who", Reason.MISSING_USER),
        ({"who": "  "}, "who", Reason.MISSING_USER),
        ({"what": ""}, "what", Reason.MISSING_ITEM),
        ({"who": "123456"}, "who", Reason.ID_TOO_LONG),
        ({"what": "123456"}, "what", Reason.ID_TOO_LONG),
        ({"who": "a\nb"}, "who", Reason.UNPRINTABLE_ID),
        ({"what": "a\x00b"}, "what", Reason.UNPRINTABLE_ID),
        ({"when": "soon"}, "when", Reason.UNREADABLE_TIMESTAMP),
        ({"when": None}, "when", Reason.UNREADABLE_TIMESTAMP),
        ({"when": "2026-11-25 09:00:01"}, "when", Reason.FUTURE_TIMESTAMP),
        ({"much": "lots"}, "much", Reason.UNREADABLE_WEIGHT),
        ({"much": "nan"}, "much", Reason.NON_FINITE_WEIGHT),
        ({"much": "-inf"}, "much", Reason.NON_FINITE_WEIGHT),
        ({"much": "1e39"}, "much", Reason.NON_FINITE_WEIGHT),
        ({"much": "1e31"}, "much", Reason.NON_FINITE_WEIGHT),
        ({"much": "-1e31"}, "much", Reason.NON_FINITE_WEIGHT),
        ({"what": "i9"}, "what", Reason.UNKNOWN_ITEM),
        ({"who": None, "what": None, "when": None, "much": "x"}, "who", Reason.MISSING_USER),
        ({"much": "x", "what": "i9"}, "much", Reason.UNREADABLE_WEIGHT),
    ],
)
def test_a_bad_row_is_set_aside_with_its_first_fault(change: dict[str, Any], column: str, reason: str) -> None:
    found = normalise(GOOD, GOOD | change, GOOD)

    assert found.accepted.num_rows == 2
    (aside,) = found.quarantined.to_pylist()
    assert json.loads(aside.pop("row")) == GOOD | change
    assert aside == {"source": "f.csv", "column": column, "reason": reason}


@pytest.mark.parametrize(
    ("kind", "much", "weight"),
    [
        ("view", "2", 1.0),
        (" Purchase", "2", 6.0),
        ("add-to cart", None, 4.0),
        ("click", "2", 2.0),
        ("view", "-2", -1.0),
        ("return", "2", -2.0),
        ("Thumbs Down", "", -1.0),
        ("return", "-2", -2.0),
        ("４.0", "5", 10.0),
        ("glance", "5", 0.0),
        ("glance", "-5", 0.0),
        ("dislike", "0", 0.0),
        ("click", "1e-60", 1.1754944e-38),
    ],
)
def test_a_weight_is_that_of_the_event_times_that_of_its_kind(kind: str, much: str | None, weight: float) -> None:
    """Negative where one of both is negative; an event of any such weight is accepted."""
    weights = {"View": 0.5, "purchase": 3.0, "add_to_cart": 4.0, "glance": 0.0, "4": 2.0}
    found = normalise(GOOD | {"kind": kind, "much": much}, rules=dataclasses.replace(RULES, event_weights=weights))
    assert found.accepted["weight"].to_pylist() == [pytest.approx(weight)]
    assert found.accepted["event"].to_pylist() == [kind.strip()]


def test_a_weight_of_a_kind_wins_over_the_built_in_one() -> None:
    rules = dataclasses.replace(RULES, event_weights={"RETURN": 1.0})
    found = normalise(GOOD | {"kind": "return"}, GOOD | {"kind": "refund"}, rules=rules)
    assert found.accepted["weight"].to_pylist() == [2.0, -2.0]


def test_a_product_of_weights_that_no_number_holds_is_a_bad_row() -> None:
    found = normalise(
        GOOD | {"kind": "buy", "much": "1e305"}, rules=dataclasses.replace(RULES, event_weights={"buy": 1e6})
    )
    assert found.quarantined["reason"].to_pylist() == [Reason.NON_FINITE_WEIGHT]


def test_events_after_the_night_wait_for_a_later_night() -> None:
    found = normalise(
        GOOD | {"when": "2026-11-22T23:59:59.999999Z"},
        GOOD | {"when": "2026-11-23"},
        GOOD | {"when": "2026-11-25T09:00:00Z", "what": "not in this catalog yet"},
    )

    assert (found.accepted.num_rows, found.num_later, found.quarantined.num_rows) == (1, 2, 0)


def test_a_night_after_today_takes_its_own_events() -> None:
    ahead = replace(RULES, end=dt.datetime(2030, 1, 1, tzinfo=dt.UTC))

    found = normalise(GOOD | {"when": "2029-12-31"}, GOOD | {"when": "2030-01-01"}, rules=ahead)

    assert found.accepted.num_rows == 1
    assert found.quarantined["reason"].to_pylist() == ["future_timestamp"]


def test_filtered_rows_are_counted_and_not_checked() -> None:
    spec = EventsInput(path="x", columns=COLUMNS, where="much > 0")  # type: ignore[arg-type]

    found = normalise(GOOD, GOOD | {"much": "-1", "who": None}, GOOD | {"much": "?"}, spec=spec)
    nothing = normalise(GOOD | {"much": "0"}, spec=spec)

    assert (found.accepted.num_rows, found.num_filtered, found.quarantined.num_rows) == (1, 2, 0)
    assert (nothing.accepted.num_rows, nothing.num_filtered, nothing.newest) == (0, 1, None)


def test_numbers_as_ids() -> None:
    table = pa.table(
        {
            "who": pa.array([17850.0, 2.5, float("nan")]),
            "what": pa.array([7, 7, 7], pa.uint8()),
            "when": pa.array([1_790_000_000] * 3),
        }
    )
    spec = EventsInput(path="x", columns={k: COLUMNS[k] for k in ("user_id", "item_id", "timestamp")})  # type: ignore[arg-type]

    found = normalise_events(table, "f", spec, RULES)

    assert found.accepted["user_id"].to_pylist() == ["17850", "2.5"]
    assert found.accepted["item_id"].to_pylist() == ["7", "7"]
    (aside,) = found.quarantined.to_pylist()
    assert json.loads(aside["row"]) == {"who": "nan", "what": 7, "when": 1_790_000_000}
    text = normalise(GOOD | {"who": "178.0"})
    assert text.accepted["user_id"].to_pylist() == ["178.0"]


def test_types_that_other_writers_choose() -> None:
    user = uuid.UUID("549b1aa4-b65d-4923-9473-8c759541286e")
    table = pa.table(
        {
            "who": pa.array([user.bytes] * 2, pa.uuid()),
            "what": pa.array([b"i1", b"\xff"], pa.large_binary()),
            "when": pa.array(["1700000000", "1700000001"]).dictionary_encode(),
            "kind": pa.array(["view", "view"], pa.large_string()),
            "much": pa.array(["2", ""]).dictionary_encode(),
        }
    )
    rules = replace(RULES, max_id_chars=36)

    found = normalise_events(table, "f", SPEC, rules)

    assert [(row["user_id"], row["item_id"], row["weight"]) for row in found.accepted.to_pylist()] == [
        (str(user), "i1", 2)
    ]
    (aside,) = found.quarantined.to_pylist()
    assert aside["reason"] == Reason.INVALID_ENCODING
    assert json.loads(aside["row"]) == {
        "who": str(user),
        "what": "\\xff",
        "when": "1700000001",
        "kind": "view",
        "much": "",
    }


def test_missing_columns_and_lists_are_refused() -> None:
    table = pa.table({name: [value] for name, value in GOOD.items()})

    with pytest.raises(
        InputError, match=r"inputs\.events\.columns\.user_id: column 'who' is not in f\.csv; its columns are what"
    ):
        normalise_events(table.drop_columns(["who"]), "f.csv", SPEC, RULES)
    with pytest.raises(InputError, match=r"inputs\.events\.where: column 'zz' is not in f\.csv"):
        normalise_events(table, "f.csv", EventsInput(path="x", columns=COLUMNS, where="zz > 1"), RULES)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"'who'.*list"):
        normalise_events(table.set_column(0, "who", pa.array([["u"]])), "f.csv", SPEC, RULES)


def test_an_empty_table_gives_no_events() -> None:
    assert normalise_events(pa.table({}), "f.csv", SPEC, RULES).num_read == 0


_CELL = st.one_of(
    st.none(),
    st.sampled_from(["", "u1", "i1", "i2", "nan", "-1", "3", "2026-11-22", "2026-11-23", "2099-01-01"]),
    st.text(max_size=7),
)


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(GOOD, _CELL)), min_size=1, max_size=8), st.integers(0, 8))
def test_each_row_is_counted_once_wherever_the_table_is_cut(rows: list[dict[str, Any]], cut: int) -> None:
    spec = EventsInput(path="x", columns=COLUMNS, where="kind != '3'")  # type: ignore[arg-type]
    schema = pa.schema([(name, pa.string()) for name in GOOD])
    table = pa.Table.from_pylist(rows, schema)

    whole = normalise_events(table, "f", spec, RULES)
    parts = [normalise_events(part, "f", spec, RULES) for part in (table.slice(0, cut), table.slice(cut))]

    assert whole.num_read == whole.accepted.num_rows + whole.quarantined.num_rows + whole.num_filtered + whole.num_later
    assert pa.concat_tables([part.accepted for part in parts]) == whole.accepted
    assert pa.concat_tables([part.quarantined for part in parts]) == whole.quarantined
    assert all(row["timestamp"] < RULES.end and row["weight"] >= 0 for row in whole.accepted.to_pylist())


TALKING = EventsInput(path="x", columns=COLUMNS | {"text": "said"}, max_text_chars=9)  # type: ignore[arg-type]


def test_a_text_without_an_item_is_a_search_and_with_one_a_review() -> None:
    rows = [
        GOOD | {"what": None, "said": " Oak\n\x00bench "},
        GOOD | {"what": " ", "said": "a very long search"},
        GOOD | {"said": "Cafe\u0301"},
        GOOD | {"said": None},
        GOOD | {"said": " ... !"},
        GOOD | {"said": "\u2764"},
    ]
    table = pa.Table.from_pylist(rows)

    found = normalise_events(table, "f.csv", TALKING, RULES)

    assert found.accepted.schema == INTERACTIONS_WITH_TEXT
    assert not len(found.quarantined)
    kept = [(row["item_id"], row["text"]) for row in found.accepted.to_pylist()]
    assert kept == [("", "Oak bench"), ("", "a very lo"), ("i1", "Café"), ("i1", ""), ("i1", ""), ("i1", "\u2764")]
    assert normalise(*rows).quarantined["reason"].to_pylist() == [Reason.MISSING_ITEM] * 2, "where no text is read"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"what": None, "said": None}, Reason.MISSING_ITEM),
        ({"what": "", "said": " \t\x00"}, Reason.MISSING_ITEM),
        ({"what": None, "said": "???"}, Reason.MISSING_ITEM),
        ({"what": "strange", "said": "a review"}, Reason.ID_TOO_LONG),
        ({"what": "i9", "said": "a review"}, Reason.UNKNOWN_ITEM),
        ({"what": None, "said": "words", "who": None}, Reason.MISSING_USER),
        ({"what": None, "said": "x" * 100_001}, Reason.MISSING_ITEM),
        ({"said": "x" * 100_001}, Reason.TEXT_TOO_LONG),
    ],
)
def test_a_row_with_a_text_can_have_other_faults(change: dict[str, Any], reason: Reason) -> None:
    found = normalise_events(pa.Table.from_pylist([GOOD | {"said": "x"} | change]), "f.csv", TALKING, RULES)
    assert found.quarantined["reason"].to_pylist() == [reason]
