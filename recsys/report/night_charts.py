"""The charts of a night's page. A chart whose figures no stage recorded is left out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes

from recsys.report.charts import DASHES, INK, SERIES, as_svg, drawing, new_chart
from recsys.report.recorded import Recorded, entries, figure, finite, number, numbers, part, percent, text

#: Keys of an epoch's figures, as `recsys.training.progress` names them.
_RETRIEVAL, _CANDIDATE_PASS = "validation_ndcg@10", "candidate_pass_ndcg@10"
_LONGEST_NAME = 28
#: Height of a row of a horizontal chart, and width of the names beside it.
_ROW, _NAMES = 22, 184
#: Names of rankers as the page shows them.
RANKERS = {"model": "new model", "published": "last night's model", "popularity": "popularity"}
#: Bars at most; the largest are shown.
_MOST_BARS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart with its title and a sentence on how to read it."""

    title: str
    svg: Markup
    note: str = ""


def night_charts(stages: Mapping[str, Recorded]) -> dict[str, list[Chart]]:
    """The charts of a night by section of its page.

    Args:
        stages: Records of the stages.
    """
    sections: dict[str, tuple[Callable[[Mapping[str, Recorded]], Chart | None], ...]] = {
        "training": (_loss, _validation),
        "quality": (_segments, _signals_alone),
        "signals": (_gains, _weights),
        "lists": (_scores, _overlap),
    }
    with drawing():
        found = {name: [draw(stages) for draw in charts] for name, charts in sections.items()}
    return {name: [chart for chart in charts if chart is not None] for name, charts in found.items()}


def _loss(stages: Mapping[str, Recorded]) -> Chart | None:
    epochs = entries(stages, "finetune", "history")
    points = [(place, number(epoch, "loss")) for place, epoch in enumerate(epochs, start=1)]
    known = [(place, loss) for place, loss in points if loss is not None]
    if not known:
        return None
    chart, axes = new_chart()
    axes.plot(*zip(*known, strict=True), color=SERIES[0], linewidth=2)
    _whole_numbers(axes, len(epochs))
    words = f"Training loss by epoch, from {known[0][1]:.3f} to {known[-1][1]:.3f}."
    return Chart(title="Training loss by epoch", svg=as_svg(chart, "loss", words), note=words)


def _validation(stages: Mapping[str, Recorded]) -> Chart | None:
    epochs = entries(stages, "finetune", "history")
    lines = {
        name: [(place, value) for place, epoch in enumerate(epochs, 1) if (value := number(epoch, key)) is not None]
        for name, key in {"retrieval": _RETRIEVAL, "candidate pass": _CANDIDATE_PASS}.items()
    }
    lines = {name: points for name, points in lines.items() if points}
    if not lines:
        return None
    chart, axes = new_chart()
    for (name, points), colour, dash in zip(lines.items(), SERIES, DASHES, strict=False):
        (line,) = axes.plot(*zip(*points, strict=True), color=colour, linestyle=dash, linewidth=2, label=name)
        line.set_marker("." if len(points) > 1 else "s")  # a line of one point would not be seen
    if len(lines) > 1:
        axes.legend(loc="lower right")
    best = number(stages, "finetune", "best_epoch")
    if best:
        axes.axvline(best, color=INK, linewidth=1, linestyle=":")
    _whole_numbers(axes, len(epochs))
    highest = max(value for points in lines.values() for _, value in points)
    words = f"NDCG@10 on validation users by epoch; the highest is {highest:.4f}."
    note = f"{words} The dotted line is the epoch that was kept, {best:.0f}." if best else words
    return Chart(title="Validation NDCG@10 by epoch", svg=as_svg(chart, "validation", note), note=note)


def _segments(stages: Mapping[str, Recorded]) -> Chart | None:
    """The new model and its baselines by segment, with intervals."""
    rows = [segment for segment in entries(stages, "gate", "segments") if number(segment, "model", "mean") is not None]
    if not rows:
        return None
    chart, axes = new_chart(height=46 + _ROW * 2 * len(rows), left=96, top=26)
    drawn: set[str] = set()
    for place, segment in enumerate(rows):
        estimates = {"model": part(segment, "model")}
        estimates |= {name: part(segment, "baselines", name, "value") for name in ("published", "popularity")}
        drawn |= {name for name, estimate in estimates.items() if number(estimate, "mean") is not None}
        for offset, (name, estimate) in zip((-0.25, 0.0, 0.25), estimates.items(), strict=True):
            style = tuple(RANKERS).index(name)
            _interval(axes, estimate, place + offset, SERIES[style], "os^"[style], RANKERS[name] if not place else "")
    _rows(axes, [text(segment, "segment") for segment in rows])
    axes.set_xlim(left=0)
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.42, 1.0), ncols=3, handletextpad=0.1, columnspacing=0.7, fontsize=10
    )
    *others, last = [words for name, words in RANKERS.items() if name in drawn]
    whose = f"{', '.join(others)} and {last}" if others else last
    words = f"Quality of the {whose} by segment, with 95\u00a0% intervals."
    return Chart(
        title="Quality by segment", svg=as_svg(chart, "segments", words), note=f"{words} The table has the numbers."
    )


