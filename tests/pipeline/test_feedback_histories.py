"""The same events give the same histories, however the files of feedback lie when they are read."""

import contextlib
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.data.histories import build_histories, sort_interactions
from recsys.pipeline.inputs import compact_feedback as compaction
from recsys.pipeline.inputs.compact_feedback import compact_feedback
from recsys.pipeline.inputs.ingest_catalog import ingest_catalog
from recsys.pipeline.inputs.ingest_events import ingest_events
from recsys.pipeline.inputs.input_list import InputList
from recsys.pipeline.open_run import open_run
from recsys.storage.filesystem import Storage
from tests.pipeline.feedback_files import (
    assert_once,
    at,
    line,
    list_inputs,
    make_config,
    read_users,
    store,
    stored_name,
)
from tests.pipeline.interruptions import Interrupted, raise_interrupted, stopped_at


def histories(root: str, folder: Path, seed: int) -> bytes:
    """The histories of a night that reads the feedback now."""
    config = make_config(root, folder)
    run = open_run(config.model_copy(update={"seed": seed}))
    ingest_catalog(run)
    record = ingest_events(run)
    assert record.feedback
    events = ds.dataset([run.storage.path(path) for path in record.parts], format="parquet").to_table()
    sink = pa.BufferOutputStream()
    table = build_histories(sort_interactions(events)[0], 50)
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def test_histories_are_equal_byte_by_byte_before_between_and_after(tmp_path: Path, reads_one_by_one: None) -> None:
    storage = Storage(str(tmp_path / "warehouse"))
    for number in range(12):
        repeats = [line(number // 2, f"e{number % 4}", item_id="ij"[number % 2]), line(number, item_id="j")]
        bad = [line(number, item_id="gone"), "no JSON\n"] if number == 5 else []
        store(storage, stored_name(number), *repeats, *bad, '{"event_id": "to' if number == 3 else "")
    found = [histories(storage.root, tmp_path / "shop", seed=0)]
    for seed, now in enumerate((at(2), at(3), at(4)), 1):
        compact_feedback(storage, clock=iter([now] * 99).__next__)
        found.append(histories(storage.root, tmp_path / "shop", seed=seed))
    assert len(set(found)) == 1
    assert len(storage.list("feedback")) == 2  # the index and one file


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("store"), st.integers(0, 2)),  # a file of a day, also of one that was merged
        st.tuples(st.just("list"), st.just(0)),
        st.tuples(st.just("compact"), st.integers(0, 30)),  # interrupted before or after a step, or not at all
        st.tuples(st.just("wait"), st.integers(1, 40)),  # hours
    ),
    min_size=5,
    max_size=25,
)


@settings(max_examples=25)
@given(STEPS)
def test_each_event_is_read_once_whatever_happens(steps: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(compaction, "LEAST_FILES", 2)
        patch.setattr(compaction, "TEXT_BYTES", 400)
        storage = Storage(f"{folder}/warehouse")
        config = make_config(storage.root, Path(folder) / "shop")
        events: list[int] = []
        lists: list[tuple[InputList, list[str]]] = []
        hour = 0.0
        for number, (step, value) in enumerate(steps):
            if step == "store":
                store(storage, stored_name(number, value), line(number, day=value))
                events.append(number)
            elif step == "list":
                inputs = list_inputs(config, day=2)
                lists.append((inputs, sorted(read_users(config, inputs))))
            elif step == "wait":
                hour += value
            else:
                now = at(0, hour)
                with contextlib.suppress(Interrupted), stopped_at(value, raise_interrupted):
                    compact_feedback(storage, clock=iter([now] * 99).__next__)
            assert_once(config, events, day=2)
            for inputs, users in lists:
                assert sorted(read_users(config, inputs)) == users
