"""Who is measured of the users of a shard."""

import datetime as dt
from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa

from recsys.data.histories import sort_interactions
from recsys.pipeline.measuring.held_out_shard import HeldOutShard
from recsys.pipeline.run import Run
from recsys.schema import INTERACTIONS
from tests.pipeline.conftest import DATE, IDS

NUM_COLD = 400


def test_of_many_cold_users_about_as_many_are_measured_as_are_asked_for(
    make_night: Callable[..., Run], draw_events: Callable[..., pa.Table]
) -> None:
    noon = dt.datetime.combine(DATE, dt.time(12), tzinfo=dt.UTC)
    first = {"item_id": IDS[0], "timestamp": noon, "event": "view", "weight": 1.0}
    new = pa.Table.from_pylist([first | {"user_id": f"new{number}"} for number in range(NUM_COLD)], INTERACTIONS)
    run = make_night(sort_interactions(pa.concat_tables([draw_events(200, 20), new]))[0])
    shard = HeldOutShard.read(run, "shard-00000", share=1.0)
    everybody = shard.wanted_by_cold_users(NUM_COLD)["user_id"].to_pylist()
    assert NUM_COLD / 2 - 50 < len(everybody) < NUM_COLD / 2 + 50  # there are two shards
    some = shard.wanted_by_cold_users(40)["user_id"].to_pylist()
    assert 20 < len(some) < 60
    assert set(some) < set(everybody)
    again = HeldOutShard.read(run, "shard-00000", share=0.5)
    assert set(again.wanted_by_cold_users(20)["user_id"].to_pylist()) <= set(everybody)
    other = replace(run, config=run.config.model_copy(update={"seed": 1}))
    assert set(
        HeldOutShard.read(other, "shard-00000", share=1.0).wanted_by_cold_users(40)["user_id"].to_pylist()
    ) != set(some)
