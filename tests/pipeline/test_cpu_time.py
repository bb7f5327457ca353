"""CPU seconds are those of this process and those that workers report."""

import time

import pytest

from recsys.pipeline.workers.cpu_time import add_worker_cpu, cpu_since_report, job_cpu


def burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_each_report_counts_what_was_used_since_the_last_one() -> None:
    cpu_since_report()
    burn(0.05)
    assert 0.05 <= cpu_since_report() < 5
    assert cpu_since_report() < 0.05


def test_the_job_counts_itself_and_its_workers() -> None:
    before = job_cpu()
    add_worker_cpu(100.0)
    burn(0.02)
    assert job_cpu() - before == pytest.approx(100.0, abs=5)
    assert job_cpu() - before >= 100.02
