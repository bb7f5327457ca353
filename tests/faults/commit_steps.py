"""The commit steps of a process: each time a file gets its name in the storage, or is deleted there.

No code of the product knows of this: Python tells every rename, link and removal to an audit hook before it happens.
Python's own events: https://docs.python.org/3.11/library/audit_events.html
"""

import os
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsys.storage.atomic import PARTIAL_SUFFIX

_COMMITS = ("os.rename", "os.link")


@dataclass
class CommitSteps:
    """Writes the steps of a process into a file, one a line, each before it happens, and may end it by SIGKILL.

    Call it in the process. Heartbeats come by the clock: they are no steps.
    """

    root: Path
    log: Path
    fatal_number: int = 0
    """The process ends at the step of this number, from 1."""
    fatal_path: str = ""
    """The process ends at its first step of a path with this end."""
    after: bool = False
    """False: the new file still has its hidden name. True: it has its name, and the folder is not synced yet."""

    def __call__(self) -> None:
        self._number = 0
        self._dying: int | None = None
        sys.addaudithook(self._on_event)

    def _on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._dying == threading.get_ident():
            self._dying = None  # the signal is an event too
            os.kill(os.getpid(), signal.SIGKILL)
        step = self._step_of(event, arguments)
        if step is None:
            return
        self._number += 1
        with self.log.open("a") as stream:
            stream.write(f"{step}\n")
        if self._number == self.fatal_number or (self.fatal_path and step.endswith(self.fatal_path)):
            if not self.after:
                os.kill(os.getpid(), signal.SIGKILL)
            self._dying = threading.get_ident()

    def _step_of(self, event: str, arguments: tuple[Any, ...]) -> str | None:
        """What happens and the path; None where the event is no step."""
        if event in _COMMITS:
            path = os.fspath(arguments[1])
            is_step = os.fspath(arguments[0]).endswith(PARTIAL_SUFFIX) and not (
                event == "os.rename" and "/locks/" in path
            )
        elif event == "os.remove":
            path = os.fspath(arguments[0])
            is_step = not path.endswith(PARTIAL_SUFFIX)
        else:
            return None
        if not is_step or not path.startswith(f"{self.root}/"):
            return None
        return f"{event.removeprefix('os.')} {path.removeprefix(f'{self.root}/')}"
