"""Guess which column of a user's files is which, by names and by values. People confirm the guesses."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from recsys.data.events.event_weights import weights_of_kinds
from recsys.data.guesses.column_values import ColumnValues
from recsys.data.guesses.column_words import names_any, names_id, words_of
from recsys.data.times.date_evidence import DATE_NUMBER_FORMATS
from recsys.data.times.timestamp_formats import DAY_FIRST, MONTH_FIRST
from recsys.data.values.templates import may_name

Columns = Mapping[str, ColumnValues]

#: Kinds of events that an input has at most.
_MOST_KINDS = 50
#: Columns of a template at most.
_MOST_TEXTS = 6
_QUANTITY = {"quantity", "qty", "units", "count"}
#: Different values that an item has, as a mean: its title may have changed.
_MOST_VALUES_OF_ITEM = 1.35
#: Share of the ids of one file that the other file must have, for them to be the same ids.
_SAME_IDS = 0.3


@dataclass(frozen=True, slots=True)
class Guess:
    """The column for one of our names."""

    column: str
    why: str
    sure: bool = True
    """Whether the config takes it; else only a comment names it."""


Guesses = dict[str, Guess]


def guess_events(events: Columns, items: Columns | None = None, users: Columns | None = None) -> Guesses:
    """Columns for `user_id`, `item_id`, `timestamp`, `event` and `weight`; what nothing points to is left out.

    Args:
        events: The columns of the events.
        items: Those of the items, which show by their values what an item id is; None: they are in the events' files.
        users: Those of the users, if there is such a file.
    """
    found: Guesses = {}
    if time := _time_of(events):
        found["timestamp"] = Guess(time, "its values are times")
    free = {name: column for name, column in events.items() if column.may_be_id and name != time}
    if item := _id_of(free, items, "item", repeated=True):
        found["item_id"] = item
        free.pop(item.column, None)
    if user := _id_of(free, users, "user", repeated=True):
        found["user_id"] = user
    taken = {guess.column for guess in found.values()}
    rest = {name: column for name, column in events.items() if name not in taken}
    if kind := _best(rest, _kind_score):
        found["event"] = Guess(kind, f"{len(rest[kind].distinct)} different values, which say what happened")
    if weight := _best(rest, _weight_score):
        found["weight"] = _weight_guess(rest[weight])
    return found


def guess_items(items: Columns, item_id: ColumnValues | None) -> Guesses:
    """Columns for `item_id`, `title`, `available` and, where items have several versions, `timestamp`.

    Args:
        items: The columns of the items.
        item_id: The item ids of the events, where they are known.
    """
    found: Guesses = {}
    ids = {name: column for name, column in items.items() if column.may_be_id}
    if guess := _id_of(ids, None if item_id is None else {item_id.name: item_id}, "item"):
        found["item_id"] = guess
    rest = {name: column for name, column in items.items() if name not in {guess.column for guess in found.values()}}
    if title := _best(rest, _title_score):
        found["title"] = Guess(title, "its values can be read")
    if flag := _best(rest, lambda column: 2 if names_any(column.name, "available") and column.is_flag else 0):
        found["available"] = Guess(flag, "its name, and its values say whether an item is available")
    has_versions = "item_id" in found and not items[found["item_id"].column].is_unique
    if has_versions and (time := _best(rest, _time_score)):
        found["timestamp"] = Guess(time, "its values are times, and items have several rows")
    return found


def guess_users(users: Columns, user_id: ColumnValues | None) -> Guesses:
    """The column for `user_id`; `user_id` are the ids of the events, where they are known."""
    ids = {name: column for name, column in users.items() if column.may_be_id}
    guess = _id_of(ids, None if user_id is None else {user_id.name: user_id}, "user")
    return {} if guess is None else {"user_id": guess}


def item_texts(items: Columns, guesses: Guesses) -> list[str]:
    """Columns that say what an item is: title, classes such as category and brand, then other texts and descriptions.

    Ids, states, what is the same for all items, and columns that a template cannot name are left out. Of too many, the
    title, a description and classes stay.
    """
    title = guesses["title"].column if "title" in guesses else None
    taken = {guess.column for guess in guesses.values()} - {title}
    prose = [name for name, column in items.items() if column.is_prose and name not in taken and may_name(name)]
    prose = [name for name in prose if name == title or not (_ends_as(name, "key") or _ends_as(name, "available"))]
    prose = [name for name in prose if name == title or not items[name].is_constant]
    description = next((name for name in prose if names_any(name, "description")), None)
    kept = sorted(prose, key=lambda name: (name not in (title, description), not names_any(name, "class")))
    return sorted(
        kept[:_MOST_TEXTS],
        key=lambda name: (name != title, not names_any(name, "class"), names_any(name, "description")),
    )


def describes_item(column: ColumnValues, item: ColumnValues, user: ColumnValues) -> bool:
    """Whether a column of the events' files is about the item: most items have one value, and users have more."""
    return column.num_for_each(item) < min(column.num_for_each(user), _MOST_VALUES_OF_ITEM)


