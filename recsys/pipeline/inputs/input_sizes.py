"""How large the inputs are now: files, bytes, and about how many rows."""

from collections.abc import Sequence
from typing import NamedTuple

from recsys.data.config import TableInput
from recsys.data.files.estimates import estimate_rows
from recsys.data.formats.input_format import FileInfo
from recsys.pipeline.inputs.input_list import InputName, list_input, sources_of
from recsys.settings import Config
from recsys.storage.addresses import open_input
from recsys.storage.failures import explained


class InputSize(NamedTuple):
    """The size of one input."""

    source: TableInput
    files: int
    bytes: int
    rows: int
    """About."""


def input_sizes(config: Config) -> dict[InputName, InputSize]:
    """The size of each input that the config names, without feedback.

    Raises:
        InputError: an input has no file, or one that cannot be read.
    """
    sizes = {}
    for name, source in sources_of(config).items():
        files = list_input(source)
        num_bytes = sum(file.size for file in files)
        sizes[name] = InputSize(source, len(files), num_bytes, estimate_input(source, files))
    return sizes


def estimate_input(source: TableInput, files: Sequence[FileInfo]) -> int:
    """About how many rows the files of an input have; see `estimate_rows`."""
    fs, _ = open_input(source.path)
    with explained(source.path):
        return estimate_rows(fs, files, source.format)
