"""The commonest bad values of an input do not depend on how it is divided."""

import json

from recsys.data.checks.bad_values import SHOWN, BadValues, merge_bad_values
from recsys.data.checks.quarantine import Reason, quarantined


def part(values: list[str]) -> BadValues:
    found = BadValues()
    rows = [json.dumps({"at": value}) for value in values]
    found.add(quarantined("f.csv", rows, ["at"] * len(rows), [Reason.UNREADABLE_TIMESTAMP] * len(rows)))
    return found


def test_a_value_that_is_rare_in_each_part_may_be_the_commonest_of_all() -> None:
    parts = [[f"{name}{number}" for number in range(8) for _ in range(3)] + ["soon"] * 2 for name in "ab"]

    merged = merge_bad_values(part(values).commonest() for values in parts)
    whole = merge_bad_values([part([*parts[0], *parts[1]]).commonest()])

    assert merged == whole
    assert [(bad.value, bad.rows) for bad in merged][:2] == [("soon", 4), ("a0", 3)]
    assert len(merged) == SHOWN
