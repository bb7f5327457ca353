"""The input formats by name. A new format is one file, and one line here or in a plugin."""

from recsys.data.config import InputsConfig
from recsys.data.formats.csv import CsvFormat
from recsys.data.formats.input_format import InputFormat
from recsys.data.formats.jsonl import JsonlFormat
from recsys.data.formats.parquet import ParquetFormat
from recsys.errors import ConfigError
from recsys.registry import Registry

FORMATS: Registry[InputFormat] = Registry("input format")
FORMATS.register(ParquetFormat())
FORMATS.register(CsvFormat())
FORMATS.register(JsonlFormat())


def check_formats(inputs: InputsConfig) -> None:
    """Check the formats of all inputs, after the plugins were loaded, since a plugin may bring one.

    Raises:
        ConfigError: a format is not registered; names the key and all that are.
    """
    for key, source in (("events", inputs.events), ("items", inputs.items), ("users", inputs.users)):
        if source is not None and source.format not in FORMATS:
            known = ", ".join(FORMATS.names)
            raise ConfigError(
                f"inputs.{key}.format: must be one of {known}, got {source.format!r}; `plugins` may register more"
            )
