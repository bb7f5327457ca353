"""Why a path gives no file of a format, and the way out."""

import difflib
import posixpath
import re
from collections.abc import Sequence

import fsspec

from recsys.data.files.compression import without_compression
from recsys.data.formats.input_format import InputFormat
from recsys.data.formats.registry import FORMATS

_SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")
#: Examples in a message about many files.
_SHOWN = 5


def why_no_file(fs: fsspec.AbstractFileSystem, path: str, form: InputFormat, others: Sequence[str]) -> str:
    """A clause for the refusal of an input without a file.

    Args:
        fs: Where the path is.
        path: What the config names.
        form: The input's format.
        others: Files that are there and were left out.
    """
    if not others and not fs.exists(path):
        if braces := re.search(r"\{[^{}]*,[^{}]*\}", path):
            return (
                f"alternatives such as {braces[0]} are not read: use *, ? or [ab], or put the files into a folder of "
                f"their own and name it"
            )
        return "nothing matches it" if set("*?[") & set(path) else f"it does not exist{_similar(fs, path)}"
    own = [name for name in others if without_compression(name).endswith(form.endings)]
    if own:
        return f"its files are empty or hidden: {', '.join(own[:_SHOWN])}"
    for other in FORMATS:
        if other is not form and any(without_compression(name).endswith(other.endings) for name in others):
            return f"it has files of another format: set `format: {other.name}`"
    if any(name.lower().endswith(_SPREADSHEETS) for name in others):
        return f"it has a spreadsheet, {others[0]}: export it as CSV"
    found = f"; it has {', '.join(others[:_SHOWN])}" if others else ""
    return f"give a file, a folder with {', '.join(form.endings)} files, or a glob{found}"


def _similar(fs: fsspec.AbstractFileSystem, path: str) -> str:
    """What beside the path has a similar name, as a question."""
    folder, _, name = path.rstrip("/").rpartition("/")
    try:
        names = [posixpath.basename(str(found).rstrip("/")) for found in fs.ls(folder or "/", detail=False)]
    except OSError:
        return f"; neither does its folder {folder}"
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {folder}/{close[0]}?" if close else ""
