"""Opening a run: by its date and its settings, or by its id."""

from collections.abc import Iterator
from contextlib import contextmanager

from recsys.config.loading import interpolate
from recsys.config.stored import decode_stored
from recsys.errors import InputError
from recsys.pipeline.night_date import night_date
from recsys.pipeline.run import Protocol, Run
from recsys.pipeline.start_run import read_start
from recsys.settings import Config
from recsys.storage.filesystem import Storage
from recsys.storage.runs import RunFolder, run_id


def open_run(config: Config, protocol: Protocol = "time") -> Run:
    """Open the run of a night; the same date and settings give the same run, however the date is given.

    Args:
        config: The settings.
        protocol: What is held out. `time` is the night's own run.

    Raises:
        InputError: `date: newest`, and no event has a date.
    """
    date = night_date(config)
    digest = config.digest() if protocol == "time" else f"{config.digest()} {protocol}"
    folder = RunFolder(Storage(config.storage), run_id(date, digest))
    return Run(config=config.model_copy(update={"date": date}), date=date, folder=folder, protocol=protocol)


@contextmanager
def files_named(folder: RunFolder) -> Iterator[None]:
    """Turn a missing file of a published run into an error that says what to do."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(
            f"run {folder.run_id}: {error.filename or error} is missing. Another release published this run with other "
            f"files, or the file was deleted. Publish a night with this release, or read this run with the release "
            f"that published it"
        ) from error


def stored_run(folder: RunFolder) -> Run:
    """A run of the storage, with the settings and the protocol that are stored with it, by whatever release.

    Raises:
        ConfigError: the stored config has values that this release does not allow.
        NewerFormatError: a newer release wrote it, in a form that this release does not know.
        FileNotFoundError: there is no such run.
    """
    own = decode_stored(Config, interpolate(folder.read_config()), folder.storage.url(folder.config_path))
    start = read_start(folder)
    return Run(config=own, date=folder.date, folder=folder, protocol=start.protocol if start else "time")
