"""Write a first config for a user's files, as YAML with a comment at each guess."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from recsys.data.checks.row_filter import sql_name
from recsys.data.guesses.column_guesses import (
    Columns,
    Guess,
    Guesses,
    describes_item,
    guess_events,
    guess_items,
    guess_timestamp_format,
    guess_users,
    item_texts,
    user_texts,
)
from recsys.data.guesses.column_values import values_of
from recsys.data.guesses.input_sample import InputSample

#: Columns that an input must have.
NEEDED = {"events": ("user_id", "item_id", "timestamp"), "items": ("item_id",), "users": ("user_id",)}
_HEADER = """\
# A first config, written from a look at the first rows of your files.
# The comment at a column says why it was chosen, and shows values of it. Look at each of them.
# Keys that are not here have their default. docs/reference/config.md explains every key.
"""
_UNSURE = "take the comment sign away if more means that the user likes the item more"


@dataclass(frozen=True, kw_only=True)
class GuessedInput:
    """An input of the config, with what was guessed."""

    sample: InputSample
    columns: Columns
    guesses: Guesses

    @property
    def lists(self) -> list[str]:
        """The columns that hold a list in each row: several events, or several items of an order."""
        schema = self.sample.rows.schema
        nested = [
            field.name for field in schema if pa.types.is_list(field.type) and pa.types.is_struct(field.type.value_type)
        ]
        return nested + [name for name, column in self.columns.items() if column.holds_lists]


#: Given the name of an input and what was guessed, returns what somebody wants of it.
Settle = Callable[[str, GuessedInput], GuessedInput]


def _as_guessed(_: str, guessed: GuessedInput) -> GuessedInput:
    return guessed


def guess_inputs(samples: Mapping[str, InputSample], settle: Settle = _as_guessed) -> dict[str, GuessedInput]:
    """Guess the columns of `events`, `items` and, where it is given, `users`.

    Args:
        samples: The first rows of each input.
        settle: Corrects each input before the next one is guessed: ids of items and of users are those that have the
            values of the events' columns.
    """
    columns = {name: values_of(sample.rows, sample.source) for name, sample in samples.items()}
    shared = _same_files(samples["items"], samples["events"])

    def settled(name: str, guesses: Guesses) -> GuessedInput:
        return settle(name, GuessedInput(sample=samples[name], columns=columns[name], guesses=guesses))

    found = {
        "events": settled(
            "events", guess_events(columns["events"], None if shared else columns["items"], columns.get("users"))
        )
    }
    events = found["events"].guesses
    ids = {name: columns["events"][events[name].column] for name in ("user_id", "item_id") if name in events}
    of_items = _of_items(columns["events"], events) if shared else columns["items"]
    items = guess_items(of_items, ids.get("item_id"))
    if shared and "item_id" in events:
        items["item_id"] = events["item_id"]
    if shared and "timestamp" in events:
        items["timestamp"] = Guess(events["timestamp"].column, "the newest row of an item wins")
    found["items"] = settled("items", items)
    if "users" in samples:
        found["users"] = settled("users", guess_users(columns["users"], ids.get("user_id")))
    return found


def _of_items(columns: Columns, events: Guesses) -> Columns:
    """The columns of the events' files that are about the items, as far as the ids are known."""
    taken = {guess.column for key, guess in events.items() if key != "item_id"}
    rest = {name: column for name, column in columns.items() if name not in taken}
    if not {"item_id", "user_id"} <= events.keys():
        return rest
    item, user = (columns[events[key].column] for key in ("item_id", "user_id"))
    return {name: column for name, column in rest.items() if column is item or describes_item(column, item, user)}


def _same_files(items: InputSample, events: InputSample) -> bool:
    return items.source.path == events.source.path


def first_config(inputs: Mapping[str, GuessedInput], storage: str) -> str:
    """The config as YAML."""
    lines = [
        *_HEADER.splitlines(),
        "",
        f"storage: {_quoted(storage)}   # everything that the night writes; or s3://bucket/prefix",
        "date: newest   # the night is of the day of the newest event; for a job that runs each night: yesterday",
        "",
        "inputs:",
    ]
    for name, guessed in inputs.items():
        lines += [f"  {name}:", *(f"    {line}" for line in _input_lines(name, guessed, _texts(name, inputs)))]
    return "\n".join(lines) + "\n"


def _texts(name: str, inputs: Mapping[str, GuessedInput]) -> Sequence[str]:
    """Columns of the template of the items or users, by the columns that people confirmed."""
    guessed, events = inputs[name], inputs["events"]
    if name == "users":
        return user_texts(guessed.columns, guessed.guesses)
    if _same_files(guessed.sample, events.sample):
        return item_texts(_of_items(events.columns, events.guesses), guessed.guesses)
    return item_texts(guessed.columns, guessed.guesses)


def _input_lines(name: str, guessed: GuessedInput, texts: Sequence[str]) -> list[str]:
    source = guessed.sample.source
    lines = [f"path: {_quoted(source.path)}", f"format: {source.format}"]
    if source.delimiter != ",":
        lines.append(f"delimiter: {_quoted(source.delimiter)}")
    if source.encoding != "utf-8":
        lines.append(f"encoding: {source.encoding}   # the first rows are no UTF-8")
    lines.append("columns:   # our names: your names")
    for key, guess in guessed.guesses.items():
        why = _why(guess, guessed.columns) if guess.sure else _UNSURE
        lines.append(f"  {'' if guess.sure else '# '}{key}: {_quoted(guess.column)}   # {why}")
    if name != "events":
        lines.append(f"text: {_quoted(template(guessed, texts))}   # what the language model reads")
    if (time := guessed.guesses.get("timestamp")) and time.column in guessed.columns:
        lines += _timestamp_lines(guessed.columns, time.column)
    if name == "events":
        weight = guessed.guesses.get("weight")
        condition = f"{sql_name(weight.column) if weight else 'quantity'} > 0"
        lines.append(f"# where: {_quoted(condition)}   # which rows to use")
    return lines


def _timestamp_lines(columns: Columns, column: str) -> list[str]:
    form = guess_timestamp_format(columns[column])
    if form is None:
        return []
    return [f"timestamp_format: {_quoted(form)}   # please check: the first rows can be read in two ways"]


def template(guessed: GuessedInput, texts: Sequence[str]) -> str:
    """The template over the columns `texts`; numbers have the name of their column before them.

    Without a column that can be read, the id is the text.
    """
    ids = [guess.column for key, guess in guessed.guesses.items() if key in ("item_id", "user_id")]
    names = list(texts) or ids
    return ". ".join(
        f"{name.replace('_', ' ')} {{{name}}}" if guessed.columns[name].is_number and texts else f"{{{name}}}"
        for name in names
    )


def _why(guess: Guess, columns: Columns) -> str:
    if guess.column not in columns:
        return guess.why
    return f"{guess.why}; values: {', '.join(columns[guess.column].examples)}"


def _quoted(text: str) -> str:
    """A YAML text that is read again as it is, also where it has quotes, line ends or `${`."""
    quoted = json.dumps(text.replace("${", "$${"), ensure_ascii=False)
    return "".join(sign if sign.isprintable() else f"\\U{ord(sign):08x}" for sign in quoted)
