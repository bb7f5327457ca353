"""The table of faults. A new fault is a file with a function, and a line here."""

from tests.faults import (
    damaged_files,
    driver_killed,
    failing_user,
    flaky_s3,
    lost_nodes,
    other_release,
    publish_killed,
    refused_s3,
    small_disk,
    started_twice,
    stopped_holder,
    stored_kinds,
    workers_killed,
)
from tests.faults.row import Row

ROWS = (
    Row("driver killed at each commit step", driver_killed.num_steps, driver_killed.kill_at_step, quick=3),
    Row("killed at a publish step, 4 readers", publish_killed.num_tries, publish_killed.kill_at_publish_step, quick=2),
    Row("a file missing, cut, or with a wrong bit", 2 * damaged_files.NUM_CASES, damaged_files.damage, quick=3),
    Row("a user ends the worker, or raises", 4, failing_user.leave_a_user_out, quick=0),
    Row("many users end the worker", 1, failing_user.stop_when_many_fail, quick=0),
    Row("disk full at a random point", 10, small_disk.fill_the_disk, quick=2, impossible=small_disk.no_mounts),
    Row("disk read-only, or no permission", 4, small_disk.write_nothing, quick=2, impossible=small_disk.no_mounts),
    Row("S3: 5 % of requests fail", 5, flaky_s3.fail_inline, quick=0),
    Row("S3: 5 % of requests fail, on Ray", 5, flaky_s3.fail_on_ray, quick=0),
    Row("S3 refuses: expired, denied, full", 9, refused_s3.refuse_all, quick=1),
    Row("scoring worker killed", 20, workers_killed.kill_scoring_worker, quick=1),
    Row("encode worker killed", 20, workers_killed.kill_encode_worker, quick=0),
    Row("trainer killed", 20, workers_killed.kill_trainer, quick=0),
    Row("trainer rank of two killed", 20, workers_killed.kill_trainer_rank, quick=0),
    Row("the same night started twice at once", 20, started_twice.same_night, quick=2),
    Row("two different nights at once", 20, started_twice.two_nights, quick=1),
    Row("lease holder stopped, replaced, continued", 10, stopped_holder.replace_stopped_holder, quick=1),
    Row("a node removed while it scores", 5, lost_nodes.lose_scoring_node, quick=0),
    Row("a node removed while it trains", 5, lost_nodes.lose_training_node, quick=0),
    Row("storage of an older and of a newer release", stored_kinds.num_kinds, stored_kinds.read_kind, quick=0),
    Row("the night after an upgrade", 1, other_release.night_after_upgrade, quick=1),
    Row("the night after a rollback", other_release.num_rollbacks, other_release.night_after_rollback, quick=2),
)