def user_texts(users: Columns, guesses: Guesses) -> list[str]:
    """Columns that describe a user, without those that name a person, such as `email`: few values, or numbers."""
    taken = {guess.column for guess in guesses.values()}
    return [
        name
        for name, column in users.items()
        if name not in taken
        and not names_any(name, "private")
        and may_name(name)
        and not column.is_unique
        and not column.is_time
        and (column.is_prose or column.is_number)
    ][:_MOST_TEXTS]


def guess_timestamp_format(times: ColumnValues) -> str | None:
    """A format where the sample has dates with two readings and does not settle them; None: the night can settle them.

    Of day and month, the order in which the times of the sample are nearer to each other is taken.
    """
    evidence = times.dates
    if evidence.date_number and not (evidence.epoch_number or evidence.date_text):
        return DATE_NUMBER_FORMATS[len(evidence.date_number)]
    if evidence.either_order and bool(evidence.day_first) == bool(evidence.month_first):
        return min((MONTH_FIRST, DAY_FIRST), key=times.span_in)
    return None


def _id_of(columns: Columns, others: Columns | None, what: str, *, repeated: bool = False) -> Guess | None:
    """The id column, by its name, by how many of its values another file has, and by how many of its cells are filled.

    With `repeated` an id stands in several rows, so that a column of different values is less likely one.
    """
    by_name = {name: _name_score(column, what) for name, column in columns.items() if not _names_other(name, what)}
    shares = {name: _best_share(columns[name], others.values()) for name in by_name} if others else {}
    scores = {name: by_name[name] + (4 * shares[name] if shares.get(name, 0.0) >= _SAME_IDS else 0) for name in by_name}
    for name in scores:
        scores[name] *= columns[name].filled * (0.5 if repeated and columns[name].is_unique else 1)
    best = max(scores, key=lambda name: scores[name], default=None)
    if best is None or not scores[best]:
        return None
    share = shares.get(best, 0.0)
    found = f"{share:.0%} of its values are in the other file" if share >= _SAME_IDS else ""
    return Guess(best, ", and ".join(filter(None, ["its name" if by_name[best] else "", found])))


def _ends_as(name: str, what: str) -> bool:
    return any(names_any(word, what) for word in words_of(name)[-1:])


def _name_score(column: ColumnValues, what: str) -> int:
    score = names_id(column.name, what)
    return 0 if score < 3 and (column.is_time or names_any(column.name, "weight")) else score


def _names_other(name: str, what: str) -> bool:
    """Whether a name clearly says an id of the other kind. Users and items that are both counted from 1 share ids."""
    other = "user" if what == "item" else "item"
    return names_id(name, other) == 3 and not names_id(name, what)


def _best_share(column: ColumnValues, others: Iterable[ColumnValues]) -> float:
    """The largest share with a column of ids; few different values, such as 1 to 5, prove nothing."""
    if len(column.distinct) < 10:
        return 0.0
    return max((column.share_in(other) for other in others if other.may_be_id), default=0.0)


def _best(columns: Columns, score: Callable[[ColumnValues], float]) -> str | None:
    """The first column with the highest score above 0."""
    scores = {name: score(column) for name, column in columns.items()}
    best = max(scores, key=lambda name: scores[name], default=None)
    return best if best is not None and scores[best] > 0 else None


def _time_of(columns: Columns) -> str | None:
    """The column of times; of days and times of the same days, the times."""
    best = _best(columns, _time_score)
    if best is None or not columns[best].is_date:
        return best
    finer = (name for name, column in columns.items() if _time_score(column) >= _time_score(columns[best]))
    return next(
        (name for name in finer if not columns[name].is_date and columns[name].is_same_day(columns[best])), best
    )


def _time_score(column: ColumnValues) -> float:
    named_id = (
        max(names_id(column.name, "item"), names_id(column.name, "user")) == 3
    )  # 706016001 is a time of 1992, too
    return (1 + 2 * names_any(column.name, "time")) * column.filled if column.is_time and not named_id else 0


def _kind_score(column: ColumnValues) -> float:
    """The type of a product or customer is no kind of event. Of several columns of kinds, one says most."""
    if not 0 < len(column.distinct) <= _MOST_KINDS or column.is_time:
        return 0
    of_a_thing = names_any(column.name, "item") or names_any(column.name, "user")
    named = {word for word in words_of(column.name) if names_any(word, "kind")}
    if named - ({"type", "kind"} if of_a_thing else set()):
        return 2 + len(column.distinct) / _MOST_KINDS
    return int(any(weight < 0 for weight in weights_of_kinds(column.distinct, {})))


def _weight_score(column: ColumnValues) -> int:
    if not names_any(column.name, "weight") or not column.is_number:
        return 0
    return 1 if "amount" in words_of(column.name) else 2  # it is of money, mostly


def _weight_guess(column: ColumnValues) -> Guess:
    """What people give back has a negative quantity; a negative rating may stand for none."""
    if column.has_negatives and _QUANTITY & set(words_of(column.name)):
        return Guess(column.name, "its name, and numbers below 0, of what was given back")
    return Guess(column.name, "its name, and its values are numbers", sure=False)


def _title_score(column: ColumnValues) -> int:
    if not column.is_prose:
        return 0
    named = names_any(column.name, "title")
    return 1 + 4 * named + 2 * names_any(column.name, "description") - names_any(column.name, "class")
