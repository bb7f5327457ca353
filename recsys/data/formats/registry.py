"""The input formats by name. A new format is one file, and one line here or in a plugin."""

from recsys.data.formats.csv import CsvFormat
from recsys.data.formats.input_format import InputFormat
from recsys.data.formats.jsonl import JsonlFormat
from recsys.data.formats.parquet import ParquetFormat
from recsys.registry import Registry

FORMATS: Registry[InputFormat] = Registry("input format")
FORMATS.register(ParquetFormat())
FORMATS.register(CsvFormat())
FORMATS.register(JsonlFormat())
