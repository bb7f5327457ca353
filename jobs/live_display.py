"""The log on a terminal: lines of what is done, and below them one live line of what is being done."""

import logging
import time

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from jobs.log_lines import HEADER, stage_row
from recsys.pipeline.stage_progress import StageBegins, StageEnds, StepProgress, duration

#: How often the live line is drawn, per second.
REFRESHES = 2
_BAR_WIDTH = 32


class LiveDisplay(logging.Handler):
    """Shows records on a terminal. The live line is drawn while a stage runs."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(message)s"))
        self._console = console
        self._stage: str | None = None
        self._began = 0.0
        self._progress: StepProgress | None = None
        self._is_table = False
        self._live = Live(
            get_renderable=self.running, console=console, refresh_per_second=REFRESHES, transient=True, screen=False
        )

    def emit(self, record: logging.LogRecord) -> None:
        """Print a line, or change what the live line shows."""
        told = getattr(record, "told", None)
        if isinstance(told, StageBegins):
            self._stage, self._began, self._progress = told.stage, time.monotonic(), None
            self._live.start()
        elif isinstance(told, StepProgress):
            self._progress = told
        elif isinstance(told, StageEnds):
            self._stage = self._progress = None
            if not self._is_table:
                self._console.print(Text(HEADER, "dim"), soft_wrap=True)
                self._is_table = True
            self._console.print(Text(stage_row(told)))
        else:
            self._console.print(self._line(record))

    def _line(self, record: logging.LogRecord) -> Text:
        if record.levelno >= logging.ERROR:
            return Text(f"{record.levelname}  {self.format(record)}", "red")
        if record.levelno >= logging.WARNING:
            return Text(f"{record.levelname}  {self.format(record)}", "yellow")
        return Text(self.format(record), "dim")

    def running(self) -> RenderableType:
        """The live line: the stage and its time; bar, share, place and time left, where its step tells them."""
        if self._stage is None:
            return Text()
        took = duration(time.monotonic() - self._began)
        told = self._progress
        line = Table.grid(padding=(0, 2))
        if told is None:
            line.add_row(Text(self._stage, "bold"), ProgressBar(width=_BAR_WIDTH, pulse=True), Text(took, "dim"))
            return line
        left = told.seconds_left
        line.add_row(
            Text(self._stage, "bold"),
            ProgressBar(total=1.0, completed=told.share, width=_BAR_WIDTH),
            f"{told.share:.0%}",
            Text(took if left is None else f"{took}, about {duration(left)} left", "dim"),
        )
        step = "" if told.step == self._stage else f"{told.step}: "
        return Group(line, Text(f"{step}{', '.join(filter(None, (told.place, told.figures())))}", "dim"))

    def close(self) -> None:
        """Take the live line away."""
        self._live.stop()
        super().close()
