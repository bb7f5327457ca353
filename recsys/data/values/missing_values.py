"""Words that programs write where a value is missing."""

import functools
import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

#: In any case. Databases, spreadsheets, pandas, R and JavaScript write these.
MISSING_VALUES = (
    *("NULL", "(null)", "<null>", "[NULL]", r"\N", "None", "nil", "undefined"),
    *("NaN", "NaT", "NA", "N/A", "<NA>", "#N/A", "#NULL!", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!"),
)


def without_missing(texts: Any, words: Sequence[str]) -> Any:
    """The texts [N], null where a text is one of these words, in any case and with blanks around it."""
    if not words:
        return texts
    missing = pc.match_substring_regex(texts, pattern=rf"^\s*{missing_pattern(tuple(words))}\s*$")
    return pc.if_else(missing, pa.scalar(None, texts.type), texts)


@functools.lru_cache(maxsize=16)
def missing_pattern(words: tuple[str, ...]) -> str:
    """A regular expression that matches one of the words in any case, for pyarrow."""
    return f"(?i:{'|'.join(map(re.escape, words))})"
