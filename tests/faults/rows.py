"""The table of faults. A new fault is a file with a function, and a line here."""

from tests.faults import driver_killed, failing_user, publish_killed, small_disk
from tests.faults.row import Row

ROWS = (
    Row("driver killed at each commit step", driver_killed.num_steps, driver_killed.kill_at_step, quick=6),
    Row("killed at a publish step, 4 readers", publish_killed.num_tries, publish_killed.kill_at_publish_step, quick=4),
    Row("a user ends the worker, or raises", 4, failing_user.leave_a_user_out, quick=0),
    Row("many users end the worker", 1, failing_user.stop_when_many_fail, quick=0),
    Row("disk full at a random point", 10, small_disk.fill_the_disk, quick=2, impossible=small_disk.no_mounts),
    Row("disk read-only, or no permission", 4, small_disk.write_nothing, quick=2, impossible=small_disk.no_mounts),
)
