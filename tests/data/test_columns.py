import pytest

from recsys.data.columns import require_columns
from recsys.errors import InputError


def test_a_missing_column_is_named_with_its_key() -> None:
    require_columns(["a", "b"], ["a"], "f.csv", "inputs.events.columns.user_id")
    with pytest.raises(InputError) as error:
        require_columns(["a", "b"], ["CustomerID"], "f.csv", "inputs.events.columns.user_id")
    assert (
        str(error.value) == "inputs.events.columns.user_id: column 'CustomerID' is not in f.csv; its columns are a, b"
    )
