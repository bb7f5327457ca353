"""The signals: what each of them is, its numbers and its explanations."""

import inspect

from markdown_table import cell, table

from recsys.signals.registry import SIGNALS
from recsys.signals.signal import Signal

INTRO = """\
# Signals

A signal gives every candidate of a user one or more numbers. The score of a candidate is the weighted sum of all
numbers. The weights are fitted on validation data; a number with a negative weight counts against an item. [The
model](../model.md#signals) explains the score.

- `recommend.signals` names the signals or numbers that may have a weight. By default all may.
- `source` in a list is the name of the signal that lifts the item most above the user's other candidates. `reason` is
  one of the signal's sentences, with the title of an item of the user's history.
- `exploration` is the source of an item that a rule drew at random ("something new to try").
- `jobs/explain.py` prints what each number adds to the score of each item.

"""


def page() -> str:
    """Markdown: all signals in one table, then one section for each of them."""
    rows = [
        (f"[`{signal.name}`](#{signal.name})", _summary(signal), "<br>".join(cell(text) for text in _sentences(signal)))
        for signal in SIGNALS
    ]
    return INTRO + table(("signal", "what it is", "reasons"), rows) + "".join(_section(signal) for signal in SIGNALS)


def _section(signal: Signal) -> str:
    text = f"\n## `{signal.name}`\n\n{_summary(signal)}\n\n"
    text += table(("number", "meaning"), [(f"`{name}`", cell(meaning)) for name, meaning in signal.columns.items()])
    facts = []
    if signal.section is not None:
        facts.append(f"- Settings: [`{signal.section}`](config.md#{signal.section.replace('.', '')}).")
    if signal.optional:
        facts.append("- It is off unless the config has that section.")
    if signal.views:
        facts.append(
            "- It counts events. Columns of its table: " + ", ".join(f"`{n}`" for n in signal.merged.names) + "."
        )
    if signal.imputed:
        facts.append("- A cold item gets the average numbers of the items with the most similar texts.")
    return text + "".join(f"\n{fact}" for fact in facts) + ("\n" if facts else "")


def _summary(signal: Signal) -> str:
    """The docstring of the signal's class."""
    return cell(inspect.getdoc(type(signal)) or "")


def _sentences(signal: Signal) -> tuple[str, ...]:
    return tuple(sentence.replace("{}", "*title of an item*") for sentence in signal.sentences)
