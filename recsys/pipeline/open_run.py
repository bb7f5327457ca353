"""Opening a run: its input files are listed, and its id is made from them, the date, the config and the version."""

import datetime as dt

from recsys import __version__
from recsys.data.config import EventsInput, TableInput
from recsys.data.feedback import FEEDBACK_DIR, feedback_source, started_before
from recsys.data.files import list_files
from recsys.data.formats.input_format import FileInfo
from recsys.data.splits import cutoff_for
from recsys.errors import InputError
from recsys.pipeline.run import Protocol, Run
from recsys.ranking.config import RerankConfig
from recsys.settings import Config, load_config
from recsys.storage.addresses import open_input
from recsys.storage.filesystem import Storage
from recsys.storage.runs import RunFolder, run_id


def input_files(source: TableInput) -> list[FileInfo]:
    """Files of an input, sorted by path."""
    fs, path = open_input(source.path)
    return list_files(fs, path, source.format)


def feedback_input(config: Config) -> EventsInput:
    """The events that the live service stored, as an input."""
    return feedback_source(Storage(config.storage).url(FEEDBACK_DIR), config.inputs.events)


def feedback_files(config: Config, date: dt.date) -> list[FileInfo]:
    """Files of the live service's events, sorted by path; none if `inputs.feedback` is off or no event came.

    Files that the service began after the night's date are left out: new events must not change the id of a night
    that is started again.
    """
    if not config.inputs.feedback:
        return []
    source = feedback_input(config)
    fs, path = open_input(source.path)
    # A service that was killed may leave an empty file.
    found = list_files(fs, path, source.format, required=False)
    return [file for file in found if file.size and started_before(file.path, cutoff_for(date, 0))]


def id_files(rules: RerankConfig) -> list[FileInfo]:
    """The block list and the allow list, if the config names files.

    Raises:
        InputError: a file is missing.
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
    """Open the run of a night; the same date, config, inputs and version give the same run.

    Args:
        config: The resolved settings.
        protocol: What is held out. `time` is the night's own run.

    Raises:
        InputError: an input file, a block list or an allow list is missing.
    """
    date = config.date or dt.datetime.now(dt.UTC).date()
    inputs = [*input_files(config.inputs.events), *input_files(config.inputs.items), *id_files(config.rerank)]
    if config.inputs.users is not None:
        inputs += input_files(config.inputs.users)
    files = [(file.path, file.size, file.version) for file in inputs]
    # Files of feedback only grow, so their size is their version. The storage may be moved, so its path is left out.
    folder = Storage(config.storage).path(FEEDBACK_DIR)
    files += [(f"feedback{file.path.removeprefix(folder)}", file.size, "") for file in feedback_files(config, date)]
    digest = config.digest() if protocol == "time" else f"{config.digest()} {protocol}"
    name = run_id(date, digest, files, __version__)
    return Run(config=config, date=date, folder=RunFolder(Storage(config.storage), name), protocol=protocol)


def stored_run(folder: RunFolder) -> Run:
    """A run of the storage, with the settings that are stored with it."""
    with folder.storage.local_file(folder.config_path) as path:
        own = load_config(path)
    return Run(config=own, date=folder.date, folder=folder)
