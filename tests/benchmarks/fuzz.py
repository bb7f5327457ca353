"""Does the live service survive 20,000 hostile requests without errors and without growing?

    python tests/benchmarks/fuzz.py [--requests 20000] [--seed 0] [--threads 8] [--warehouse DIR | --url http://127.0.0.1:8000]

Makes a small shop and its night in a temporary folder, starts `jobs/serve.py` on a free port and sends the requests of
`hostile.py`. Prints how many requests got which status, the wrong answers, requests per second, and the memory (RSS in
MB of the service and its Ray) before, after the first tenth and at the end. Exits with 1 if an answer was wrong.
`--warehouse` uses an existing night. `--url` uses a running service of this machine and does not measure its memory.
Both receive nonsense feedback events.
"""

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import requests
from hostile import Shot, failing, hostile
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 60
#: Requests generated before they are sent.
BATCH = 256
SHOP = ["--users", "300", "--items", "80", "--days", "40", "--seed", "1"]
#: Settings of a night with very little training: the quality of the answers does not matter here.
QUICK = ["train.epochs=1", "train.min_steps=0", "train.recent_epochs=1", "train.refit=false", "gate.min_users=1000000"]


def start_of(*words: str) -> list[str]:
    """A command line that runs in this Python."""
    return [sys.executable, *words]


def make_night(folder: Path) -> Path:
    """Make a small shop and run its night; return the warehouse."""
    changes = [f"inputs.events.path={folder}/events", f"inputs.items.path={folder}/items.parquet", *QUICK]
    job = ["jobs/nightly.py", *options_of(folder / "warehouse", changes)]
    for words in (["-m", "recsys.data.synthetic.shop", "--out", str(folder), *SHOP], job):
        with (folder / "night.txt").open("wb") as out:
            done = subprocess.run(start_of(*words), cwd=ROOT, stdout=out, stderr=out, check=False)
        if done.returncode:
            said = (folder / "night.txt").read_text()[-3000:]
            raise SystemExit(f"{' '.join(words[:2])} ended with {done.returncode}:\n{said}")
    return folder / "warehouse"


def options_of(warehouse: Path, changes: list[str]) -> list[str]:
    """Command-line options: the demo's settings for a warehouse."""
    changes = [f"storage={warehouse}", *changes]
    return ["--config", "configs/demo.yaml", *(word for change in changes for word in ("--set", change))]


@contextlib.contextmanager
def service(warehouse: Path, log: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Serve a warehouse; yields the address and the process of the service."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # a long deadline, so that the ranker answers on a slow machine too
    options = options_of(warehouse, [f"serve.port={port}", "serve.deadline_ms=30000"])
    with log.open("wb") as out:
        serving = subprocess.Popen(start_of("jobs/serve.py", *options), cwd=ROOT, stdout=out, stderr=out)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(url, serving, log)
        yield url, psutil.Process(serving.pid)
    finally:
        serving.terminate()
        serving.wait(timeout=120)


def wait_until_ready(url: str, serving: subprocess.Popen[bytes], log: Path, limit_s: float = 600) -> None:
    """Ask until the service has loaded a night."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end and serving.poll() is None:
        with contextlib.suppress(requests.ConnectionError):
            if requests.get(f"{url}/readyz", timeout=TIMEOUT_S).status_code == 200:
                return
        time.sleep(0.5)
    raise SystemExit(f"the service does not answer:\n{log.read_text()[-3000:]}")


def memory_mb(process: psutil.Process | None) -> float | None:
    """RSS of a process and its descendants. Shared pages count once for each process."""
    if process is None:
        return None
    total = 0
    for one in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += one.memory_info().rss
    return round(total / 2**20, 1)


class Tally:
    """Counts the answers."""

    def __init__(self, url: str, threads: int):
        self.statuses: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._url, self._pool = url, ThreadPoolExecutor(threads)

    def fire(self, shots: list[Shot]) -> None:
        """Send requests, several at once."""
        for shot, (status, fault) in zip(shots, self._pool.map(self._send, shots), strict=True):
            self.statuses[f"{shot.method} {status}"] += 1
            if fault is not None:
                self.wrong.append(f"{fault}: {shot!r}")

    def _send(self, shot: Shot) -> tuple[int, str | None]:
        reply = requests.request(
            shot.method,
            self._url + shot.path,
            data=shot.content,
            headers=shot.headers,
            timeout=TIMEOUT_S,
            allow_redirects=False,
        )
        return reply.status_code, failing(shot, reply.status_code, reply.content)


def drawn(strategy: SearchStrategy[Shot], number: int, with_seed: int) -> list[Shot]:
    """Draw ``number`` requests. Hypothesis starts with short examples, so each batch has short and long ones."""
    shots: list[Shot] = []

    @seed(with_seed)
    @settings(
        max_examples=number,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def make(shot: Shot) -> None:
        shots.append(shot)

    make()
    return shots[:number]


def fire_all(url: str, tally: Tally, number: int, with_seed: int) -> Iterator[int]:
    """Send a number of requests; yields after each batch how many were sent so far."""
    spec = requests.get(f"{url}/openapi.json", timeout=TIMEOUT_S).json()
    found = requests.post(f"{url}/v1/recommendations", json={"k": 5}, timeout=TIMEOUT_S).json()["items"]
    strategy = hostile(spec, [item["item_id"] for item in found], ["u00000"])
    sent = 0
    while sent < number:
        shots = drawn(strategy, min(BATCH, number - sent), with_seed * number + sent)
        tally.fire(shots)
        sent += len(shots)
        yield sent


def run(url: str, process: psutil.Process | None, options: argparse.Namespace) -> int:
    """Send the requests, count the answers and print the result."""
    tally, start = Tally(url, options.threads), time.monotonic()
    memory: dict[str, float | None] = {"before": memory_mb(process)}
    sent = 0
    for sent in fire_all(url, tally, options.requests, options.seed):
        if "after the first tenth" not in memory and sent >= options.requests / 10:
            memory["after the first tenth"] = memory_mb(process)
        sys.stderr.write(f"\r{sent:,} sent, {len(tally.wrong)} wrong")
    memory["at the end"] = memory_mb(process)
    alive = requests.post(f"{url}/v1/recommendations", json={}, timeout=TIMEOUT_S).status_code == 200
    seconds = round(time.monotonic() - start, 1)
    written = {"requests": sent, "seconds": seconds, "per_second": round(sent / seconds, 1), "alive": alive}
    written |= {"statuses": dict(sorted(tally.statuses.items())), "wrong": len(tally.wrong), "memory_mb": memory}
    sys.stderr.write("\n" + "".join(f"{line}\n" for line in sorted(set(tally.wrong))[:50]))
    sys.stdout.write(json.dumps(written, indent=2) + "\n")
    return 0 if alive and not tally.wrong else 1


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--warehouse", type=Path, help="with a published night; default: a new one")
    parser.add_argument("--url", help="of a service on this machine; default: a new service")
    options = parser.parse_args()
    if options.url is not None:
        if urlsplit(options.url).hostname not in ("127.0.0.1", "localhost", "::1"):
            parser.error(
                f"--url {options.url}: only a service of this machine may be tested, e.g. http://127.0.0.1:8000"
            )
        return run(options.url.rstrip("/"), None, options)
    os.environ |= {"HF_HUB_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    with tempfile.TemporaryDirectory() as name:
        warehouse = options.warehouse or make_night(Path(name))
        with service(warehouse.absolute(), Path(name) / "service.txt") as (url, process):
            return run(url, process, options)


if __name__ == "__main__":
    sys.exit(main())
