"""Puts load on a server with wrk: a number of clients that each send the next request after an answer.

wrk (https://github.com/wg/wrk) is a C program that uses very little CPU.
"""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from quality import HERE


@dataclass(frozen=True, kw_only=True)
class Timings:
    """The result of some seconds of load."""

    clients: int
    per_s: float
    p50_ms: float
    p99_ms: float
    answers: int
    unwanted: int
    """Answers without a list of the requested strategy."""
    broken: int
    """Requests without an answer."""

    @property
    def is_clean(self) -> bool:
        """Whether every request got a list of the requested strategy."""
        return self.answers > 0 and not self.unwanted and not self.broken


def require_wrk() -> None:
    """Exit with instructions if wrk is not installed."""
    if shutil.which("wrk") is None:
        raise SystemExit("the load generator wrk is not on the path; install it with: apt-get install wrk")


def load(
    url: str, bodies: Path, strategy: str, clients: int, seconds: float, path: str = "/v1/recommendations"
) -> Timings:
    """Send the bodies of a JSON Lines file to a path, repeatedly, for some seconds."""
    wrk = ["wrk", "--threads", "1", "--connections", str(clients), "--duration", f"{max(1, round(seconds))}s"]
    wrk += ["--timeout", "20s", "--script", str(HERE / "serve_wrk.lua"), f"{url}{path}"]
    done = subprocess.run([*wrk, "--", str(bodies), strategy], check=True, capture_output=True, text=True)
    return Timings(clients=clients, **json.loads(done.stdout.splitlines()[-1]))


def find_throughput(url: str, bodies: Path, strategy: str, seconds: float, limit_ms: float) -> list[Timings]:
    """Raise the number of clients until two numbers in turn exceed the limit or are refused."""
    found: list[Timings] = []
    for clients in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48):
        found.append(load(url, bodies, strategy, clients, seconds))
        if len(found) > 1 and not any(timings.is_clean and timings.p99_ms <= limit_ms for timings in found[-2:]):
            break
    return found


def best_within(found: list[Timings], limit_ms: float) -> Timings | None:
    """The clean timings within the p99 limit that have most answers per second; None if there are none."""
    good = [timings for timings in found if timings.is_clean and timings.p99_ms <= limit_ms]
    return max(good, key=lambda timings: timings.per_s, default=None)
