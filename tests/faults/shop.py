"""A tiny shop and its nights: the place in which the faults happen."""

import datetime as dt
import json
import shutil
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from ruamel.yaml import YAML

from recsys.data.events.feedback import FEEDBACK_DIR
from recsys.data.synthetic.shop import make_shop, write_shop
from recsys.storage.append_log import AppendLog
from recsys.storage.filesystem import Storage
from tests.conftest import tiny_config
from tests.faults.checks import Hashes, check_output, check_published, hashes_of
from tests.faults.commit_steps import CommitSteps
from tests.faults.inline_engine import run_in_driver
from tests.faults.night import Night, Setup


@dataclass
class Attempt:
    """One try: a storage, a config, and the nights that were started on them."""

    shop: "Shop"
    folder: Path
    nights: list[Night] = field(default_factory=list)

    @property
    def root(self) -> Path:
        """Of the storage, where it is local."""
        return self.folder / "warehouse"

    @property
    def steps(self) -> Path:
        """Where a night logs its commit steps."""
        return self.folder / "steps.txt"

    def write_config(self, storage: str | None = None, **sections: Any) -> Path:
        """Write the config. It names no date, so a night is of today. Sections are as in `tiny_config`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        changes = {name: QUICK.get(name, {}) | sections.get(name, {}) for name in QUICK | sections}
        values = tiny_config(self.shop.inputs, storage or self.root, **changes) | {"date": None}
        path = self.folder / "config.yaml"
        with path.open("w") as stream:
            YAML(typ="safe", pure=True).dump(values, stream)
        return path

    def inline(self, *options: str, setups: list[Setup] | None = None, **sections: Any) -> Night:
        """Start a night whose tasks run in the driver, see `inline_engine`."""
        return self.on_ray(*options, setups=[run_in_driver, *(setups or [])], **sections)

    def on_ray(
        self,
        *options: str,
        setups: list[Setup] | None = None,
        environment: dict[str, str] | None = None,
        **sections: Any,
    ) -> Night:
        """Start a night with a Ray of its own, or with the one that `environment` names."""
        config = self.write_config(**sections)
        night = Night(self.folder / "output", config, *options, setups=setups or [], environment=environment)
        self.nights.append(night)
        return night

    def end(self) -> None:
        """End what still runs."""
        for night in self.nights:
            night.end()


#: Settings of a night that takes a second or two, beside those of `tiny_config`.
QUICK: dict[str, Any] = {"histories": {"shards": 2}, "train": {"epochs": 1}}
#: Settings of the section `train` for a training of two processes, which takes some seconds.
TWO_RANKS = {"epochs": 3, "num_workers": 2}


@dataclass
class Shop:
    """The inputs of a shop that is open until today (UTC), its undisturbed nights, and a folder for tries."""

    folder: Path
    today: dt.date = field(default_factory=lambda: dt.datetime.now(dt.UTC).date())

    def __post_init__(self) -> None:
        self._stopped: dict[str, Attempt] = {}
        self._attempts: list[Attempt] = []
        self.inputs = self.folder / "shop"
        write_shop(make_shop(num_users=40, num_items=25, num_days=20, seed=5, end=self.today), self.inputs)

    def attempt(self, name: str, start: "Attempt | None" = None) -> Attempt:
        """A folder for one try, with a copy of a storage."""
        tries = self.folder / "tries"
        tries.mkdir(exist_ok=True)
        attempt = Attempt(self, Path(mkdtemp(prefix=f"{name}-", dir=tries)))
        self._attempts.append(attempt)
        if start is not None:
            shutil.copytree(start.root, attempt.root)
        return attempt

    @cached_property
    def night_before(self) -> Attempt:
        """Yesterday's night is published, and some feedback came."""
        attempt = self.attempt("night-before")
        yesterday = self.today - dt.timedelta(days=1)
        check_output(attempt.inline("--date", yesterday.isoformat()), 0)
        check_published(attempt.root)
        self.tell(attempt, 1)
        return attempt

    @cached_property
    def undisturbed(self) -> Attempt:
        """Today's night too is published, without a fault."""
        attempt = self.attempt("undisturbed", self.night_before)
        check_output(attempt.inline(setups=[CommitSteps(attempt.root, attempt.steps)]), 0)
        check_published(attempt.root)
        return attempt

    @cached_property
    def steps(self) -> list[str]:
        """The commit steps of today's night, in their order."""
        return self.undisturbed.steps.read_text().splitlines()

    @cached_property
    def expected(self) -> Hashes:
        """The lists of today's night."""
        return hashes_of(self.undisturbed.root)

    @cached_property
    def published(self) -> dict[str, Hashes]:
        """The lists of both nights, by the run id."""
        return {
            check_published(each.root).run_id: hashes_of(each.root) for each in (self.night_before, self.undisturbed)
        }

    @cached_property
    def expected_later(self) -> Hashes:
        """The lists of today's night, where it began after the second feedback came."""
        attempt = self.attempt("undisturbed-later", self.night_before)
        self.tell(attempt, 2)
        check_output(attempt.inline(), 0)
        return hashes_of(attempt.root)

    @cached_property
    def expected_of_two_ranks(self) -> Hashes:
        """The lists of today's night, where two processes trained: they add up their gradients in another order."""
        attempt = self.attempt("undisturbed-ranks", self.night_before)
        check_output(attempt.on_ray(train=TWO_RANKS), 0)
        return hashes_of(attempt.root)

    def stopped_before(self, path: str) -> Attempt:
        """Today's night was killed before it wrote a path with this end, such as `stages/check.json`."""
        if path not in self._stopped:
            attempt = self.attempt("stopped", self.night_before)
            code = attempt.inline(setups=[CommitSteps(attempt.root, attempt.steps, fatal_path=path)]).wait()
            assert code < 0, f"no step of the night changes {path}"
            self._stopped[path] = attempt
        return self._stopped[path]

    def end(self) -> None:
        """End what still runs."""
        while self._attempts:
            self._attempts.pop().end()

    def tell(self, attempt: Attempt, number: int) -> None:
        """Feedback comes: each user's event of this number."""
        log = AppendLog(Storage(str(attempt.root)), FEEDBACK_DIR, "shop")
        for line in self.feedback(number):
            log.append(line)
        log.close()

    def feedback(self, number: int) -> list[bytes]:
        """Each user's event of this number, as it is stored."""
        time = dt.datetime.combine(self.today, dt.time(0, 0, number), tzinfo=dt.UTC).isoformat()
        lines = []
        for user in range(5):
            event = {"event_id": f"{number}-{user}", "user_id": f"told{user}", "item_id": f"i{number:04d}"}
            row = event | {"timestamp": time, "event": "buy", "weight": 1.0, "text": ""}
            lines.append(json.dumps(row).encode() + b"\n")
        return lines