def _signals_alone(stages: Mapping[str, Recorded]) -> Chart | None:
    alone = dict(sorted(numbers(stages, "fuse", "validation_alone").items(), key=lambda each: -each[1])[:_MOST_BARS])
    if not alone:
        return None
    fused = number(stages, "fuse", "validation_ndcg@10")
    chart, axes = new_chart(height=40 + _ROW * len(alone), left=_NAMES)
    axes.barh(range(len(alone)), list(alone.values()), color=SERIES[0], height=0.6)
    if fused is not None:
        axes.axvline(fused, color=INK, linewidth=1.5, linestyle="--")
    _rows(axes, [name.replace("_", " ") for name in alone])
    note = f"The dashed line is the weighted sum of all: {fused:.4f}." if fused is not None else ""
    words = "NDCG@10 of validation users by each signal's number alone. " + note
    return Chart(title="Each signal alone", svg=as_svg(chart, "alone", words), note=words)


def _gains(stages: Mapping[str, Recorded]) -> Chart | None:
    gains = {name: gain for name in part(stages, "fuse", "gains") if (gain := part(stages, "fuse", "gains", name))}
    known = {name: gain for name, gain in gains.items() if number(gain, "percent") is not None}
    if not known:
        return None
    chart, axes = new_chart(height=44 + 30 * len(known), left=110)
    axes.axvline(0, color=INK, linewidth=1)
    for place, gain in enumerate(known.values()):
        estimate = {"mean": number(gain, "percent"), "low": number(gain, "low"), "high": number(gain, "high")}
        _interval(axes, estimate, place, SERIES[0], "o")
    _rows(axes, list(known))
    words = "What each part adds to NDCG@10 of validation users, in percent, with 95\u00a0% intervals: " + ", ".join(
        f"{name} {number(gain, 'percent'):+.1f} %" for name, gain in known.items()
    )
    return Chart(title="What each part adds, %", svg=as_svg(chart, "gains", words), note=f"{words}.")


def _weights(stages: Mapping[str, Recorded]) -> Chart | None:
    weights = {name: weight for name, weight in numbers(stages, "fuse", "weights").items() if weight}
    weights = dict(sorted(weights.items(), key=lambda each: -abs(each[1]))[:_MOST_BARS])
    if not weights:
        return None
    chart, axes = new_chart(height=40 + _ROW * len(weights), left=_NAMES)
    axes.barh(range(len(weights)), list(weights.values()), color=SERIES[2], height=0.6)
    axes.axvline(0, color=INK, linewidth=1)
    _rows(axes, [name.replace("_", " ") for name in weights])
    words = "Weights of the signals' numbers in the score. The numbers have different scales."
    return Chart(title="Weights of the signals", svg=as_svg(chart, "weights", words), note=words)


def _scores(stages: Mapping[str, Recorded]) -> Chart | None:
    counts = part(stages, "check", "scores")
    lowest, width = number(counts, "lowest"), number(counts, "width")
    places = {"first places": _counts(counts.get("first")), "other places": _counts(counts.get("others"))}
    if lowest is None or not width or not any(map(sum, places.values())):
        return None
    chart, axes = new_chart()
    highest = 0.0
    for (name, bins), colour, dash in zip(places.items(), SERIES, DASHES, strict=False):
        shares = [count / (sum(bins) or 1) for count in bins]
        highest = max(highest, *shares)
        edges = [lowest + width * place for place in range(len(bins) + 1)]
        axes.stairs(shares, edges, color=colour, linewidth=2, linestyle=dash, label=name)
    axes.set_ylim(0, 1.4 * highest)  # room for the legend: low scores, at the left, may be the commonest
    axes.legend(loc="upper left")
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    words = "Distribution of the scores, natural logarithms of P(item | user), of first places and of all others."
    return Chart(title="Scores", svg=as_svg(chart, "scores", words), note=words)


def _overlap(stages: Mapping[str, Recorded]) -> Chart | None:
    overlap = part(stages, "check", "overlap")
    tenths, mean = overlap.get("tenths"), number(overlap, "mean")
    counts = _counts(tenths)
    if mean is None or len(counts) != 11 or not sum(counts):
        return None
    chart, axes = new_chart()
    axes.bar(range(11), [count / sum(counts) for count in counts], color=SERIES[2], width=0.8)
    axes.set_xticks(range(0, 11, 2), [f"{10 * place} %" for place in range(0, 11, 2)])
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.grid(visible=False, axis="x")
    places = figure(number(overlap, "places"))
    words = (
        f"Users by the share of their first {places} items that was there the night before. The mean is "
        f"{percent(mean)} of {figure(sum(counts))} users."
    )
    return Chart(title="Overlap with the night before", svg=as_svg(chart, "overlap", words), note=words)


def _counts(stored: Any) -> list[float]:
    """A list of counts; what is none counts as 0."""
    return [max(finite(count) or 0, 0) for count in stored] if isinstance(stored, list) else []


def _interval(axes: Axes, estimate: Recorded, place: float, colour: str, marker: str, label: str = "") -> None:
    mean, low, high = (number(estimate, key) for key in ("mean", "low", "high"))
    if mean is None:
        return
    if low is not None and high is not None:
        axes.plot([low, high], [place, place], color=colour, linewidth=2)
    axes.plot(
        [mean], [place], color=colour, marker=marker, markersize=6, linestyle="none", label=label or None, clip_on=False
    )


def _rows(axes: Axes, names: Sequence[str]) -> None:
    """Names beside the rows of a horizontal chart, the first at the top."""
    axes.set_yticks(
        range(len(names)), [name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…" for name in names]
    )
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")


def _whole_numbers(axes: Axes, last: int) -> None:
    axes.set_xticks(range(1, last + 1, max(1, -(-last // 8))))
