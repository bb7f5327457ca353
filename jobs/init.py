"""Writes a first config from a look at your files; it guesses the columns, and you confirm them.

python jobs/init.py --events data/orders.csv --items data/products.csv [--users data/customers.csv] [--out shop.yaml]

On a terminal it asks about each column. Elsewhere it takes its guesses, and `--column` corrects them.
"""

import sys
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rich.prompt import Prompt
from rich.text import Text

from jobs import command
from jobs.log_output import add_log_options, console
from jobs.user_ids import CommandLine
from recsys.config.loading import parse_yaml
from recsys.data.guesses.column_guesses import Guess
from recsys.data.guesses.column_values import values_of
from recsys.data.guesses.first_config import NEEDED, GuessedInput, first_config, guess_inputs
from recsys.data.guesses.input_sample import InputSample, sample_input
from recsys.data.values.columns import if_values, listed
from recsys.errors import ConfigError
from recsys.settings import decode_config
from recsys.storage.addresses import open_input
from recsys.storage.failures import explained


def init(options: Namespace) -> command.Answer:
    """Look at the files, ask where there is somebody to ask, and write the config."""
    out = Path(options.out)
    if out.exists() and not options.force:
        raise ConfigError(f"{out}: exists already; name another file with --out, or write it again with --force")
    samples = _samples(options)
    corrections = [_correction(text, samples) for text in options.column]

    def settle(name: str, guessed: GuessedInput) -> GuessedInput:
        for corrected, ours, column in corrections:
            if corrected == name:
                guessed = _with_column(guessed, ours, Guess(column, "as you said"))
        return _confirmed(name, guessed) if options.ask else guessed

    try:
        inputs = guess_inputs(samples, settle)
    except EOFError:
        raise ConfigError("the answers ended; answer each question, or take the guesses with --yes") from None
    _require_all(inputs)
    text = first_config(inputs, options.storage)
    decode_config(parse_yaml(text, f"the config for {out}"))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--out {out}: cannot be written: {error}") from error
    columns = {name: {key: guess.column for key, guess in each.guesses.items()} for name, each in inputs.items()}
    console.print(
        f"wrote {out}. Look at it, then: `recsys doctor --config {out}`, and `recsys nightly --config {out}`",
        markup=False,
        soft_wrap=True,
    )
    return {"status": "written", "path": str(out), "columns": columns}


def _samples(options: Namespace) -> dict[str, InputSample]:
    """The first rows of each input. Items come from the files of the events where no other are named."""
    paths = {"events": options.events, "items": options.items or options.events, "users": options.users}
    return {name: _sample(path) for name, path in paths.items() if path}


def _sample(path: str) -> InputSample:
    fs, location = open_input(path)
    with explained(path):
        return sample_input(fs, location, path)


def _correction(text: str, samples: Mapping[str, InputSample]) -> tuple[str, str, str]:
    """The input, our name and the column that `--column events.user_id=customer` names."""
    key, _, column = text.partition("=")
    name, _, ours = key.partition(".")
    if name not in samples or not ours or not column:
        raise ConfigError(f"--column {text}: must look like events.user_id=customer")
    columns = values_of(samples[name].rows, samples[name].source)
    if column not in columns:
        raise ConfigError(f"--column {text}: {name} has the columns {listed(columns)}")
    return name, ours, column


def _with_column(guessed: GuessedInput, ours: str, guess: Guess) -> GuessedInput:
    return replace(guessed, guesses={**guessed.guesses, ours: guess})


def _confirmed(name: str, guessed: GuessedInput) -> GuessedInput:
    """Ask for each column; the guess is the default answer, and `-` is the answer for none."""
    console.print(Text(f"\n{name}: {guessed.sample.source.path}, with the columns"))
    for column, values in guessed.columns.items():
        console.print(Text(f"  {column}: {', '.join(values.examples)}"))
    for ours in dict.fromkeys([*NEEDED[name], *(key for key, guess in guessed.guesses.items() if guess.sure)]):
        guess = guessed.guesses.get(ours)
        none = [] if ours in NEEDED[name] else ["-"]
        question = Prompt(
            Text(f"column for {ours}{' (- for none)' if none else ''}"),
            console=console,
            choices=[*guessed.columns, *none],
            show_choices=False,
        )
        answer = question(default=guess.column) if guess else question()
        if answer == "-":
            guessed = replace(guessed, guesses={key: kept for key, kept in guessed.guesses.items() if key != ours})
        elif guess is None or answer != guess.column:
            guessed = _with_column(guessed, ours, Guess(answer, "as you said"))
    return guessed


def _require_all(inputs: Mapping[str, GuessedInput]) -> None:
    for name, guessed in inputs.items():
        for ours in NEEDED[name]:
            if ours not in guessed.guesses:
                nested = " or ".join(guessed.lists)
                in_list = f", or write one row for each entry of {nested} first if it is in that list" if nested else ""
                raise ConfigError(
                    f"{name}: no column of {guessed.sample.source.path} looks like {ours}; name it with "
                    f"--column {name}.{ours}=COLUMN, or join the files first if another file has it{in_list}; its "
                    f"columns are {listed(guessed.columns)}{if_values(guessed.columns)}"
                )


def main() -> int:
    """The command line."""
    parser = CommandLine(description="Write a first config from a look at your files.")
    help_path = "a file, a folder or a glob of Parquet, CSV or JSON lines; local or s3://"
    parser.add_argument("--events", required=True, help=f"who touched which item, and when: {help_path}")
    parser.add_argument("--items", help="what can be recommended; default: the items are in the files of the events")
    parser.add_argument("--users", help="profiles of users, if you have them")
    parser.add_argument("--out", default="recsys.yaml", help="the config to write (default %(default)s)")
    parser.add_argument("--storage", default="./warehouse", help="where nights write (default %(default)s)")
    parser.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="INPUT.OURS=YOURS",
        help="a column that was guessed wrongly, such as events.user_id=customer",
    )
    parser.add_argument(
        "--yes", dest="ask", action="store_false", default=sys.stdin.isatty(), help="take the guesses without questions"
    )
    parser.add_argument("--force", action="store_true", help="write over a config that exists")
    add_log_options(parser)
    return command.run_without_config(init, parser)


if __name__ == "__main__":
    command.end_process(main)
