"""Peak memory of this process since the last reset."""

from pathlib import Path

import psutil


def reset_peak_memory() -> None:
    """Reset the peak. Only Linux can do this; elsewhere the peak counts from the start of the process."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_memory_mb() -> float:
    """Largest resident size since the last reset, MB; shared pages of Ray's object store count too."""
    try:
        status = Path("/proc/self/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    except (OSError, StopIteration):
        return float(psutil.Process().memory_info().rss) / 2**20
