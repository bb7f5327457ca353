"""Which items are cold in which view, and that only what the view may see is imputed."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.pipeline.match_cold_items import match_cold_items, read_cold_items, read_donors
from recsys.pipeline.run import Run
from recsys.pipeline.stages import ENCODE_TEXTS
from recsys.schema import INTERACTIONS, item_vectors
from recsys.signals.signal import DataView
from recsys.storage.tables import write_table
from tests.records import finish

IDS = [f"i{number:02}" for number in range(12)]
#: Nobody took item i11, i10 is first taken in the holdout; their texts are those of i00 and i01.
COLD, COLD_IN_TRAINING = 11, 10


def test_donors_are_known_in_their_view(make_night: Callable[..., Run], draw_events: Callable[..., pa.Table]) -> None:
    events = draw_events(600, days=40)
    run = make_night(events)
    held_out = pc.greater_equal(events["timestamp"], pa.scalar(run.cutoff))
    known = pc.and_(
        pc.not_equal(events["item_id"], IDS[COLD]), pc.or_(pc.not_equal(events["item_id"], "i10"), held_out)
    )
    run = make_night(events.filter(known))
    vectors = np.eye(12, dtype=np.float32)
    vectors[COLD], vectors[COLD_IN_TRAINING] = vectors[0], vectors[1]
    lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 12)
    table = pa.Table.from_arrays([pa.array(IDS), lists], schema=item_vectors(12))
    finish(run, ENCODE_TEXTS, encoder_id="e")
    write_table(run.storage, run.text_vectors_path("e"), table, table.schema)
    record = match_cold_items(run)
    assert (record.cold_items, record.cold_in_training) == (1, 2)
    later = [{"user_id": "u", "item_id": IDS[COLD], "timestamp": run.cutoff, "event": "return", "weight": -1.0}]
    path = f"{run.non_positives_dir}/shard-00000.parquet"
    write_table(run.storage, path, pa.Table.from_pylist(later, INTERACTIONS), INTERACTIONS)
    rejected = match_cold_items(run)
    assert (rejected.cold_items, rejected.cold_in_training) == (0, 2), "what was only sent back is not new"
    never_taken = np.where(np.arange(12) == COLD, 0, 1)
    assert not read_cold_items(run, "full", never_taken).any(), "although nobody took it"
    run.storage.delete_folder(run.non_positives_dir)
    match_cold_items(run)
    expected: dict[DataView, dict[int, int]] = {
        "validation": {COLD: 0, COLD_IN_TRAINING: 1},
        "test": {COLD: 0, COLD_IN_TRAINING: 1},
        "full": {COLD: 0},
    }
    for view, donor_of in expected.items():
        donors = read_donors(run, view)
        assert donors.cold.tolist() == sorted(donor_of)
        shares = donors.of_cold.toarray()
        assert {(item, int(shares[:, item].argmax())) for item in donor_of} == set(donor_of.items())
        np.testing.assert_allclose(shares.sum(axis=0)[donors.cold], 1)
        assert np.flatnonzero(read_cold_items(run, view, never_taken)).tolist() == sorted(donor_of)
    vectors[COLD] = 0  # a text that resembles no other
    lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 12)
    write_table(
        run.storage,
        run.text_vectors_path("e"),
        pa.Table.from_arrays([pa.array(IDS), lists], schema=table.schema),
        table.schema,
    )
    match_cold_items(run)
    assert not read_donors(run, "full").is_cold.any()
    assert np.flatnonzero(read_cold_items(run, "full", never_taken)).tolist() == [COLD], "new, without donors"
    for path in run.storage.sizes(f"{run.folder.dir}/donors"):
        if path.endswith("_cold_items.parquet"):
            run.storage.delete(f"{run.folder.dir}/donors/{path}")
    older = np.flatnonzero(read_cold_items(run, "full", never_taken))
    assert older.tolist() == [COLD], "a night of an older release did not store them"
