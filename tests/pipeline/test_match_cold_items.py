"""Which items are cold in which view, and that only what the view may see is imputed."""

from collections.abc import Callable
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.pipeline.run import Run
from recsys.pipeline.scoring.match_cold_items import match_cold_items, read_cold_items, read_donors
from recsys.pipeline.stages import ENCODE_TEXTS, INGEST_EVENTS
from recsys.pipeline.training.settle_warm_start import settle_warm_start
from recsys.pipeline.training.train_task import build_task
from recsys.schema import INTERACTIONS, item_vectors
from recsys.signals.signal import DataView
from recsys.storage.tables import write_table
from tests.records import finish

IDS = [f"i{number:02}" for number in range(12)]
#: Nobody took item i11, i10 is first taken in the holdout; their texts are those of i00 and i01.
COLD, COLD_IN_TRAINING = 11, 10
VIEWS: tuple[DataView, ...] = get_args(DataView)


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


def test_an_item_whose_events_are_all_held_out_is_new_to_what_validation_measures(
    make_night: Callable[..., Run], draw_events: Callable[..., pa.Table]
) -> None:
    """No signal of the view saw it: it is imputed, may not donate, and the ranker does not know it."""
    events = draw_events(600, days=40)
    events = events.filter(pc.not_equal(events["item_id"], IDS[COLD]))
    run = make_night(events)
    kept_out = run.validation_split(events).holdout
    user, moment = kept_out["user_id"][0], kept_out["timestamp"][0]
    there = pc.and_(pc.equal(events["user_id"], user), pc.equal(events["timestamp"], moment))
    place = events.column_names.index("item_id")
    taken = pc.if_else(there, IDS[COLD], events["item_id"])
    run = make_night(events.set_column(place, events.schema.field(place), taken))
    finish(run, ENCODE_TEXTS, encoder_id="e")
    finish(run, INGEST_EVENTS, kinds=["view"])
    vectors = np.eye(12, dtype=np.float32)
    vectors[COLD] = vectors[0]
    lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 12)
    table = pa.Table.from_arrays([pa.array(IDS), lists], schema=item_vectors(12))
    write_table(run.storage, run.text_vectors_path("e"), table, table.schema)

    match_cold_items(run)
    assert not any(read_donors(run, view).is_cold.any() for view in VIEWS), "before training nothing is held out"
    settle_warm_start(run)
    match_cold_items(run)
    cold = {view: read_donors(run, view).cold.tolist() for view in VIEWS}
    assert cold == {"validation": [COLD], "test": [], "full": []}
    is_cold = {view: np.flatnonzero(read_cold_items(run, view, np.ones(12, int))).tolist() for view in VIEWS}
    assert is_cold == cold
    known, refit = (build_task(run, model_id, None).ranker.known for model_id in (run.model_id, run.refit_id))
    assert np.flatnonzero(~known.numpy()).tolist() == [COLD]
    assert refit.all()
