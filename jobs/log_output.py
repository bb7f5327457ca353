"""Where the log of a job goes: a live display on a terminal, else plain lines, or lines of JSON."""

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from jobs.live_display import LiveDisplay
from jobs.log_lines import JsonLines, LogLines
from recsys.pipeline.stage_progress import PROGRESS
from recsys.pipeline.workers.worker_logs import OURS

FORMATS = ("auto", "plain", "json")

#: stdout gets only the last line of JSON. All output for people goes to stderr.
console = Console(stderr=True, width=None if sys.stderr.isatty() else 160)


def add_log_options(options: argparse.ArgumentParser) -> None:
    """`--log-format` and `--verbose`."""
    options.add_argument(
        "--log-format",
        choices=FORMATS,
        default="auto",
        help="`plain` lines, or one `json` object a line; `auto`: a live display on a terminal, else plain (default)",
    )
    options.add_argument(
        "-v", "--verbose", action="store_true", help="also show details, and the lines of Ray and of its workers"
    )


@contextmanager
def log_output(log_format: str, *, verbose: bool) -> Iterator[None]:
    """Show our log records on stderr, of other libraries their warnings; with ``verbose`` all that they have to say."""
    handler = _handler(log_format)
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler], force=True)
    for name in (OURS, "jobs"):
        logging.getLogger(name).setLevel(logging.DEBUG if verbose else PROGRESS)
    console.quiet = log_format == "json"  # tables are for people; their figures are in the last line
    try:
        yield
    finally:
        handler.close()


def _handler(log_format: str) -> logging.Handler:
    if log_format == "json":
        return JsonLines()
    return LiveDisplay(console) if log_format == "auto" and sys.stderr.isatty() else LogLines()
