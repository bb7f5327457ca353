"""Who is new to training and who to the night, and that only what may be known lends."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.pipeline.count_priors import count_priors, load_popularity, load_transitions
from recsys.pipeline.match_cold_items import load_lending, load_stranger_lending, match_new_items
from recsys.pipeline.run import Run
from recsys.pipeline.stages import ENCODE_TEXTS
from recsys.schema import item_vectors
from recsys.storage.tables import write_table
from tests.records import finish

IDS = [f"i{number:02}" for number in range(12)]
#: Item i11 is new to everybody, i10 is first taken in the holdout; their texts are those of i00 and i01.
NEW, NEW_TO_TRAINING = 11, 10


def test_items_are_new_as_of_what_may_be_known(
    make_night: Callable[..., Run], draw_events: Callable[..., pa.Table]
) -> None:
    events = draw_events(600, days=40)
    run = make_night(events)
    held_out = pc.greater_equal(events["timestamp"], pa.scalar(run.cutoff))
    known = pc.and_(pc.not_equal(events["item_id"], IDS[NEW]), pc.or_(pc.not_equal(events["item_id"], "i10"), held_out))
    run = make_night(events.filter(known))
    vectors = np.eye(12, dtype=np.float32)
    vectors[NEW], vectors[NEW_TO_TRAINING] = vectors[0], vectors[1]
    lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 12)
    table = pa.Table.from_arrays([pa.array(IDS), lists], schema=item_vectors(12))
    finish(run, ENCODE_TEXTS, encoder_id="e")
    write_table(run.storage, run.text_vectors_path("e"), table, table.schema)
    count_priors(run)
    record = match_new_items(run)
    assert (record.new_items, record.new_to_training, record.taken_for_new) == (1, 2, 10)
    taken_for_new = load_stranger_lending(run)
    assert taken_for_new is not None
    assert not taken_for_new.borrows[[NEW, NEW_TO_TRAINING]].any()
    for view, new in (
        ("validation", {NEW: 0, NEW_TO_TRAINING: 1}),
        ("test", {NEW: 0, NEW_TO_TRAINING: 1}),
        ("full", {NEW: 0}),
    ):
        lending = load_lending(run, view)
        assert np.flatnonzero(lending.borrows).tolist() == sorted(new)
        plain = load_transitions(run, view).weights.toarray()
        richer = lending.neighbours(load_transitions(run, view)).weights.toarray()
        popularity = load_popularity(run, view, pa.array(IDS))
        popular = lending.popularity(popularity)
        for item in range(len(IDS)):
            expected = plain[:, new[item]] if item in new else plain[:, item]
            # ids that are spelled a little alike lend a trace
            np.testing.assert_allclose(richer[:, item], expected, rtol=1e-3)
            if item in new:
                np.testing.assert_allclose(
                    np.expm1(popular[0, :, item]), np.expm1(popularity[0, :, new[item]]), rtol=1e-3
                )
