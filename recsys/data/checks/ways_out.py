"""What people can do about the quarantined rows of one reason: a sentence that fits the values."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from recsys.data.checks.bad_values import BadValue
from recsys.data.checks.quarantine import Reason
from recsys.data.checks.row_filter import sql_name
from recsys.data.config import TableInput
from recsys.data.times.date_guesses import fitting_formats

_DECIMAL_COMMA = re.compile(r"^[+-]?\d{1,3}(?:[. ]?\d{3})*,\d+$|^[+-]?\d+,\d+$")
_NUMBER_WITH_UNIT = re.compile(r"^\D{0,3}\s*[+-]?\d[\d.,]*\s*\D{0,3}$")
_ROUNDED = re.compile(r"^[+-]?\d+(?:[.,]\d+)?[eE]\+?\d+$")
_NUMBER = re.compile(r"^[+-]?\d+(?:[.,]\d+)?$")
#: The days 32874 to 59999 are of the years 1990 to 2064.
_SPREADSHEET_DAY = re.compile(r"^(?:3[3-9]|[45]\d)\d{3}(?:[.,]\d+)?$")
_YEAR_MONTH = re.compile(r"^(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:\.0+)?$")
#: .NET counts 100 ns from the year 1.
_TICKS = re.compile(r"^6[34]\d{16}(?:\.0)?$")
_CLOCK = re.compile(r"^\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?[AaPp][Mm])?$")
_NO_TIME = re.compile(r"^(?:0000-00-00.*|n/?a|null|none|nan|nat|-+|\?+|\\N)$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class BadInput:
    """The bad values of one reason, and the input that they are from."""

    key: str
    """Config key of the input, such as `inputs.events`."""
    source: TableInput
    values: Sequence[BadValue]
    """The commonest first, at least one."""
    known_ids: Sequence[str] = ()
    """Ids of the items, if they are known by now."""

    @property
    def column(self) -> str:
        """Column of the commonest value."""
        return self.values[0].column

    @property
    def texts(self) -> list[str]:
        """The values that are not missing."""
        return [bad.value for bad in self.values if bad.value is not None]


def way_out(bad: BadInput) -> str:
    """A sentence, without its full stop, that says what to change in the config or in the files."""
    return _WAYS_OUT.get(bad.values[0].reason, _mend)(bad)


def _mend(bad: BadInput) -> str:
    return f"mend these rows, or leave them out by {bad.key}.where"


def _malformed(bad: BadInput) -> str:
    if bad.source.format == "jsonl":
        return "each line must be one JSON object, with its names and texts in double quotes"
    if bad.source.format != "csv":
        return "write these files again"
    if any('\\"' in text for text in bad.texts):
        return (
            r'these lines have \" for a quote within quotes: write it as two quotes, in Spark by option("escape", "\"")'
        )
    return (
        f"these lines have more or fewer fields than the header: put texts that hold {bad.source.delimiter!r} into "
        f"double quotes, or set {bad.key}.delimiter"
    )


def _quote(bad: BadInput) -> str:
    return f"a quote is opened and not closed: mend it, or set {bad.key}.quoting to none if the files never quote"


def _encoding(bad: BadInput) -> str:
    if bad.source.format == "parquet":
        return (
            f"{bad.column!r} holds bytes that are not text: write it as text, a UUID for example in hexadecimal digits"
        )
    if bad.source.format != "csv":
        return "the files must be UTF-8: convert them"
    return (
        f"the files are not in {bad.source.encoding}: set {bad.key}.encoding, such as cp1252 (Windows), latin-1, "
        f"utf-16 or shift_jis"
    )


def _missing(bad: BadInput) -> str:
    column = sql_name(bad.column)
    if not bad.texts:
        return f"if these rows are meant to be so, leave them out: {bad.key}.where: {column} is not null"
    words = ["'" + text.replace("'", "''") + "'" for text in bad.texts]
    others = f"<> {words[0]}" if len(words) == 1 else f"not in ({', '.join(words)})"
    return (
        f"{bad.texts[0]!r} is one of inputs.missing_values: leave the rows out by {bad.key}.where: {column} {others}, "
        f"or take the word out of that list if it is an id"
    )


def _id_too_long(bad: BadInput) -> str:
    if all(text.startswith(("[", "{")) for text in bad.texts):
        return f"{bad.column!r} holds a list or an object: write one row for each entry, with the id in its own column"
    return f"name the column of the id in {bad.key}.columns, or raise inputs.max_id_chars if such long ids are right"


def _unprintable_id(bad: BadInput) -> str:
    return f"these ids hold control characters or line breaks: write {bad.column!r} without them"


def _lost_digits(bad: BadInput) -> str:
    return f"a program has rounded these ids: export {bad.column!r} as text"


def _repeated_header(bad: BadInput) -> str:
    return f"the header stands again among the rows: join the files of {bad.key}.path without it"


def _timestamp(bad: BadInput) -> str:
    key = f"{bad.key}.timestamp_format"
    texts = [text for text in bad.texts if not _NO_TIME.match(text)]
    if not texts:
        has_time = f"<> '{_first(bad)}'" if bad.texts else "is not null"
        return f"these rows have no time: leave them out by {bad.key}.where: {sql_name(bad.column)} {has_time}"
    if all(_CLOCK.match(text) for text in texts):
        return f"these are times without a date: name a column with the date in {bad.key}.columns.timestamp"
    if all(_ROUNDED.match(text) for text in texts):
        return f"a program has rounded these numbers: export {bad.column!r} with all digits"
    if bad.source.timestamp_format is None and all(_TICKS.match(text) for text in texts):
        return (
            f"these numbers look like ticks of .NET: write times, or seconds since 1970; if they are nanoseconds since "
            f"1970, set {key} to epoch_ns"
        )
    formats = fitting_formats(texts)
    now = f" (it is {bad.source.timestamp_format!r} now)" if bad.source.timestamp_format is not None else ""
    if formats:
        return f"set {key} to {' or '.join(map(repr, formats[:2]))}{now}"
    if now:
        return f"set {key} to the spelling of these values, or to null{now}"
    return (
        f"if all rows are written like these, set {key} to their spelling, such as '%d.%m.%Y %H:%M'; if only these "
        f"are, mend them, or leave them out by {bad.key}.where"
    )


def _wrong_time(bad: BadInput) -> str:
    return (
        f"a clock was wrong, or the time is read wrongly: set {bad.key}.timestamp_format if day and month are swapped "
        f"or the unit is another, or leave the rows out by {bad.key}.where"
    )


def _early(bad: BadInput) -> str:
    key = f"{bad.key}.timestamp_format"
    texts = bad.texts
    if texts and all(_SPREADSHEET_DAY.match(text) for text in texts):
        return f"these numbers look like the days of a spreadsheet: set {key} to excel"
    if texts and all(_YEAR_MONTH.match(text) for text in texts):
        return f"these numbers look like years and months: set {key} to '%Y%m'"
    if texts and all(_NUMBER.match(text) for text in texts):
        return (
            f"these numbers are not seconds since 1970: set {key} to what they are. If they count seconds from another "
            f"day, set inputs.earliest_date to 1970-01-01"
        )
    return f"if these times are right, set inputs.earliest_date to an earlier day; if they are read wrongly, set {key}"


def _weight(bad: BadInput) -> str:
    texts = bad.texts
    if texts and all(_DECIMAL_COMMA.match(text) for text in texts):
        return f"these numbers have a decimal comma: set {bad.key}.decimal to ','"
    if texts and all(_NUMBER_WITH_UNIT.match(text) for text in texts):
        return f"write numbers without a unit into {bad.column!r}"
    return f"name a column of numbers in {bad.key}.columns.weight, or null"


def _available(bad: BadInput) -> str:
    is_stock = all(_NUMBER.match(text) for text in bad.texts)
    condition = "> 0" if is_stock else f"= '{_first(bad)}'"
    return (
        f"true/false, yes/no, on/off, 1/0 and in stock/out of stock are read; set {bad.key}.columns.available to null, "
        f"add {bad.column!r} to {bad.key}.attributes, and name the right values in rerank.where: "
        f"{sql_name(bad.column)} {condition}"
    )


def _unknown_item(bad: BadInput) -> str:
    known = ", ".join(map(repr, bad.known_ids[:3]))
    shown = f"the items have ids such as {known}" if known else "no item has these ids"
    for words, change in _ID_CHANGES.items():
        ours = {change(text) for text in bad.texts} - {""}
        if ours and 2 * len(ours & {change(known_id) for known_id in bad.known_ids}) >= len(ours):
            return (
                f"{shown}: {words} they are equal. If they are the same items, write the ids of both inputs the same "
                f"way; if these items are gone, raise inputs.max_quarantine_rate"
            )
    return (
        f"{shown}: name columns with the same ids in {bad.key}.columns.item_id and inputs.items.columns.item_id, or "
        f"raise inputs.max_quarantine_rate if these items are gone"
    )


def _text_too_long(bad: BadInput) -> str:
    return f"cut the values of {bad.column!r} before, or leave the column out"


#: Changes after which ids of two inputs may be equal, in words.
_ID_CHANGES: dict[str, Callable[[str], str]] = {
    "in lower case": str.lower,
    "without '.0' at the end": lambda text: re.sub(r"\.0+$", "", text.lower()),
    "without leading zeros": lambda text: re.sub(r"\.0+$", "", text.lower()).lstrip("0"),
    "without blanks and punctuation": lambda text: re.sub(r"[\W_]+", "", text.lower()),
    "without the part before the number": lambda text: re.sub(r"^\D+0*", "", re.sub(r"\.0+$", "", text)).lstrip("0"),
    "without the part after the last punctuation mark": lambda text: re.sub(r"[\W_][^\W_]*$", "", text),
    "without the part before the last punctuation mark": lambda text: re.sub(r"^.*[\W_]", "", text),
}

_WAYS_OUT: dict[str, Callable[[BadInput], str]] = {
    Reason.MALFORMED_ROW: _malformed,
    Reason.UNCLOSED_QUOTE: _quote,
    Reason.REPEATED_HEADER: _repeated_header,
    Reason.INVALID_ENCODING: _encoding,
    Reason.MISSING_USER: _missing,
    Reason.MISSING_ITEM: _missing,
    Reason.ID_TOO_LONG: _id_too_long,
    Reason.UNPRINTABLE_ID: _unprintable_id,
    Reason.LOST_DIGITS: _lost_digits,
    Reason.UNREADABLE_TIMESTAMP: _timestamp,
    Reason.EARLY_TIMESTAMP: _early,
    Reason.FUTURE_TIMESTAMP: _wrong_time,
    Reason.UNREADABLE_WEIGHT: _weight,
    Reason.UNKNOWN_ITEM: _unknown_item,
    Reason.UNREADABLE_AVAILABLE: _available,
    Reason.TEXT_TOO_LONG: _text_too_long,
    Reason.NON_FINITE_WEIGHT: _weight,
}


def _first(bad: BadInput) -> str:
    return (bad.texts or [""])[0].replace("'", "''")
