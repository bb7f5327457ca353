import re

import pyarrow as pa
import pytest

from recsys.data.values.columns import distinct_columns, require_columns, require_plain_columns
from recsys.errors import InputError


def test_a_missing_column_is_named_with_its_key() -> None:
    require_columns(["a", "b"], ["a"], "f.csv", "inputs.events.columns.user_id")
    with pytest.raises(InputError) as error:
        require_columns(["a", "b"], ["CustomerID"], "f.csv", "inputs.events.columns.user_id")
    assert (
        str(error.value) == "inputs.events.columns.user_id: column 'CustomerID' is not in f.csv; its columns are a, b"
    )


def test_of_many_columns_some_are_named() -> None:
    with pytest.raises(InputError, match=r"its columns are c0, .*, c99 and 2,900 more$"):
        require_columns([f"c{number}" for number in range(3000)], ["user"], "f.csv", "k")


@pytest.mark.parametrize("names", [["196", "242", "3"], ["u1", "i1", "2026-10-14 08:00"], ["u1", "-0.5"]])
def test_a_row_in_the_place_of_the_header_is_told_from_names(names: list[str]) -> None:
    with pytest.raises(InputError, match=f"its columns are {', '.join(names)}; if these are values, the file has no"):
        require_columns(names, ["user_id"], "f.csv", "k")
    with pytest.raises(InputError, match="the file has no header: write the names of its columns"):
        distinct_columns([*names, *names], "f.csv")
    with pytest.raises(InputError, match=r"rename all but one$"):
        distinct_columns(["a", "a", "utm_2", "2026"], "f.csv")


def test_a_nested_column_is_named_with_its_key_its_file_and_the_way_out() -> None:
    table = pa.table({"user": [{"id": 1, "city": "Rome"}], "tags": [["a"]], "bag": [[{"a": 1}]], "id": [1]})

    require_plain_columns(table, ["tags", "id"], "f.parquet", "k")
    said = "k: column 'user' of f.parquet is a struct; name one of its fields: user.id, user.city"
    with pytest.raises(InputError, match=re.escape(said)):
        require_plain_columns(table, ["user"], "f.parquet", "k")
    with pytest.raises(InputError, match=r"k: column 'bag' of f\.parquet is list<.*one row for each value"):
        require_plain_columns(table, ["bag"], "f.parquet", "k")
