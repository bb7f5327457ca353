"""Every row of fuzzed inputs is counted once. `tests/benchmarks/fuzz_inputs.py` reads 100,000 of them."""

from pathlib import Path

import pytest

from tests.benchmarks.fuzz_inputs import FORMATS, read_fuzzed


@pytest.mark.usefixtures("reads_one_by_one")
@pytest.mark.parametrize("form", FORMATS)
def test_every_fuzzed_row_is_counted_once(form: str, tmp_path: Path) -> None:
    counts = read_fuzzed(2_000, form, seed=0, folder=tmp_path)

    assert counts.is_complete, counts
    assert min(counts.accepted, counts.quarantined, counts.duplicates, counts.filtered, counts.later) > 0
