"""The process of a contestant in the speed benchmark: it prepares once, then does the work on each request.

Each contestant is a separate process, so that every library has its own environment, and contestants take turns.
`speed.py` starts it as `python SCRIPT.py INPUT_FOLDER` and reads lines of JSON: {"facts": …} when the contestant is
ready and warm, then {"seconds", "units", "rss_mb"} for each line on its stdin. This module imports nothing from recsys,
since it also runs in the peers' environments.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

#: Threads of every contestant. `speed.py` sets those of OpenMP, BLAS and Rayon; a script sets those of its library.
THREADS = int(os.environ.get("OMP_NUM_THREADS", "2"))

#: Does the work of round r (0 is the warm-up) and returns the number of units, such as pairs or users; also the
#: seconds, if only a part of the work counts.
Work = Callable[[int], int | tuple[int, float]]


def compete(prepare: Callable[[Path], tuple[Work, dict[str, Any]]]) -> None:
    """Prepare, warm up, then do the work for each line of stdin until it ends.

    Args:
        prepare: Loads everything from the input folder; returns the work and facts to report.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of libraries goes to stderr

    def answer(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    work, facts = prepare(Path(sys.argv[1]))
    work(0)
    answer({"facts": facts})
    for number, _line in enumerate(sys.stdin, start=1):
        start = time.perf_counter()
        done = work(number)
        units, seconds = done if isinstance(done, tuple) else (done, time.perf_counter() - start)
        answer({"seconds": seconds, "units": units, "rss_mb": round(_memory_mb(), 1)})


def _memory_mb() -> float:
    """Peak memory of this process plus the current memory of its children."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    children = 0
    for child in psutil.Process().children(recursive=True):
        try:
            children += child.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return own + children / 2**20
