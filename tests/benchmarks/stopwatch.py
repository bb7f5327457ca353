"""A contestant of the speed benchmark: it gets ready once, then works whenever it is told to and says how long it took.

Each contestant is a process of its own, so that every library has its own environment, and the ones that are compared
take turns. `speed.py` starts it as `python SCRIPT.py INPUT_FOLDER` and talks to it in lines of JSON: it answers
{"facts": …} when it is ready and has warmed up, and for each line on its stdin {"seconds", "units", "rss_mb"}.
It imports nothing of ours and no library of recommendations.
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

#: Threads of every contestant, by its own setting; `speed.py` sets those of OpenMP, BLAS and Rayon for all.
THREADS = int(os.environ.get("OMP_NUM_THREADS", "2"))

#: Does the work of round r (0 is the warm-up) and answers how many units it was, such as pairs or users; with the
#: seconds it took where only a part of it is to count.
Work = Callable[[int], int | tuple[int, float]]


def compete(prepare: Callable[[Path], tuple[Work, dict[str, Any]]]) -> None:
    """Get ready, warm up, then serve the rounds until stdin ends.

    Args:
        prepare: Loads everything from the input folder; answers the work and facts to report.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to stderr

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
    """Peak of this process and what its children hold now."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    children = 0
    for child in psutil.Process().children(recursive=True):
        try:
            children += child.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return own + children / 2**20
