"""The card of a model: one Markdown page about what it learned from, how it was measured, and its limits."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from recsys.report.recorded import DASH


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One figure of a model."""

    what: str
    value: str
    interval: str = DASH
    """95 % interval."""
    users: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """What a card says. Texts that come from data or configs are shown as code, so that they are never HTML."""

    model_id: str
    night: str
    run_id: str
    made_from: str
    """A sentence: random weights, a warm start, or the model that it continues."""
    data: Mapping[str, str]
    network: Mapping[str, str]
    training: Mapping[str, str]
    weights: Mapping[str, Sequence[float]]
    """For each number of a signal its weight, for short histories, and in a session."""
    trees: int
    verdict: str
    """What the gate said."""
    metrics: Sequence[Measured] = ()
    licences: Mapping[str, str] = field(default_factory=dict)
    """Licence of each pretrained model that it is built on."""
    limits: Sequence[str] = ()


def render_model_card(facts: CardFacts) -> str:
    """The page as Markdown."""
    weights = [
        (code(name), *(f"{value:+.4f}" for value in values)) for name, values in facts.weights.items() if any(values)
    ]
    metrics = [(each.what, each.value, each.interval, f"{each.users:,}") for each in facts.metrics]
    trees = f"Trees that correct the weighted sum: {facts.trees or 'none'}."
    parts = [
        f"# Model {facts.model_id}",
        f"The night of {facts.night} made this model. It ranks the items of one shop for the users of that shop. "
        f"{facts.made_from}",
        f"The [report of the night](../../runs/{facts.run_id}/report.html) has its times, its gates and sample lists.",
        _section("Data", facts.data),
        _section("Network", facts.network),
        _section("Training", facts.training),
        "## Weights of the signals",
        f"The score of an item is the sum of these numbers by their weights. Other numbers weigh 0. {trees}",
        _table(("number", "weight", "added for short histories", "added in a session"), weights)
        if weights
        else "No weights were fitted.",
        "## Metrics",
        facts.verdict,
        _table(("what", "value", "95 % interval", "users"), metrics) if metrics else "Nothing was measured.",
        "## Licences",
        _table(("pretrained model", "licence"), [(code(name), each) for name, each in facts.licences.items()])
        if facts.licences
        else "The model is not built on pretrained weights.",
        "The data of the shop have their own terms, which hold for the model too.",
        "## Limits",
        "\n".join(f"- {limit}" for limit in facts.limits),
    ]
    return "\n\n".join(parts) + "\n"


def code(text: str) -> str:
    """A text as Markdown code on one line, in which nothing is markup."""
    plain = " ".join(text.split()).replace("`", "'").replace("|", "¦")
    return f"`{plain}`" if plain else DASH


def _section(title: str, rows: Mapping[str, str]) -> str:
    return f"## {title}\n\n{_table(('what', 'value'), rows.items())}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *("---:" for _ in head[1:])] if len(head) > 2 else ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
