"""A night in a process of its own, which can be killed, stopped and continued.

Processes are forked from a server that has imported the libraries already: an import takes longer than a tiny night.
"""

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NoReturn

import psutil

_ROOT = Path(__file__).parents[2]
#: Longest time of one start, seconds: the machine may be busy with other work.
PATIENCE_S = 540.0

#: Runs in the new process before the job.
Setup = Callable[[], None]

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["tests.faults.preload"])


class Night:
    """A started job, `jobs/nightly.py` by default, in a session of its own; it writes its output into a folder."""

    def __init__(
        self,
        folder: Path,
        config: Path,
        *options: str,
        setups: Sequence[Setup] = (),
        environment: dict[str, str] | None = None,
        job: str = "nightly",
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        number = len(list(folder.glob("*.err")))
        self.out, self.err = folder / f"{number}.out", folder / f"{number}.err"
        self.err.touch()
        argv = [f"{job}.py", "--config", str(config), "--log-format", "json", *options]
        self.process: BaseProcess = _forks.Process(
            target=_run, args=(job, argv, self.out, self.err, tuple(setups), environment or {})
        )
        self.process.start()

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def wait(self) -> int:
        """Wait for its end; the exit code, or minus the number of the signal that ended it."""
        self.process.join(PATIENCE_S)
        code = self.process.exitcode
        if code is None:
            self.end()
            raise AssertionError(f"the night did not end in {PATIENCE_S:.0f} s:\n{self.said}")
        return code

    def send(self, number: int) -> None:
        """Send a signal to the driver alone; Ray's processes notice it by themselves."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL to the driver, and wait."""
        self.send(signal.SIGKILL)
        self.wait()

    def end(self) -> None:
        """End it with all processes that it started."""
        children: list[psutil.Process] = []
        if self.process.is_alive():
            children = psutil.Process(self.pid).children(recursive=True)
            self.send(signal.SIGCONT)
            self.kill()
        for child in children:
            try:
                child.kill()
            except psutil.NoSuchProcess:
                continue

    @property
    def said(self) -> str:
        """Its log so far."""
        return self.err.read_text(encoding="utf-8")

    def events(self) -> list[dict[str, Any]]:
        """The lines of its log, as far as they are whole."""
        return [json.loads(line) for line in self.said.splitlines(keepends=True) if line.endswith("}\n")]

    def has_begun(self, stage: str) -> bool:
        """Whether the log says that a stage begins."""
        return any((told.get("event"), told.get("stage")) == ("stage_begins", stage) for told in self.events())

    def answer(self) -> dict[str, Any]:
        """The JSON of the last line on stdout."""
        found: dict[str, Any] = json.loads(self.out.read_text(encoding="utf-8").splitlines()[-1])
        return found


def _run(
    job: str, argv: list[str], out: Path, err: Path, setups: tuple[Setup, ...], environment: dict[str, str]
) -> NoReturn:
    os.setsid()
    os.chdir(_ROOT)
    for stream, path in ((1, out), (2, err)):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, stream)
        os.close(descriptor)
    os.environ.pop("RAY_ADDRESS", None)
    os.environ.update(environment)
    sys.argv = argv
    for setup in setups:
        setup()
    from importlib import import_module

    from jobs.command import end_process

    end_process(import_module(f"jobs.{job}").main)
