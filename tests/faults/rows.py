"""The table of faults. A new fault is a file with a function, and a line here."""

from tests.faults import driver_killed, publish_killed
from tests.faults.row import Row

ROWS = (
    Row("driver killed at each commit step", driver_killed.num_steps, driver_killed.kill_at_step, quick=6),
    Row("killed at a publish step, 4 readers", publish_killed.num_tries, publish_killed.kill_at_publish_step, quick=4),
)
