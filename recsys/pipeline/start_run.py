"""Starting a run, or going on with it: what its first start settles, and when a run begins again."""

import datetime as dt
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from pydantic import ConfigDict

from recsys import __version__
from recsys.config.strict_json import STRICT, as_json, from_json
from recsys.data.formats.input_format import FileInfo
from recsys.errors import ConfigError, InputError, NewerFormatError
from recsys.pipeline.encoders.settle_encoder import SettledEncoder, settle_encoder, with_encoder
from recsys.pipeline.inputs.input_list import (
    ID_LISTS,
    InputList,
    InputName,
    id_list_path,
    present_files,
    same_inputs,
    take_inputs,
)
from recsys.pipeline.measuring.gate_summary import gate_summary, was_refused
from recsys.pipeline.publishing.run_references import run_that_needs
from recsys.pipeline.run import Protocol, Run
from recsys.pipeline.stage import Stage
from recsys.pipeline.stages import FINETUNE, PUBLISH_LISTS
from recsys.storage.addresses import input_bytes
from recsys.storage.lease import Lease, lock
from recsys.storage.manifest import is_complete, lists_folder
from recsys.storage.publish import attempts, pointer_to, published
from recsys.storage.record_kinds import RUN_START
from recsys.storage.runs import RunFolder

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RunStart:
    """What the first start of a run settles. Later starts of the run go by it."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    protocol: Protocol
    forced: bool
    """Whether `--force` began the run."""
    version: str
    """Of this package."""
    started_at: str
    """ISO 8601, UTC."""
    inputs: InputList
    encoder: SettledEncoder | None = None
    """None: a version began the run that did not settle it."""


def read_start(folder: RunFolder) -> RunStart | None:
    """What the first start of a run settled; None if it was not started, or was refused while it read its inputs."""
    try:
        stored = folder.read_record(folder.start_path, RUN_START)
        return None if stored is None else from_json(RunStart, stored)
    except (ValueError, NewerFormatError) as error:
        logger.warning(
            "run %s: its list of inputs does not fit this version and is taken again (%s)", folder.run_id, error
        )
        return None


def listed_files(run: Run, name: InputName) -> list[FileInfo]:
    """The files of an input that the run reads, by the list of its first start.

    Raises:
        InputError: a file is gone or has another content.
    """
    start = read_start(run.folder) or _begin(run, take_inputs(run.config, run.date), forced=False)
    return present_files(run.config, name, start.inputs[name])


@contextmanager
def started_run(run: Run, stages: Iterable[Stage[Any]], *, own_lock: bool = False) -> Iterator[tuple[Run, Lease]]:
    """Hold the night's lock, and give the run on which the stages work: a new one, or one that goes on.

    Its config names the text encoder that the first start of the run settled.

    A run that was interrupted goes on. With `run.force` a new one begins beside what is published, unless such a one
    is not finished, or `stages` publish a run that a gate refused. Without it, a run that a gate refused begins again
    if its inputs have changed.

    Args:
        run: As `open_run` gives it, with or without `force`.
        stages: What is about to run.
        own_lock: Hold the lock of the run alone, not that of the night: for work that publishes nothing.

    Raises:
        InputError: an input is missing. Nothing was written.
        ConfigError: the run would begin again, and another run needs its model.
        LockedError: another process holds the night.
    """
    stages = [stage for stage in stages if stage.applies(run.config)]
    # Before the lock, since a refusal must not write anything.
    inputs = None if _goes_on(_attempt(run, stages), stages) else take_inputs(run.config, run.date)
    with lock(run.folder, run.folder.run_id if own_lock else None) as lease:
        run = _attempt(run, stages)
        if not _goes_on(run, stages):
            run = with_encoder(run, settle_encoder(run))
            _begin(run, inputs or take_inputs(run.config, run.date), forced=run.force)
        elif (start := read_start(run.folder)) is not None:
            run = with_encoder(run, start.encoder)
            if not is_complete(run.folder):
                if start.version != __version__:
                    logger.info(
                        "run %s: begun by version %s, goes on with %s", run.folder.run_id, start.version, __version__
                    )
                run.folder.write_config(run.config.to_yaml())
        try:
            yield run, lease
        except InputError:
            if run.done(FINETUNE) is None:
                _forget_inputs(run)
            raise


def _attempt(run: Run, stages: list[Stage[Any]]) -> Run:
    """The run itself, or another name of it where it must not be touched: it is published, or its model is needed."""
    if not run.force and (_finished(run, stages) or published(run.storage, run.folder.run_id) is None):
        return run
    for folder in attempts(run.folder):
        attempt = replace(run, folder=folder)
        if is_complete(folder):
            if run.force and PUBLISH_LISTS in stages and _half_published(attempt):
                return attempt
        elif _goes_on(attempt, stages) or run_that_needs(folder) is None:
            return attempt
    raise AssertionError("there is no end of names")


def _half_published(run: Run) -> bool:
    """Whether a run of `--force` was killed between its manifest and the pointer."""
    start = read_start(run.folder)
    forced = (start is not None and start.forced) or gate_summary(run).get("verdict") == "overridden"
    return forced and pointer_to(run.folder) is None


def _goes_on(run: Run, stages: list[Stage[Any]]) -> bool:
    """Whether a run was started before and is continued, or is finished and answers."""
    if is_complete(run.folder):
        return True
    start = read_start(run.folder)
    if start is None:
        return False
    if run.force:
        publishes_refused = PUBLISH_LISTS in stages and was_refused(run)
        return publishes_refused or (start.forced and not _finished(run, stages))
    return not was_refused(run) or same_inputs(start.inputs, take_inputs(run.config, run.date))


def _finished(run: Run, stages: list[Stage[Any]]) -> bool:
    return all(run.done(stage) is not None for stage in stages)


def _begin(run: Run, inputs: InputList, *, forced: bool) -> RunStart:
    """Settle the inputs of a run that begins, after all that an earlier try left is deleted.

    Raises:
        ConfigError: another run needs a model of this one, which retention has kept for it. Nothing was deleted.
    """
    assert not is_complete(run.folder), f"{run.folder.run_id} is published: its files must stay"
    if (needing := run_that_needs(run.folder)) is not None:
        raise ConfigError(
            f"run {run.folder.run_id}: cannot begin again, since run {needing} needs its model; start it with --force, "
            f"which begins it under another name, or delete run {needing} before"
        )
    run.storage.delete(run.folder.start_path)  # first: a start that is killed from here on begins again
    for folder in (
        run.folder.dir,
        run.folder.histories_dir,
        lists_folder(run.folder),
        run.model_path(),
        run.model_path(run.refit_id),
    ):
        run.storage.delete_folder(folder)
    for name in ID_LISTS:
        for listed in inputs[name]:
            run.storage.write_bytes(id_list_path(run.folder, name), input_bytes(listed.file.path))
    start = RunStart(
        protocol=run.protocol,
        forced=forced,
        version=__version__,
        started_at=dt.datetime.now(dt.UTC).isoformat(),
        inputs=inputs,
        encoder=SettledEncoder(model=run.config.encoder.model, revision=run.config.encoder.revision),
    )
    run.folder.write_config(run.config.to_yaml())
    run.storage.write_json(run.folder.start_path, RUN_START.stamp(as_json(start)))
    return start


def _forget_inputs(run: Run) -> None:
    """Let the next start read the inputs as they are then. The quarantine stays for people until then."""
    run.storage.delete(run.folder.start_path)
    run.folder.forget()
