# ruff: noqa: T201 (it prints a table)
"""Makes the table of faults: `make faults`, or `python -m tests.faults [--rows WORD …] [--tries N]`.

Each try is stored when it is made, so that a run which was stopped goes on. Tries of other code are made again.
"""

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import tests.conftest  # noqa: F401 (sets what libraries read from the environment)
from tests.faults.findings import LostError, MixtureError, TracebackError
from tests.faults.row import Row
from tests.faults.rows import ROWS
from tests.faults.shop import Shop

_ROOT = Path(__file__).parents[2]
_KINDS = {LostError: "lost", MixtureError: "mixture", TracebackError: "traceback"}
#: Number of a try: None where nothing was found, else its kind and what it was.
Tries = dict[str, dict[str, str] | None]


def main() -> int:
    options = _options()
    code, done = _digest(), _read(options.out)
    rows = [row for row in ROWS if not options.rows or any(word in row.name for word in options.rows)]
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    shop = Shop(folder)
    try:
        for row in rows:
            if why := row.impossible():
                print(f"{row.name}: left out: {why}")
                continue
            stored = done.get(row.name, {})
            tries: Tries = stored["tries"] if stored.get("code") == code else {}
            for number in row.numbers(shop, options.tries):
                if str(number) not in tries:
                    tries[str(number)] = _try(shop, row, number)
                    done[row.name] = {"code": code, "tries": tries}
                    options.out.parent.mkdir(parents=True, exist_ok=True)
                    options.out.write_text(json.dumps(done, indent=1) + "\n")
    finally:
        shop.end()
        _print(rows, done, code)
    found = any(finding for row in rows for finding in done.get(row.name, {"tries": {}})["tries"].values())
    if not found:
        shutil.rmtree(folder)
    return int(found)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Injects faults into nights and counts what is lost.")
    parser.add_argument("--rows", nargs="+", metavar="WORD", help="only rows whose name has one of these words")
    parser.add_argument("--tries", type=int, help="at most so many tries of a row, spread over all of them")
    parser.add_argument("--out", type=Path, default=_ROOT / "bench" / "faults.json", help="the tries that are made")
    return parser.parse_args()


def _try(shop: Shop, row: Row, number: int) -> dict[str, str] | None:
    try:
        row.make(shop, number)
        finding = None
    except Exception as error:  # noqa: BLE001 (every failure is a finding)
        kind = next((name for each, name in _KINDS.items() if isinstance(error, each)), "lost")
        finding = {"kind": kind, "what": f"{type(error).__name__}: {error}"}
        traceback.print_exc()
    finally:
        shop.end()
    print(f"{row.name}: {number}: {'nothing lost' if finding is None else finding['kind']}", flush=True)
    return finding


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def _digest() -> str:
    """Of all code that a try runs."""
    digest = hashlib.sha256()
    for folder in ("jobs", "recsys", "tests/faults"):
        for path in sorted((_ROOT / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _print(rows: list[Row], done: dict[str, Any], code: str) -> None:
    print(f"\n| fault | tries | {' | '.join(_KINDS.values())} |\n| --- | --- | --- | --- | --- |")
    for row in rows:
        stored = done.get(row.name, {})
        tries: Tries = stored["tries"] if stored.get("code") == code else {}
        counts = [sum(1 for found in tries.values() if found and found["kind"] == kind) for kind in _KINDS.values()]
        print(f"| {row.name} | {len(tries)} | {' | '.join(map(str, counts))} |")


if __name__ == "__main__":
    sys.exit(main())
