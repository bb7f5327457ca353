"""What all rows of `serve.py` share: the run of the benchmark, and the result of a row."""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve_nights import Nights, make_nights

from recsys.storage.filesystem import Storage
from recsys.storage.latest import LATEST

#: Limit of p99 where as many clients as possible are asked for.
LIMIT_MS = 100.0


@dataclass(frozen=True, kw_only=True)
class Found:
    """The result of a row."""

    text: str
    must: bool
    goal: bool
    figures: dict[str, Any]


class Bench:
    """A run of the benchmark: nights, request bodies and durations."""

    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.folder: Path = options.out.resolve() / "serve"
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def seconds(self) -> float:
        return float(self.options.seconds)

    def nights(self, name: str, number: int = 1) -> Nights:
        """A warehouse of `serve_nights.py`. Publishes the oldest of its nights."""
        nights = make_nights(self.folder, name, number)
        Storage(str(nights.warehouse)).write_bytes(LATEST, nights.pointers[0])
        return nights

    def bodies(self, name: str, made: Sequence[dict[str, Any]]) -> Path:
        """A file of request bodies, one per line."""
        path = self.folder / f"{name}.jsonl"
        path.write_text("".join(f"{json.dumps(body)}\n" for body in made))
        return path


def counted(statuses: "Counter[int]") -> str:
    """How often each status came, for people."""
    return ", ".join(f"{number:,} × {status or 'no answer'}" for status, number in sorted(statuses.items()))
