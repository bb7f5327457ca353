"""Peak memory of this process, as Linux counts it."""

from pathlib import Path

import psutil


def reset_peak_memory() -> None:
    """Reset the peak to the current size. This works on Linux only."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_memory_mb() -> float:
    """Largest resident size since the last reset, MB. Shared pages of Ray's object store count too.

    Without Linux's /proc it is the current size.
    """
    try:
        status = Path("/proc/self/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    except (OSError, StopIteration):
        return float(psutil.Process().memory_info().rss) / 2**20
