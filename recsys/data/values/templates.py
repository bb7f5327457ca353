"""Templates of texts over columns, such as `{title}. By {author} ({year})`; what has no value drops out.

A template is cut into pieces at marks between words: `. , ; ! ? | / · • - – —` beside blanks, ends of lines, and around
what is in brackets. For each row:

- A piece whose columns are all empty drops out, with the mark before it and its brackets.
- In a piece of several columns, an empty one takes with it the words directly before it. Words after the last column
  belong to that column. A comma, a slash or the like stays away where nothing is before it.
- Where no column of the template says anything, the text is empty: the words of the template alone say nothing, and
  neither does punctuation.

A row that has all values gets the whole template.
"""

import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.values.texts import clean_text, cut_text, says_something
from recsys.errors import ConfigError

#: Stands for a column in a template. Control characters of the template itself become blanks anyway.
_COLUMN = "\0"
_MARK = re.compile(r"\s*[.,;!?|/·•]\s+|\s+[|/·•–—-]\s+|\s*\n\s*")
_BLANKS = re.compile(r"\s+")
#: Signs that connect a column with what is before it.
_CONNECTING = " \t\n:,;./|·•–—-"
_CLOSING = {"(": ")", "[": "]"}


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """Words and columns that belong together, or the pieces in brackets with what is around them."""

    mark: str
    """What separates it from the piece before."""
    words: tuple[str, ...]
    """Before each column, and after the last one; with `inner` before and after it, brackets included."""
    columns: tuple[str, ...] = ()
    inner: "tuple[_Piece, ...]" = ()


class _Filled(NamedTuple):
    """Texts [N] and for which rows something of them is shown [N]."""

    texts: Any
    shown: Any


def template_columns(text: str, key: str = "inputs.items.text") -> list[str]:
    """Columns that a template such as `{title}. {category}` names, in order, each once.

    Raises:
        ConfigError: a brace is not closed, a field is not a plain name, or there is no field; names the key.
    """
    return list(dict.fromkeys(column for _, column in _parse(text, key) if column is not None))


def may_name(column: str) -> bool:
    """Whether a template can name a column: braces, `:` and `!` have another meaning there, and brackets must close."""
    try:
        return template_columns(f"{{{column}}}") == [column]
    except ConfigError:
        return False


def filled_template(text: str, key: str, values: dict[str, Any], num_rows: int, max_chars: int) -> Any:
    """Clean texts [N] of a template; empty where its columns hold no more than punctuation.

    Args:
        text: The template.
        key: Config key of the template, for errors.
        values: Clean texts [N] by column.
        num_rows: N.
        max_chars: Longer texts are cut to this many characters.
    """
    parsed = _parse(text, key)
    columns = [column for _, column in parsed if column is not None]
    written = "".join(
        literal.replace(_COLUMN, " ") + (_COLUMN if column is not None else "") for literal, column in parsed
    )
    filled = {column: pc.fill_null(values[column], "") for column in set(columns)}
    anything: Any = pa.repeat(False, num_rows)
    for value in filled.values():
        anything = pc.or_(anything, says_something(value))
    whole = _fill(_cut(written, iter(columns)), filled, num_rows).texts
    return cut_text(clean_text(pc.if_else(anything, whole, "")), max_chars)


def _parse(text: str, key: str) -> list[tuple[str, str | None]]:
    """Literal parts of a template, each with the column that follows it."""
    try:
        parsed = list(string.Formatter().parse(text))
    except ValueError as error:
        raise ConfigError(f"{key} {text!r}: {error}; write {{{{ and }}}} for braces") from error
    for _, column, form, conversion in parsed:
        if column is None:
            continue
        if not column or form or conversion or set(column) & set("{}"):
            raise ConfigError(f"{key} {text!r}: {{{column}}} must be a column name without `{{`, `}}`, `:` and `!`")
    if all(column is None for _, column, _, _ in parsed):
        raise ConfigError(f"{key} {text!r}: names no column; write one like {{title}}")
    return [(literal, column) for literal, column, _, _ in parsed]


def _cut(text: str, columns: Iterator[str]) -> tuple[_Piece, ...]:
    """The pieces of a template whose columns are placeholders; the names are taken from `columns` in their order."""
    pieces: list[_Piece] = []
    mark, begin, place = "", 0, 0

    def close(end: int) -> None:
        words = tuple(text[begin:end].split(_COLUMN))
        pieces.append(_Piece(mark=mark, words=words, columns=tuple(next(columns) for _ in words[1:])))

    while place < len(text):
        end = _closing_bracket(text, place)
        if end is not None and _COLUMN in text[place:end]:
            before = text[begin:place].rstrip()
            if _COLUMN in before:
                close(begin + len(before))
                mark, begin = text[begin + len(before) : place], place
            words = (text[begin : place + 1], text[end])
            pieces.append(_Piece(mark=mark, words=words, inner=_cut(text[place + 1 : end], columns)))
            found = _MARK.match(text, end + 1) or _BLANKS.match(text, end + 1)
            mark = found[0] if found else ""
            begin = place = end + 1 + len(mark)
        elif found := _MARK.match(text, place):
            close(place)
            mark, begin, place = found[0], found.end(), found.end()
        else:
            place += 1
    close(len(text))
    return tuple(pieces)


def _closing_bracket(text: str, place: int) -> int | None:
    """Where the bracket closes that opens at a place; None where none opens there, or it does not close."""
    opening = text[place]
    if opening not in _CLOSING:
        return None
    depth = 0
    for end in range(place, len(text)):
        depth += (text[end] == opening) - (text[end] == _CLOSING[opening])
        if not depth:
            return end
    return None


def _fill(pieces: Sequence[_Piece], values: Mapping[str, Any], num_rows: int) -> _Filled:
    """Put the pieces together for each row; a row without any column's value shows nothing."""
    texts: Any = pa.repeat("", num_rows)
    shown: Any = pa.repeat(False, num_rows)
    begun: Any = pa.repeat(False, num_rows)
    for number, piece in enumerate(pieces):
        own = _fill_piece(piece, values, begun if number else pa.repeat(True, num_rows))
        kept = own.shown if piece.columns or piece.inner else pa.repeat(True, num_rows)
        marks = pc.if_else(pc.and_(begun, kept), piece.mark, "")
        texts = _joined(texts, marks, pc.if_else(kept, own.texts, ""))
        shown, begun = pc.or_(shown, own.shown), pc.or_(begun, kept)
    return _Filled(texts, shown)


def _fill_piece(piece: _Piece, values: Mapping[str, Any], begun: Any) -> _Filled:
    """One piece for each row; `begun` [N]: whether something is before it, or it is the first."""
    num_rows = len(begun)
    if piece.inner:
        inner = _fill(piece.inner, values, num_rows)
        return _Filled(_joined(piece.words[0], inner.texts, piece.words[1]), inner.shown)
    texts: Any = pa.repeat("" if piece.columns else piece.words[0], num_rows)
    shown: Any = pa.repeat(False, num_rows)
    present: Any = shown
    for number, (words, column) in enumerate(zip(piece.words, piece.columns, strict=False)):
        present = pc.not_equal(values[column], "")
        lead = pc.if_else(shown if number else begun, words, words.lstrip(_CONNECTING))
        texts = _joined(texts, pc.if_else(present, _joined(lead, values[column]), ""))
        shown = pc.or_(shown, present)
    return _Filled(_joined(texts, pc.if_else(present, piece.words[-1], "")) if piece.columns else texts, shown)


def _joined(*parts: Any) -> Any:
    return pc.binary_join_element_wise(*[pa.scalar(part) if isinstance(part, str) else part for part in parts], "")
