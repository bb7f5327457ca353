"""Texts for a language model: templates over columns, and cleaning."""

import hashlib
import string
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from recsys.errors import ConfigError

#: A longer value goes to quarantine: it cannot be meant as text, and cleaning it would take long.
LONGEST_TEXT = 100_000

_BLANKS = r"[\s\p{Cc}\p{Z}]+"
_VISIBLE = r"[^\s\p{Cc}\p{Z}]"


def template_columns(text: str, key: str = "inputs.items.text") -> list[str]:
    """Columns that a template such as `{title}. {category}` names, in order, each once.

    Raises:
        ConfigError: a brace is not closed, a field is not a plain name, or there is no field; names the key.
    """
    return list(dict.fromkeys(column for _, column in _template_parts(text, key) if column is not None))


def filled_template(text: str, key: str, values: dict[str, Any], num_rows: int, max_chars: int) -> Any:
    """Clean texts [N] of a template; empty where all of its columns are empty.

    Args:
        text: The template.
        key: Config key of the template, for errors.
        values: Clean texts [N] by column.
        num_rows: N.
        max_chars: Longer texts are cut to this many characters.
    """
    pieces: list[Any] = []
    anything: Any = pa.repeat(False, num_rows)
    for literal, column in _template_parts(text, key):
        pieces.append(literal)
        if column is not None:
            pieces.append(pc.fill_null(values[column], ""))
            anything = pc.or_(anything, pc.not_equal(pieces[-1], ""))
    filled = pc.binary_join_element_wise(
        *[pa.scalar(piece) if isinstance(piece, str) else piece for piece in pieces], ""
    )
    # the words of the template alone say nothing about an item
    return cut_text(clean_text(pc.if_else(anything, filled, "")), max_chars)


def clean_text(text: Any) -> Any:
    """Text in NFC, with one blank for every run of blanks and control characters, and none at the ends."""
    spaced = pc.replace_substring_regex(pc.utf8_normalize(text, form="NFC"), pattern=_BLANKS, replacement=" ")
    return pc.utf8_trim_whitespace(spaced)


def cut_text(text: Any, max_chars: int) -> Any:
    """The first `max_chars` characters of each clean text."""
    return pc.utf8_trim_whitespace(pc.utf8_slice_codeunits(text, 0, max_chars))


def non_empty(text: Any) -> Any:
    """The text, or null if no character is visible: a blank must not replace an older value."""
    return pc.if_else(pc.match_substring_regex(text, pattern=_VISIBLE), text, pa.scalar(None, pa.string()))


def hash_texts(texts: Any) -> pa.Array:
    """BLAKE2b of 128 bits [N] as hex; each different text is hashed once."""
    flat = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    encoded = flat.dictionary_encode()
    digests = [hashlib.blake2b(text.encode(), digest_size=16).hexdigest() for text in encoded.dictionary.to_pylist()]
    return pa.array(digests, pa.string()).take(encoded.indices)


def _template_parts(text: str, key: str) -> list[tuple[str, str | None]]:
    """Literal parts of a template, each with the column that follows it."""
    try:
        parsed = list(string.Formatter().parse(text))
    except ValueError as error:
        raise ConfigError(f"{key} {text!r}: {error}; write {{{{ and }}}} for braces") from error
    for _, column, form, conversion in parsed:
        if column is None:
            continue
        if not column or form or conversion or set(column) & set(".[]{}"):
            raise ConfigError(f"{key} {text!r}: {{{column}}} must be a plain column name, like {{title}}")
    if all(column is None for _, column, _, _ in parsed):
        raise ConfigError(f"{key} {text!r}: names no column; write one like {{title}}")
    return [(literal, column) for literal, column, _, _ in parsed]
