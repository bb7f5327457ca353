import re

import pyarrow as pa
import pytest

from recsys.data.columns import require_columns, require_plain_columns
from recsys.errors import InputError


def test_a_missing_column_is_named_with_its_key() -> None:
    require_columns(["a", "b"], ["a"], "f.csv", "inputs.events.columns.user_id")
    with pytest.raises(InputError) as error:
        require_columns(["a", "b"], ["CustomerID"], "f.csv", "inputs.events.columns.user_id")
    assert (
        str(error.value) == "inputs.events.columns.user_id: column 'CustomerID' is not in f.csv; its columns are a, b"
    )


def test_a_nested_column_is_named_with_its_key_its_file_and_the_way_out() -> None:
    table = pa.table({"user": [{"id": 1, "city": "Rome"}], "tags": [["a"]], "bag": [[{"a": 1}]], "id": [1]})

    require_plain_columns(table, ["tags", "id"], "f.parquet", "k")
    said = "k: column 'user' of f.parquet is a struct; name one of its fields: user.id, user.city"
    with pytest.raises(InputError, match=re.escape(said)):
        require_plain_columns(table, ["user"], "f.parquet", "k")
    with pytest.raises(InputError, match=r"k: column 'bag' of f\.parquet is list<.*one row for each value"):
        require_plain_columns(table, ["bag"], "f.parquet", "k")
