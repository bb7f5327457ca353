"""The command line of all jobs: options, logs, exit codes, and the last line of JSON."""

import argparse
import atexit
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from jobs.log_output import add_log_options, log_output
from jobs.user_ids import CommandLine
from recsys.errors import RecsysError, causes, one_line
from recsys.pipeline.imports_ahead import imports_ahead
from recsys.pipeline.stage import Stage
from recsys.settings import Config, load_config

logger = logging.getLogger("jobs")

Answer = dict[str, Any]


def parser(description: str, *, force: str | None = None, dated: bool = True) -> argparse.ArgumentParser:
    """The options of every job.

    Args:
        description: What the job does.
        force: The help of `--force`; None: the job has no such option.
        dated: Whether it has `--date`. A job that reads what is published has none.
    """
    options = CommandLine(description=description)
    options.add_argument("--config", required=True, help="YAML file, such as configs/demo.yaml")
    if dated:
        options.add_argument(
            "--date",
            help="data date of the night: a day such as 2026-11-22, `yesterday`, `today`, or `newest` (the day of the "
            "newest event); default: `date` of the config, or today; days are of UTC",
        )
    add_overrides(options)
    if force is not None:
        options.add_argument("--force", action="store_true", help=force)
    add_log_options(options)
    return options


def add_overrides(options: argparse.ArgumentParser, example: str = "recommend.top_k=20") -> None:
    """The option `--set`, for `load_config`."""
    options.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help=f"override a config key, such as {example}"
    )


def run(body: Callable[[Config, argparse.Namespace], Answer], options: argparse.ArgumentParser) -> int:
    """Run a job with its config; see `run_without_config`."""

    def with_config(arguments: argparse.Namespace) -> Answer:
        config = load_config(arguments.config, arguments.set, vars(arguments).get("date"))
        _warn_of_lost_storage(config)
        return body(config, arguments)

    return run_without_config(with_config, options)


def run_without_config(body: Callable[[argparse.Namespace], Answer], options: argparse.ArgumentParser) -> int:
    """Run a job and print one JSON object as the last line; returns the exit code, see `recsys.errors`."""
    arguments = options.parse_args()
    _interrupt_at_sigterm()
    with log_output(arguments.log_format, verbose=arguments.verbose):
        try:
            answer, code = body(arguments), 0
        except KeyboardInterrupt:
            answer, code = {"status": "interrupted", "run_id": None, "path": None}, 1
        except Exception as error:  # noqa: BLE001 (here every failure becomes an exit code)
            answer, code = _explain(error)
    sys.stderr.flush()
    print(json.dumps({"status": None, "run_id": None, "path": None} | answer), flush=True)  # noqa: T201
    return code


@contextmanager
def on_ray(config: Config, stages: Iterable[Stage[Any]] = ()) -> Iterator[None]:
    """Start Ray or join a cluster, with enough CPUs for the config. Ray is imported here, because that is slow.

    The modules of `stages`, which are about to run, are imported in the meantime.
    """
    from recsys.pipeline.workers.cluster import cluster
    from recsys.pipeline.workers.cpu_needs import min_cpus

    modules = [stage.module for stage in stages if stage.applies(config)]
    with imports_ahead(modules), cluster(min_cpus(config)):
        _interrupt_at_sigterm()  # Ray has set a handler that ends the process without an answer
        yield


def _interrupt_at_sigterm() -> None:
    """Let SIGTERM (`timeout`, systemd, Kubernetes, `ray job stop`) end the job as Ctrl-C does."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def end_process(main: Callable[[], int]) -> NoReturn:
    """Run a command line and end the process with its exit code; Ctrl-C ends it with 1 and without a traceback.

    Before, everything that is registered for the end of the process is done and written.
    Python would then clear all modules and count the references of half a million objects, which takes 1.4 s after a
    night of 20 s, and DuckDB's binding would complain of leaked objects, which the end of the process frees as well.
    """
    try:
        code = main()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        code = 1
    atexit._run_exitfuncs()  # Ray's, those of logging, and those of libraries; what they write is flushed below
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _explain(error: Exception) -> tuple[Answer, int]:
    ours = next((cause for cause in causes(error) if isinstance(cause, RecsysError)), None)
    if ours is None:
        logger.error("%s: %s", type(error).__name__, error, exc_info=error)
        return {"status": "failed", "error": one_line(error)}, 1
    logger.error("%s", ours)
    if ours.exit_code == 1:
        logger.debug("what led to it", exc_info=error)
    status = "refused" if ours.exit_code > 1 else "failed"
    details = {"refused": ours.details} if ours.details else {}
    return {"status": status, "error": str(ours)} | details, ours.exit_code


def _warn_of_lost_storage(config: Config) -> None:
    """`ray job submit --working-dir` runs in a copy of the folder that Ray deletes, with a storage below it too."""
    in_copy = "runtime_resources" in Path.cwd().parts
    if in_copy and "://" not in config.storage and not os.path.isabs(config.storage):
        logger.warning(
            "storage %s is in the job's temporary copy of the working directory (%s), which Ray deletes: use an "
            "absolute path that all machines share, or s3://",
            config.storage,
            Path.cwd(),
        )
