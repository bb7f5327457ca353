"""The command `recsys`: every job of this folder by its name, such as `recsys nightly --config shop.yaml`.

An installed wheel has it as a program. In a checkout, `python -m jobs nightly` is `python jobs/nightly.py`.
"""

import ast
import importlib
import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.table import Table


@cache
def job_summaries() -> dict[str, str]:
    """The first sentence about each job, by its name. A job is a module of this folder with a function `main`.

    The modules are read as text: to import them all takes seconds, since they bring PyTorch and Ray.
    """
    found = {}
    for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(part, ast.FunctionDef) and part.name == "main" for part in module.body):
            found[path.stem] = (ast.get_docstring(module) or "").splitlines()[0]
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job that the first argument names; returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    jobs = job_summaries()
    match words:
        case ["-h" | "--help"]:
            _print_help(Console(soft_wrap=False), jobs)
            return 0
        case ["--version"]:
            sys.stdout.write(f"recsys {version('recsys')}\n")
            return 0
        case [name, *rest] if name in jobs:
            sys.argv = [f"recsys {name}", *rest]  # each job reads its own options, and shows this name in its help
            code: int = importlib.import_module(f"jobs.{name}").main()
            return code
    console = Console(stderr=True)
    if words:
        console.print(f"error: recsys has no job {words[0]!r}", markup=False, highlight=False)
    _print_help(console, jobs)
    return 2


def _print_help(console: Console, jobs: dict[str, str]) -> None:
    console.print(
        "usage: recsys JOB [options]; `recsys JOB --help` lists the options of a job\n", markup=False, highlight=False
    )
    table = Table.grid(padding=(0, 2))
    for name, summary in jobs.items():
        table.add_row(f"  {name}", summary)
    console.print(table)


def program() -> NoReturn:
    """The program `recsys`."""
    if not set(sys.argv[1:2]) & job_summaries().keys():
        sys.exit(main())
    from jobs.command import end_process  # it takes a second, so no help waits for it

    end_process(main)


if __name__ == "__main__":
    program()
