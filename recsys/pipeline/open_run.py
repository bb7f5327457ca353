"""Opening a run: which files it reads, and the name that follows from them, from the date and from the config."""

import datetime as dt

from recsys import __version__
from recsys.data.config import EventsInput, TableInput
from recsys.data.feedback import FEEDBACK_DIR, begun_before, feedback_source
from recsys.data.files import FileInfo, list_files
from recsys.data.splits import cutoff_for
from recsys.errors import InputError
from recsys.pipeline.run import Protocol, Run
from recsys.ranking.config import RerankConfig
from recsys.settings import Config, load_config
from recsys.storage.filesystem import Storage, open_input
from recsys.storage.runs import RunFolder, run_id


def input_files(source: TableInput) -> list[FileInfo]:
    """Files of an input, sorted by path."""
    fs, path = open_input(source.path)
    return list_files(fs, path, source.format)


def feedback_input(config: Config) -> EventsInput:
    """What the live service was told, as an input."""
    return feedback_source(Storage(config.storage).url(FEEDBACK_DIR), config.inputs.events)


def feedback_files(config: Config, date: dt.date) -> list[FileInfo]:
    """Files of what the live service was told, sorted by path; none where nothing was told, or it is not to be read.

    Those begun after the night's date are left out: what the service is told meanwhile must not make another night of
    one that is started again.
    """
    if not config.inputs.feedback:
        return []
    source = feedback_input(config)
    fs, path = open_input(source.path)
    # A service that was killed may leave a file without a byte.
    found = list_files(fs, path, source.format, required=False)
    return [file for file in found if file.size and begun_before(file.path, cutoff_for(date, 0))]


def id_files(rules: RerankConfig) -> list[FileInfo]:
    """The block and the allow list, where they are files.

    Raises:
        InputError: one is missing.
    """
    found = []
    for key, path in (("block_file", rules.block_file), ("allow_file", rules.allow_file)):
        if path is not None:
            fs, location = open_input(path)
            if not fs.isfile(location):
                raise InputError(f"rerank.{key}: {path} is no file; name a text file with one item id a line, or null")
            found += list_files(fs, location, "csv")
    return found


def open_run(config: Config, protocol: Protocol = "time") -> Run:
    """Name the night by its date, config, inputs and code, so that starting it again finds it.

    Args:
        config: The resolved settings.
        protocol: What is held out; a backtest by time shares the night's own run.

    Raises:
        InputError: an input or an id file is missing.
    """
    date = config.date or dt.datetime.now(dt.UTC).date()
    inputs = [*input_files(config.inputs.events), *input_files(config.inputs.items), *id_files(config.rerank)]
    if config.inputs.users is not None:
        inputs += input_files(config.inputs.users)
    files = [(file.path, file.size, file.version) for file in inputs]
    # These only grow, and like all of the storage they may be moved: the name and the size tell what is in them.
    told = Storage(config.storage).path(FEEDBACK_DIR)
    files += [(f"feedback{file.path.removeprefix(told)}", file.size, "") for file in feedback_files(config, date)]
    digest = config.digest() if protocol == "time" else f"{config.digest()} {protocol}"
    name = run_id(date, digest, files, __version__)
    return Run(config=config, date=date, folder=RunFolder(Storage(config.storage), name), protocol=protocol)


def stored_run(folder: RunFolder) -> Run:
    """The night of a run, with the settings that it ran with."""
    with folder.storage.local_file(folder.config_path) as path:
        own = load_config(path)
    return Run(config=own, date=folder.date, folder=folder)
