"""Is every one of 100,000 fuzzed rows counted, whatever the format, without an error?

    python tests/benchmarks/fuzz_inputs.py [--rows 100000] [--seed 0]

Divides the rows among CSV, TSV, JSON Lines and Parquet, and reads each file as the night does: catalog, events,
duplicates. Prints the counts of each format. Exits with 1 unless accepted + quarantined + duplicates + filtered + later
= read.
"""

import argparse
import csv
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from recsys.data.histories import sort_interactions
from recsys.pipeline.inputs.ingest_catalog import ingest_catalog
from recsys.pipeline.inputs.ingest_events import ingest_events
from recsys.pipeline.open_run import open_run
from recsys.pipeline.workers.cluster import cluster
from recsys.settings import decode_config
from recsys.storage.tables import read_table

FORMATS = ("csv", "tsv", "jsonl", "parquet")
NUM_ITEMS = 50
#: One value in so many is wild.
_WILD = 6
_HUGE = 1_000

_SIGNS = (
    *(
        "a",
        "Z",
        "0",
        " ",
        "\t",
        "\n",
        "\r\n",
        "\x00",
        "\x1b[31m",
        "\x7f",
        "\x85",
        "\u2028",
        "\ufeff",
        "\u200b",
        "\u200f",
    ),
    *(
        '"',
        "'",
        '""',
        ",",
        ";",
        "|",
        "\\",
        "\\N",
        "{",
        "}",
        "${x}",
        "{title}",
        "<b>",
        "%s",
        "=1+1",
        "--",
        "/",
        "#",
        "?",
    ),
    *(
        "é",
        "e\u0301",
        "ß",
        "İ",
        "ﬀ",
        "漢字",
        "かな",
        "한국",
        "עברית",
        "العربية",
        "\u202eabc",
        "हिन्दी",
        "🛒",
        "👩‍👩‍👧",
        "🏳️‍🌈",
        "\U0010ffff",
    ),
)
_WORDS = ("", " ", "NULL", "null", "nan", "None", "N/A", "\\N", "true", "no", "inf", "-Infinity", "1e309", "-0", "0x1f")
_WORDS += ("[]", "{}", "[1, 2]", '{"$date": 1}', "undefined", "#REF!", "1.23457E+11", "1,5", "١٢٣", "--help", "C:\\x")
_CLOCKS = (
    "",
    " 08:26",
    "T08:26:00Z",
    " 8:26 PM",
    "T24:00",
    "T23:59:60Z",
    " 25:61",
    "T08:26:00.123456789+05:30",
    " EST",
)
_NUMBERS = (0, -1, 1, 0.5, -0.0, 1e308, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 2**64, 10**30)
_FLOATS = (float("nan"), float("inf"), float("-inf"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of the rows of one file."""

    read: int
    accepted: int
    """Without the duplicates."""
    quarantined: int
    duplicates: int
    filtered: int
    later: int

    @property
    def is_complete(self) -> bool:
        """Whether every row is counted once."""
        return self.read == sum(asdict(self).values()) - self.read


def fuzzed_rows(num_rows: int, seed: int) -> Iterator[dict[str, Any]]:
    """Rows of events; most cells are good, and a tenth of the rows comes twice."""
    chance = random.Random(seed)  # noqa: S311
    row: dict[str, Any] = {}
    for number in range(num_rows):
        if number % 10 != 1:
            row = {name: _cell(name, chance) for name in ("user", "item", "at", "kind", "weight", "words")}
        yield row


def _cell(name: str, chance: random.Random) -> Any:
    if chance.randrange(_WILD):
        return _USUAL[name](chance)
    return _WILD_VALUES[chance.randrange(len(_WILD_VALUES))](chance)


def _text(chance: random.Random) -> str:
    return "".join(chance.choices(_SIGNS, k=chance.randrange(12)))


def _huge(chance: random.Random) -> str:
    return _text(chance) * (chance.randrange(20_000) if not chance.randrange(_HUGE // 10) else 3)


def _date(chance: random.Random) -> str:
    year, month, day = chance.randrange(10_000), chance.randrange(14), chance.randrange(33)
    forms = (f"{year:04}-{month:02}-{day:02}", f"{day}.{month}.{year:04}", f"{day}/{month}/{year:04}", f"{year}")
    return chance.choice(forms) + chance.choice(_CLOCKS)


_USUAL: dict[str, Callable[[random.Random], Any]] = {
    "user": lambda chance: f"u{chance.randrange(500)}",
    "item": lambda chance: f"i{chance.randrange(NUM_ITEMS)}",
    "at": lambda chance: f"20{chance.randrange(10, 26)}-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02}",
    "kind": lambda chance: chance.choice(("view", "purchase", None)),
    "weight": lambda chance: chance.randrange(5),
    "words": lambda chance: chance.choice(("a red lamp", None)),
}
_WILD_VALUES: Sequence[Callable[[random.Random], Any]] = (
    _text,
    _huge,
    _date,
    lambda chance: chance.choice(_WORDS),
    lambda chance: chance.choice(_NUMBERS),
    lambda chance: chance.choice(_FLOATS),
    lambda chance: chance.choice((None, True, False)),
    lambda chance: chance.randrange(-(2**63), 2**63),
    lambda _: "\ud800",  # half of a pair: no text
)


def write_rows(rows: Sequence[dict[str, Any]], form: str, path: Path) -> None:
    """Write rows as one file of a format. Broken text becomes bytes that are not UTF-8."""
    if form == "jsonl":
        path.write_text(
            "".join(json.dumps(row, ensure_ascii=bool(n % 2) or _broken(row)) + "\n" for n, row in enumerate(rows))
        )
    elif form == "parquet":
        _write_parquet(rows, path)
    else:
        with path.open("w", encoding="utf-8", errors="surrogatepass", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if form == "tsv" else ",", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def _broken(row: dict[str, Any]) -> bool:
    return any(value == "\ud800" for value in row.values())


def _write_parquet(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Parquet columns have one type: text, binary, dictionary or large text, by the column."""
    types = {
        "user": pa.binary(), "item": pa.string(), "at": pa.large_string(),
        "kind": pa.dictionary(pa.int32(), pa.string()), "weight": pa.string(), "words": pa.large_binary(),
    }  # fmt: skip
    columns = []
    for name, kind in types.items():
        cells = [None if row[name] is None else str(row[name]) for row in rows]
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            columns.append(pa.array([c if c is None else c.encode(errors="surrogatepass") for c in cells], kind))
        else:
            columns.append(
                pa.array([c if c is None else c.replace("\ud800", "?") for c in cells], pa.string()).cast(kind)
            )
    pq.write_table(pa.table(columns, names=list(types)), path, row_group_size=5_000)


def read_fuzzed(num_rows: int, form: str, seed: int, folder: Path) -> Counts:
    """Write fuzzed rows in a format, read them as the night does, and count what became of them."""
    events, items = folder / f"events.{form}", folder / "items.jsonl"
    write_rows(list(fuzzed_rows(num_rows, seed)), form, events)
    chance = random.Random(seed)  # noqa: S311
    named = [{"item": f"i{number}", "title": _text(chance)} for number in range(NUM_ITEMS)]
    wild = [{"item": _cell("item", chance), "title": _cell("words", chance)} for _ in range(num_rows // 20)]
    write_rows(named + wild, "jsonl", items)
    columns = {
        "user_id": "user",
        "item_id": "item",
        "timestamp": "at",
        "event": "kind",
        "weight": "weight",
        "text": "words",
    }
    source = {"path": str(events), "format": "csv" if form == "tsv" else form, "columns": columns}
    source |= {"delimiter": "\t"} if form == "tsv" else {}
    config = {
        "storage": str(folder / "warehouse"),
        "date": "2023-06-30",
        "inputs": {
            "events": source | {"where": "kind is null or kind <> 'purchase'", "timestamp_format": "day_first"},
            "items": {"path": str(items), "format": "jsonl", "columns": {"item_id": "item"}, "text": "{title}"},
            "max_quarantine_rate": 1.0,
        },
    }
    run = open_run(decode_config(config))
    ingest_catalog(run)
    record = ingest_events(run)
    accepted = pa.concat_tables([read_table(run.storage, path) for path in record.parts])
    duplicates = sort_interactions(accepted)[1]
    return Counts(
        read=num_rows,
        accepted=len(accepted) - duplicates,
        quarantined=record.quarantined,
        duplicates=duplicates,
        filtered=record.filtered,
        later=record.later,
    )


def main() -> int:
    """Print the counts of each format; 1 if rows are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    complete = True
    with cluster(min_cpus=1), tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        for number, form in enumerate(FORMATS):
            place = Path(folder) / form
            place.mkdir()
            counts = read_fuzzed(options.rows // len(FORMATS), form, options.seed + number, place)
            complete &= counts.is_complete
            verdict = "" if counts.is_complete else "ROWS ARE MISSING"
            sys.stdout.write(f"{form} {json.dumps(asdict(counts))} {verdict}\n")
        sys.stdout.write(f"{time.perf_counter() - start:.1f} s\n")
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
