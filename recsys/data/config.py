"""Settings of the inputs, and of the histories that are built from them."""

import datetime as dt
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator

from recsys.config.section import Date, Fraction, Positive, Section
from recsys.data.events.event_weights import IMPRESSION, plain_kind
from recsys.data.files.decoding import text_codec
from recsys.data.times.moments import check_timezone
from recsys.data.times.timestamp_formats import check_timestamp_format
from recsys.data.values.missing_values import MISSING_VALUES
from recsys.data.values.templates import template_columns
from recsys.errors import ConfigError


def _check_condition(text: str) -> None:
    from recsys.data.checks.row_filter import row_filter  # loading DuckDB takes 0.2 s, and few configs need it

    row_filter(text, "")


def _valid(check: Callable[[str], object]) -> AfterValidator:
    """A validator of a text, from a check that raises ConfigError."""

    def validate(text: str) -> str:
        try:
            check(text)
        except ConfigError as error:
            raise ValueError(str(error).strip()) from error
        return text

    return AfterValidator(validate)


def _check_format(name: str) -> str:
    from recsys.data.formats.registry import FORMATS  # the formats themselves import this module

    if name not in FORMATS:
        known = ", ".join(FORMATS.names)
        raise ValueError(f"must be one of {known}, got {name!r}; a module in `plugins` may register more")
    return name


def _check_delimiter(text: str) -> str:
    if len(text) != 1 or not text.isascii() or text in '"\r\n\0':
        raise ValueError(
            f'must be one ASCII character, and no quote or line end, got {text!r}; a tab is "\\t", in double quotes'
        )
    return text


#: Largest weight of a kind of event.
LARGEST_KIND_WEIGHT = 1e6
#: How a CSV file writes a text that holds the delimiter: in quotes, or not at all.
Quoting = Literal["standard", "none"]
ColumnName = Annotated[str, Field(min_length=1)]
#: A SQL condition over the columns of one row; see `recsys.data.checks.row_filter`.
Condition = Annotated[str, _valid(_check_condition)]
#: A template over columns; see `recsys.data.values.templates`.
Template = Annotated[str, _valid(partial(template_columns, key=""))]


class EventColumns(Section):
    """Names of the columns of the events."""

    user_id: ColumnName = "user_id"
    """Column with the user's id."""
    item_id: ColumnName = "item_id"
    """Column with the item's id."""
    timestamp: ColumnName = "timestamp"
    """Column with the time: a date, a time, a text in a common spelling, or a number since 1970."""
    event: ColumnName | None = None
    """Column with the kind of event (`view`, `purchase` …); null: every row is an `interaction`."""
    weight: ColumnName | None = None
    """Column with the strength of the event; null: 1 for every row. 0 or less: no positive, see `event_weights`."""
    text: ColumnName | None = None
    """Column with a text of the user: a review, or a search, which needs no item. Null: no texts are read."""


class ItemColumns(Section):
    """Names of the columns of the items."""

    item_id: ColumnName = "item_id"
    """Column with the item's id."""
    timestamp: ColumnName | None = None
    """Column that says which version of an item is the latest; null: the last row of the last file wins."""
    available: ColumnName | None = None
    """Column that is true (yes, y, t, on, 1) if the item may be recommended; null: every item may be recommended."""
    title: ColumnName | None = None
    """Column with the name that people see; null: the first column of `inputs.items.text`."""


class UserColumns(Section):
    """Names of the columns of the users."""

    user_id: ColumnName = "user_id"
    """Column with the user's id."""
    timestamp: ColumnName | None = None
    """Column that says which version of a user is the latest; null: the last row of the last file wins."""


class TableInput(Section):
    """Which files an input reads, and how."""

    path: Annotated[str, Field(min_length=1)]
    """A file, a folder or a glob; local or `s3://`."""
    format: Annotated[str, AfterValidator(_check_format)] = "parquet"
    """`parquet`, `csv` or `jsonl` (the last two also compressed), or a format that one of `plugins` registers."""
    delimiter: Annotated[str, AfterValidator(_check_delimiter)] = ","
    """CSV only: one character between fields."""
    quoting: Quoting | None = None
    """CSV only: `standard` if cells may be in double quotes, `none` if a quote is a character like any other; null:
    `none` for files with the typed header of RecBole, else `standard`."""
    encoding: Annotated[str, _valid(text_codec)] = "utf-8"
    """CSV only: the files' text encoding."""
    where: Condition | None = None
    """SQL condition for the rows to use, e.g. `Quantity > 0 and Country in ('France', 'Spain')`; null: all rows.
    Rows that it leaves out are counted, not quarantined."""
    timezone: Annotated[str, _valid(check_timezone)] = "UTC"
    """Time zone of timestamps without one, e.g. `Europe/London`."""
    timestamp_format: Annotated[str, AfterValidator(check_timestamp_format)] | None = None
    """strptime format of timestamps that are texts or numbers, e.g. `%d/%m/%Y %H:%M`; or `month_first` or `day_first`
    for dates such as 12/1/2010; or `epoch_s`, `epoch_ms`, `epoch_us`, `epoch_ns` for numbers since 1970; or `excel` for
    the days of a spreadsheet. Null: what the values show. A column that can be read in two ways is refused."""
    columns: Section = Section()
    """Our column names, each with the name in the files."""


