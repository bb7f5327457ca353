"""The charts of the index: one figure each over the nights."""

import datetime as dt
from collections.abc import Callable, Sequence

from matplotlib.axes import Axes

from recsys.report.charts import DASHES, SERIES, as_svg, drawing, new_chart
from recsys.report.night_charts import Chart
from recsys.report.night_summary import NightSummary
from recsys.report.past_results import RealizedNight

#: With fewer nights each has a marker.
_MOST_MARKERS = 15

_Value = Callable[[NightSummary], float | None]


def trend_charts(nights: Sequence[NightSummary]) -> list[Chart]:
    """The charts, from the oldest night to the newest; what no night recorded is left out."""
    with drawing():
        found = [_quality(nights), *(_trend(nights, *trend) for trend in _TRENDS)]
    return [chart for chart in found if chart is not None]


def _quality(nights: Sequence[NightSummary]) -> Chart | None:
    """The metric of the newest night, with its interval, and that of popularity; other metrics are left out."""
    metric = next((night.metric for night in reversed(nights) if night.model is not None), None)
    nights = [night for night in nights if night.metric == metric and night.model is not None]
    if not nights:
        return None
    chart, axes = new_chart()
    days = [_day(night) for night in nights]
    for night in nights:
        if night.model_low is not None and night.model_high is not None:
            bounds = [night.model_low, night.model_high]
            axes.plot([_day(night)] * 2, bounds, color=SERIES[0], linewidth=2, alpha=0.45)
    _line(axes, days, [night.model for night in nights], 0, "model")
    _line(axes, days, [night.popularity for night in nights], 1, "popularity")
    axes.legend(loc="best", fontsize=10)
    highest = [value for night in nights for value in (night.model, night.model_high, night.popularity)]
    _from_zero(axes, highest)
    _dates(axes, days)
    words = f"{metric} on the held-out days of each night, with 95\u00a0% intervals, and that of popularity."
    note = f"{words} The newest: {nights[-1].model:.4f}."
    return Chart(title="Quality", svg=as_svg(chart, "trend-quality", note), note=note)


def realized_chart(nights: Sequence[RealizedNight]) -> Chart | None:
    """How many users took something of their list, and how high it stood, from the oldest night to the newest."""
    series = {"hit rate at 10": "hitrate@10", "NDCG at 10": "ndcg@10"}
    nights = [night for night in nights if any(metric in night.figures for metric in series.values())]
    if not nights:
        return None
    with drawing():
        chart, axes = new_chart()
        days = [_ordinal(night.run_date) for night in nights]
        for place, (label, metric) in enumerate(series.items()):
            found = [night.figures.get(metric) for night in nights]
            for day, each in zip(days, found, strict=True):
                if each is not None and each.low is not None and each.high is not None:
                    axes.plot([day] * 2, [each.low, each.high], color=SERIES[place], linewidth=2, alpha=0.45)
            _line(axes, days, [None if each is None else each.value for each in found], place, label)
        axes.legend(loc="best", fontsize=10)
        known = [each for night in nights for metric in series.values() if (each := night.figures.get(metric))]
        _from_zero(axes, [value for each in known for value in (each.value, each.high)], room=1.35)  # for the legend
        _dates(axes, days)
        newest = ", ".join(
            f"{label} {each.value:.4f}"
            for label, metric in series.items()
            if (each := nights[-1].figures.get(metric)) is not None
        )
        words = "Users who were active after each night, with 95\u00a0% intervals."
        note = f"{words} The newest: {newest}."
        return Chart(title="What users took of their lists", svg=as_svg(chart, "trend-realized", note), note=note)


