"""What a refusal says of the bad rows of an input: values, one line of a file, and the way out."""

from recsys.data.checks.bad_lines import describe_place
from recsys.data.checks.bad_values import BadValue, by_reason
from recsys.data.checks.ways_out import BadInput, way_out
from recsys.data.config import TableInput
from recsys.pipeline.input_records import ReadRows
from recsys.pipeline.run import Run
from recsys.storage.addresses import open_input
from recsys.storage.tables import read_table

#: Reasons that are explained, the commonest first.
_MOST_REASONS = 3
#: Ids of the catalog that bad ids are compared with.
_MOST_IDS = 100_000


def explain_bad_rows(run: Run, counts: ReadRows, key: str) -> str:
    """A line for each of the commonest reasons; each begins with a line break.

    Args:
        run: The run.
        counts: Rows of the input.
        key: `events`, `items` or `users`.
    """
    examples = by_reason(counts.examples)
    common = sorted(counts.reasons, key=lambda reason: (-counts.reasons[reason], reason))[:_MOST_REASONS]
    known_ids = _known_ids(run)
    lines = [
        _explain(run, key, reason, counts.reasons[reason], examples[reason], known_ids)
        for reason in common
        if reason in examples
    ]
    return "".join(f"\n  {line}" for line in lines)


def _explain(run: Run, key: str, reason: str, rows: int, values: list[BadValue], known_ids: list[str]) -> str:
    first = values[0]
    source: TableInput = getattr(run.config.inputs, key)
    fs, _ = open_input(source.path)
    column = f" in {first.column!r}" if first.column else ""
    shown = ", ".join(f"{_shown(bad)} ({bad.rows:,})" for bad in values) if first.column else ""
    more = ", …" if shown and sum(bad.rows for bad in values) < rows else ""
    found = f": {shown}{more}" if shown else ""
    hint = way_out(BadInput(key=f"inputs.{key}", source=source, values=values, known_ids=known_ids))
    return f"{reason} {rows:,}{column}{found}. For example {describe_place(fs, source, first)}\n    {_sentence(hint)}."


def _shown(bad: BadValue) -> str:
    return "no value" if bad.value is None else repr(bad.value)


def _sentence(hint: str) -> str:
    return hint[:1].upper() + hint[1:]


def _known_ids(run: Run) -> list[str]:
    """Some ids of the catalog; none before it is written."""
    if not run.storage.exists(run.catalog_path):
        return []
    ids: list[str] = read_table(run.storage, run.catalog_path, ["item_id"])["item_id"].slice(0, _MOST_IDS).to_pylist()
    return ids