class EventsInput(TableInput):
    """The interactions."""

    columns: EventColumns = EventColumns()
    """Our column names, each with the name in the files."""
    decimal: Literal[".", ","] = "."
    """Decimal mark of weights that are texts; with `,` a point may stand between thousands: `1.234,5`."""
    max_text_chars: Positive = 1000
    """Longer texts of events are cut to this many characters."""


class ItemsInput(TableInput):
    """The items."""

    columns: ItemColumns = ItemColumns()
    """Our column names, each with the name in the files."""
    text: Template
    """Template over the items' columns for the text that a language model reads: `{title}. {category}`."""
    attributes: list[ColumnName] | None = None
    """Columns that are kept as attributes; null: the columns of `text`."""
    max_text_chars: Positive = 1000
    """Longer item texts are cut to this many characters."""


class UsersInput(TableInput):
    """Profiles of users. They count as known at all times, also before the events that a model is measured on."""

    columns: UserColumns = UserColumns()
    """Our column names, each with the name in the files."""
    text: Template
    """Template of the text at the beginning of a user's history: `{age} year old {occupation}`."""
    max_text_chars: Positive = 1000
    """Longer user texts are cut to this many characters."""


#: Stands for the events of a shop without any. It is never opened.
_NO_EVENTS = EventsInput(path="no events")


class InputsConfig(Section):
    """What a night reads, and how much of it may be bad."""

    events: EventsInput | None = None
    """Interactions of users with items; null: there are none but those of the live service."""
    items: ItemsInput
    """The items that may be recommended."""
    users: UsersInput | None = None
    """Profiles of users, as text; null: only the events of users are known."""
    event_weights: dict[str, Annotated[float, Field(ge=-LARGEST_KIND_WEIGHT, le=LARGEST_KIND_WEIGHT)]] = Field(
        default_factory=dict
    )
    """Weight of a kind of event, e.g. `{purchase: 3, view: 0.5}`, times the event's own weight. 0: such events do not
    count; negative: the user does not want the item. Other kinds have weight 1; `return`, `dislike` and the like −1."""
    feedback: bool = True
    """Read the feedback events of the live service, in `storage`/feedback, as well."""
    feedback_days: Positive | None = None
    """Newest days of feedback that are read, up to the night's date, by the day (UTC) on which the service stored them.
    After a night is published, older days are deleted. null: all days are read and kept."""
    max_quarantine_rate: Fraction = 0.05
    """Share of the rows read (after `where`) that may be quarantined before the night stops with exit code 3. Feedback
    does not count."""
    earliest_date: Date = dt.date(1990, 1, 1)
    """An event before this date is quarantined: its time was read wrongly, or its clock was wrong."""
    missing_values: list[str] = Field(
        default_factory=lambda: list(MISSING_VALUES), json_schema_extra={"default": list(MISSING_VALUES)}
    )
    """Words that stand for a missing value in ids, kinds, weights and texts, in any case; `[]`: only empty cells are
    missing. `where` reads the cells as they are."""
    max_id_chars: Positive = 256
    """A longer user or item id is quarantined."""

    @field_validator("event_weights", mode="before")
    @classmethod
    def _numbers_as_kinds(cls, weights: Any) -> Any:
        """Many logs have numbers as kinds, which YAML reads as numbers."""
        if not isinstance(weights, dict) or not all(isinstance(kind, int | str) for kind in weights):
            return weights
        if len({str(kind) for kind in weights}) < len(weights):
            raise ValueError(f"names a kind of event twice: {', '.join(map(str, weights))}")
        return {str(kind): weight for kind, weight in weights.items()}

    @field_validator("event_weights")
    @classmethod
    def _one_weight_a_kind(cls, weights: dict[str, float]) -> dict[str, float]:
        spellings: dict[str, str] = {}
        for kind, weight in weights.items():
            if not plain_kind(kind):
                raise ValueError("names a kind of event without letters; null and empty kinds are `interaction`")
            if plain_kind(kind) == IMPRESSION and weight:
                raise ValueError(
                    f"{kind!r} must have weight 0, got {weight:g}: impressions say what users were shown, not "
                    f"what they want; see rerank.exclude_served"
                )
            other = spellings.setdefault(plain_kind(kind), kind)
            if other != kind:
                raise ValueError(f"{other!r} and {kind!r} are the same kind of event; name it once")
        return weights

    @property
    def event_settings(self) -> EventsInput:
        """`events`; where there is no such input, the defaults, by which feedback is read."""
        return self.events or _NO_EVENTS

    @property
    def has_user_texts(self) -> bool:
        """Whether histories contain texts: profiles of users, or texts of events."""
        return self.users is not None or self.event_settings.columns.text is not None


class HistoriesConfig(Section):
    """Histories: one row for each user, in deterministic hash shards."""

    max_length: Positive = 50
    """Newest events of a user that the ranker reads."""
    max_events: Positive = 500
    """Newest events of a user that are kept, at least `max_length`: some signals read more events than the ranker."""

    @property
    def kept_events(self) -> int:
        """Newest events of a user that are kept."""
        return max(self.max_length, self.max_events)

    shards: Annotated[int, Field(ge=1, le=99_999)] = 16
    """Files that the users are divided into by a hash: the unit of work, of retry and of resume."""