def _trend(
    nights: Sequence[NightSummary], name: str, title: str, series: dict[str, _Value], written: Callable[[float], str]
) -> Chart | None:
    lines = {label: [value(night) for night in nights] for label, value in series.items()}
    lines = {label: values for label, values in lines.items() if any(value is not None for value in values)}
    if not lines:
        return None
    chart, axes = new_chart()
    days = [_day(night) for night in nights]
    for place, (label, values) in enumerate(lines.items()):
        _line(axes, days, values, place, label)
    if len(series) > 1:
        axes.legend(loc="best", fontsize=10)
    _from_zero(axes, [value for values in lines.values() for value in values])
    axes.yaxis.set_major_formatter(lambda value, _: written(value))
    _dates(axes, days)
    newest = ", ".join(
        f"{label} {written(known[-1])}" if len(lines) > 1 else written(known[-1])
        for label, values in lines.items()
        if (known := [value for value in values if value is not None])
    )
    words = f"{title} by night. The newest: {newest}."
    return Chart(title=title, svg=as_svg(chart, f"trend-{name}", words), note=f"The newest: {newest}.")


def _line(axes: Axes, days: Sequence[float], values: Sequence[float | None], place: int, label: str) -> None:
    points = [(day, value) for day, value in zip(days, values, strict=True) if value is not None]
    if points:
        (line,) = axes.plot(*zip(*points, strict=True), color=SERIES[place], linestyle=DASHES[place], linewidth=2)
        line.set_label(label)
        if len(points) < _MOST_MARKERS:
            line.set_marker("os^"[place])
            line.set_markersize(4)


def _from_zero(axes: Axes, values: Sequence[float | None], room: float = 1.08) -> None:
    """An axis from 0 to a bit above the largest value."""
    largest = max((value for value in values if value is not None), default=0.0)
    axes.set_ylim(0, room * largest if largest > 0 else 1.0)


def _dates(axes: Axes, days: Sequence[float]) -> None:
    """At most four dates below the chart; a single night is in the middle."""
    shown = sorted({days[0], days[-1], *(days[len(days) * third // 3] for third in (1, 2) if len(days) > 3)})
    names = [dt.date.fromordinal(round(day)).isoformat()[5:] for day in shown]
    axes.set_xticks(shown, names)
    rim = max((days[-1] - days[0]) * 0.04, 0.5)
    axes.set_xlim(days[0] - rim, days[-1] + rim)
    axes.grid(visible=False, axis="x")


def _day(night: NightSummary) -> float:
    return _ordinal(night.run_date)


def _ordinal(date: str) -> float:
    return float(dt.date.fromisoformat(date).toordinal())


def _minutes(seconds: float | None) -> float | None:
    return None if seconds is None else seconds / 60


def _hundred(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _digits(value: float) -> str:
    """Three digits, or all before the point.

    >>> _digits(1234.5), _digits(0.46667)
    ('1,234', '0.467')
    """
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _short(value: float) -> str:
    """A number in few signs.

    >>> _short(950), _short(25_000), _short(999_600), _short(3_200_000)
    ('950', '25 k', '1 M', '3.2 M')
    """
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if float(f"{abs(value):.3g}") >= size:  # as it is written: 999,600 is 1 M
            scale = min(size, 1e3) if unit == "k" else size
            return f"{value / scale:,.3g} {unit}"
    return f"{value:,.4g}"


#: Name, title, figures by series, and how a value is written.
_TRENDS: tuple[tuple[str, str, dict[str, _Value], Callable[[float], str]], ...] = (
    ("users", "Users with a list", {"users": lambda night: night.users}, _short),
    ("lists", "Places of all lists", {"places": lambda night: night.recommendations}, _short),
    ("time", "Minutes of all stages", {"time": lambda night: _minutes(night.seconds)}, _digits),
    ("cpu", "Cost, CPU minutes", {"CPU": lambda night: _minutes(night.cpu_seconds)}, _digits),
    ("quarantine", "Rows in quarantine, %", {"quarantine": lambda night: _hundred(night.quarantine_share)}, _digits),
    (
        "coverage",
        "Coverage and overlap, %",
        {
            "coverage of what may be recommended": lambda night: _hundred(night.coverage),
            "overlap with the night before": lambda night: _hundred(night.overlap),
        },
        "{:.0f}".format,
    ),
)
