"""Load on a server that answers recommendations: as many clients as told, each asking again when it is answered.

The load itself is wrk's (https://github.com/wg/wrk), a C program that costs the machine next to nothing.
"""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from quality import HERE


@dataclass(frozen=True, kw_only=True)
class Timings:
    """How some seconds of load went."""

    clients: int
    per_s: float
    p50_ms: float
    p99_ms: float
    answers: int
    unwanted: int
    """Answers that are no list of the strategy that was asked for."""
    broken: int
    """Requests without an answer."""

    @property
    def is_clean(self) -> bool:
        """Whether every request got what it asked for."""
        return self.answers > 0 and not self.unwanted and not self.broken


def require_wrk() -> None:
    """End with what to do where wrk is not installed."""
    if shutil.which("wrk") is None:
        raise SystemExit("needs the load generator wrk, which is not on the path: apt-get install wrk")


def load(url: str, bodies: Path, strategy: str, clients: int, seconds: float) -> Timings:
    """Ask for some seconds with the bodies of a file, one a line of JSON, again and again from the first."""
    wrk = ["wrk", "--threads", "1", "--connections", str(clients), "--duration", f"{max(1, round(seconds))}s"]
    wrk += ["--timeout", "20s", "--script", str(HERE / "serve_wrk.lua"), f"{url}/v1/recommendations"]
    done = subprocess.run([*wrk, "--", str(bodies), strategy], check=True, capture_output=True, text=True)
    return Timings(clients=clients, **json.loads(done.stdout.splitlines()[-1]))


def find_throughput(url: str, bodies: Path, strategy: str, seconds: float, limit_ms: float) -> list[Timings]:
    """Ever more clients until two numbers of them in turn are answered later than the limit, or refused."""
    found: list[Timings] = []
    for clients in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48):
        found.append(load(url, bodies, strategy, clients, seconds))
        if len(found) > 1 and not any(timings.is_clean and timings.p99_ms <= limit_ms for timings in found[-2:]):
            break
    return found


def best_within(found: list[Timings], limit_ms: float) -> Timings | None:
    """The most answers a second of those that are clean and whose p99 keeps the limit."""
    good = [timings for timings in found if timings.is_clean and timings.p99_ms <= limit_ms]
    return max(good, key=lambda timings: timings.per_s, default=None)
