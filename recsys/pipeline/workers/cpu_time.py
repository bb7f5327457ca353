"""CPU seconds of the stages: those of the job's own process, and those that its workers report.

A worker reports what its process used since its last report, so that its start counts too. Work of a process that never
reports is missing: that of Ray itself, and the tail of its Ray Data tasks.
"""

import time

_of_workers_s = 0.0
_reported_s = 0.0


def cpu_since_report() -> float:
    """CPU seconds of this process, all threads, since it called this last; the first time since its start."""
    global _reported_s
    before, _reported_s = _reported_s, time.process_time()
    return _reported_s - before


def add_worker_cpu(seconds: float) -> None:
    """Count what a worker reported."""
    global _of_workers_s
    _of_workers_s += seconds


def job_cpu() -> float:
    """CPU seconds of this process and of the workers that have reported so far."""
    return time.process_time() + _of_workers_s
