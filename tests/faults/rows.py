"""The table of faults. A new fault is a file with a function, and a line here."""

from tests.faults import (
    driver_killed,
    flaky_s3,
    lost_nodes,
    other_release,
    publish_killed,
    started_twice,
    stopped_holder,
    stored_kinds,
    workers_killed,
)
from tests.faults.row import Row

ROWS = (
    Row("driver killed at each commit step", driver_killed.num_steps, driver_killed.kill_at_step, quick=6),
    Row("killed at a publish step, 4 readers", publish_killed.num_tries, publish_killed.kill_at_publish_step, quick=4),
    Row("S3: 5 % of requests fail", 5, flaky_s3.fail_inline, quick=1),
    Row("S3: 5 % of requests fail, on Ray", 5, flaky_s3.fail_on_ray, quick=0),
    Row("scoring worker killed", 20, workers_killed.kill_scoring_worker, quick=1),
    Row("encode worker killed", 20, workers_killed.kill_encode_worker, quick=0),
    Row("trainer killed", 20, workers_killed.kill_trainer, quick=0),
    Row("the same night started twice at once", 20, started_twice.same_night, quick=2),
    Row("two different nights at once", 20, started_twice.two_nights, quick=1),
    Row("lease holder stopped, replaced, continued", 10, stopped_holder.replace_stopped_holder, quick=1),
    Row("a node removed while it scores", 5, lost_nodes.lose_scoring_node, quick=0),
    Row("a node removed while it trains", 5, lost_nodes.lose_training_node, quick=0),
    Row("storage of an older and of a newer release", stored_kinds.num_kinds, stored_kinds.read_kind, quick=0),
    Row("the night after an upgrade", 1, other_release.night_after_upgrade, quick=1),
    Row("the night after a rollback", other_release.num_rollbacks, other_release.night_after_rollback, quick=2),
)
