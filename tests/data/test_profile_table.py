"""What users are: one text a user, of the latest values."""

from typing import Any

import pyarrow as pa
import pytest

from recsys.data.config import UsersInput
from recsys.data.histories import empty_histories
from recsys.data.profile_table import build_profiles, user_version_spec, with_profiles
from recsys.data.versions import Versions, merge_versions, read_versions
from recsys.errors import InputError
from recsys.schema import HISTORIES, PROFILE, PROFILES


def spec(text: str = "{age} year old {job}", **options: Any) -> UsersInput:
    return UsersInput(path="unused", text=text, columns={"user_id": "who"} | options.pop("columns", {}), **options)


def versions(rows: list[dict[str, Any]], users: UsersInput) -> Versions:
    return read_versions(pa.Table.from_pylist(rows), "f.csv", user_version_spec(users), 10, 0)


def profiles(rows: list[dict[str, Any]], users: UsersInput) -> pa.Table:
    built = build_profiles(merge_versions([versions(rows, users).versions]), users)
    assert built.schema == PROFILES
    return built


def test_the_latest_value_of_each_column_wins_and_empty_profiles_are_left_out() -> None:
    rows = [
        {"who": 2, "age": 30, "job": "\x00cook "},
        {"who": 1, "age": None, "job": " "},
        {"who": 2, "age": 31, "job": None},
        {"who": 3, "age": None, "job": "Cafe\u0301 owner"},
    ]
    assert profiles(rows, spec()).to_pylist() == [
        {"user_id": "2", "profile": "31 year old cook"},
        {"user_id": "3", "profile": "year old Café owner"},
    ]
    assert profiles(rows, spec(max_text_chars=7))["profile"].to_pylist() == ["31 year", "year ol"]


def test_a_timestamp_decides_what_is_latest() -> None:
    users = spec("{age}", columns={"timestamp": "when"})
    rows = [{"who": "a", "age": "2", "when": "2026-02-01"}, {"who": "a", "age": "1", "when": "2026-01-01"}]
    assert profiles(rows, users)["profile"].to_pylist() == ["2"]


@pytest.mark.parametrize(
    ("change", "column", "reason"),
    [
        ({"who": None}, "who", "missing_user"),
        ({"who": "12345678901"}, "who", "id_too_long"),
        ({"who": "a\tb"}, "who", "unprintable_id"),
        ({"job": "x" * 100_001}, "job", "text_too_long"),
    ],
)
def test_bad_rows_are_set_aside(change: dict[str, Any], column: str, reason: str) -> None:
    good = {"who": "a", "age": "1", "job": "x"}
    found = versions([good, good | change], spec())
    (aside,) = found.quarantined.to_pylist()
    assert (aside["column"], aside["reason"], len(found.versions)) == (column, reason, 1)


def test_errors_name_the_key_of_the_users() -> None:
    with pytest.raises(InputError, match=r"inputs\.users\.text: column 'job' is not in f\.csv"):
        versions([{"who": "a", "age": "1"}], spec())
    with pytest.raises(InputError, match=r"inputs\.users\.columns\.user_id: column 'who' is not in"):
        versions([{"age": "1", "job": "x"}], spec())


def test_histories_get_the_profiles_of_their_users() -> None:
    histories = empty_histories(pa.array(["a", "b", "c"]))
    known = pa.table([["b", "z"], ["cook", "baker"]], schema=PROFILES)
    found = with_profiles(histories, known)
    assert found.schema == HISTORIES.append(PROFILE)
    assert found["profile"].to_pylist() == ["", "cook", ""]
    assert with_profiles(histories, PROFILES.empty_table())["profile"].to_pylist() == [""] * 3
