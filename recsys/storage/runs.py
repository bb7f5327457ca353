"""A run's name, its folder, and its records of what is done."""

import dataclasses
import datetime as dt
import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any

from recsys.config.loading import parse_yaml
from recsys.errors import ConfigError, NewerFormatError
from recsys.storage.filesystem import Storage
from recsys.storage.read_together import read_together
from recsys.storage.record_kinds import FORMAT_VERSION, STAGE, STORED_CONFIG, RecordKind

logger = logging.getLogger(__name__)

_RUN_ID = re.compile(r"\d{4}-\d{2}-\d{2}-[A-Za-z0-9._-]+")
_CONFIG_VERSION = re.compile(rf"# {FORMAT_VERSION}: (\d+)\n")


def run_id(date: dt.date, settings_digest: str) -> str:
    """The run's name: `2026-11-22-` and 12 hex digits. The same date and settings give the same name."""
    named = json.dumps([date.isoformat(), settings_digest])
    return f"{date.isoformat()}-{hashlib.sha256(named.encode()).hexdigest()[:12]}"


@dataclasses.dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of a run's records. A stage, or a part of it, is done when its record is there."""

    storage: Storage
    run_id: str

    def __post_init__(self) -> None:
        if not _RUN_ID.fullmatch(self.run_id):
            raise ConfigError(f"run id {self.run_id!r}: must look like 2026-11-22-0123456789ab; see the folder runs/")
        try:
            _ = self.date
        except ValueError as error:
            raise ConfigError(f"run id {self.run_id!r}: does not begin with a date ({error})") from error

    @property
    def date(self) -> dt.date:
        """The night's data date."""
        return dt.date.fromisoformat(self.run_id[:10])

    @property
    def dir(self) -> str:
        """The run's folder; this and every path below is relative to the storage root."""
        return f"runs/{self.run_id}"

    @property
    def model_ids(self) -> tuple[str, str]:
        """Ids of the models that the run trains: the one that is measured, and its refit on all days."""
        return f"ranker-{self.run_id}", f"ranker-{self.run_id}-refit"

    @property
    def config_path(self) -> str:
        """The resolved config."""
        return f"{self.dir}/config.yaml"

    @property
    def start_path(self) -> str:
        """What the first start settled, above all the list of the input files."""
        return f"{self.dir}/start.json"

    @property
    def metrics_path(self) -> str:
        """What was measured."""
        return f"{self.dir}/metrics.json"

    @property
    def report_path(self) -> str:
        """The run report for people."""
        return f"{self.dir}/report.html"

    @property
    def quarantine_dir(self) -> str:
        """Rows that were refused, with their reasons."""
        return f"{self.dir}/quarantine"

    @property
    def histories_dir(self) -> str:
        """The users' histories in hash shards."""
        return f"histories/{self.run_id}"

    @property
    def stages_dir(self) -> str:
        """The records of what is done."""
        return f"{self.dir}/stages"

    def stage_path(self, stage: str) -> str:
        """The record that says a stage is done."""
        return f"{self.stages_dir}/{_name(stage)}.json"

    def done(self, stage: str) -> dict[str, Any] | None:
        """The record of a finished stage; None where it is not done, or its record is damaged or of a newer release."""
        return self._done(self.stage_path(stage))

    def finish(self, stage: str, record: Mapping[str, Any]) -> None:
        """Say that a stage is done; call it after everything the stage writes is in place."""
        self.storage.write_json(self.stage_path(stage), STAGE.stamp(record))

    def part_path(self, stage: str, part: str) -> str:
        """The record that says a part of a stage is done."""
        return f"{self.stages_dir}/{_name(stage)}/{_name(part)}.json"

    def part_done(self, stage: str, part: str) -> dict[str, Any] | None:
        """The record of a finished part; None where it is not done, or its record is damaged or of a newer release."""
        return self._done(self.part_path(stage, part))

    def finish_part(self, stage: str, part: str, record: Mapping[str, Any]) -> None:
        """Say that a part is done; call it after everything the part writes is in place."""
        self.storage.write_json(self.part_path(stage, part), STAGE.stamp(record))

    def parts(self, stage: str) -> dict[str, dict[str, Any]]:
        """The records of all finished parts, by name."""
        names = [name.removesuffix(".json") for name in self.storage.list(f"{self.stages_dir}/{_name(stage)}")]
        records = read_together(lambda name: self.part_done(stage, name), names)
        return {name: record for name, record in zip(names, records, strict=True) if record is not None}

    def forget(self) -> None:
        """Delete the records of what is done, so that the run starts from the beginning; what is published stays."""
        self.storage.delete_folder(self.stages_dir)

    def write_config(self, text: str) -> None:
        """Store the resolved config (YAML) in the run's folder. A comment names the version of its form."""
        self.storage.write_bytes(self.config_path, f"# {FORMAT_VERSION}: {STORED_CONFIG.version}\n{text}".encode())

    def read_config(self) -> dict[str, Any]:
        """The stored config as plain values in the form of this release.

        Raises:
            FileNotFoundError: there is none.
            ConfigError: it is damaged.
            NewerFormatError: a newer release wrote it.
        """
        where = self.storage.url(self.config_path)
        text = self.storage.read_bytes(self.config_path).decode(errors="replace")
        version = _CONFIG_VERSION.match(text)
        try:
            raw = parse_yaml(text, f"config {where}")
            return STORED_CONFIG.current(({FORMAT_VERSION: int(version[1])} if version else {}) | raw, where)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"config {where}: is damaged ({error})") from error

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Store what was measured in the run's folder."""
        self.storage.write_json(self.metrics_path, metrics)

    def read_record(self, path: str, kind: RecordKind) -> dict[str, Any] | None:
        """The record at a path; None if it is missing. A damaged one gives a warning and None.

        Raises:
            NewerFormatError: a newer release wrote it.
        """
        try:
            record = self.storage.read_json(path)
            return kind.current(record, self.storage.url(path)) if isinstance(record, dict) else None
        except FileNotFoundError:
            return None
        except ValueError as error:
            logger.warning("%s is damaged (%s): its work is done again", self.storage.url(path), error)
            return None

    def _done(self, path: str) -> dict[str, Any] | None:
        try:
            return self.read_record(path, STAGE)
        except NewerFormatError as error:
            logger.warning("%s; its work is done again", error)
            return None


def run_folders(storage: Storage) -> Iterator[RunFolder]:
    """Every run of a storage, in the order of their ids; other folders there are left out."""
    for name in storage.folders("runs"):
        try:
            yield RunFolder(storage, name)
        except ConfigError:  # not ours
            continue


def _name(name: str) -> str:
    if not name or "/" in name:
        raise AssertionError(f"a stage or part is one plain name, got {name!r}")
    return name
