"""Every row of fuzzed inputs is counted once. `tests/benchmarks/fuzz_inputs.py` reads 100,000 of them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from recsys.pipeline import described_input
from recsys.pipeline import ingest_events as events_stage
from recsys.pipeline.run import Record
from tests.benchmarks.fuzz_inputs import FORMATS, read_fuzzed


@pytest.mark.parametrize("form", FORMATS)
def test_every_fuzzed_row_is_counted_once(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def for_each_part(parts: Sequence[str], build: Callable[[], Any], **_: Any) -> list[Record]:
        work = build()
        return [work(part) | {"peak_memory_mb": 1.0} for part in parts]

    for module in (described_input, events_stage):
        monkeypatch.setattr(module, "for_each_part", for_each_part)

    counts = read_fuzzed(2_000, form, seed=0, folder=tmp_path)

    assert counts.is_complete, counts
    assert min(counts.accepted, counts.quarantined, counts.duplicates, counts.filtered, counts.later) > 0
