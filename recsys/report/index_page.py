"""The index of the site: trends over the nights, and a link to the page of each."""

from collections.abc import Collection, Sequence

from recsys.report.night_summary import MOST_NIGHTS, NightSummary, in_order
from recsys.report.page_templates import template
from recsys.report.trend_charts import trend_charts

#: The verdict of all gates together, in few words.
WORDS = {
    "passed": "passed",
    "refused": "refused",
    "not_examined": "not examined",
    "overridden": "forced",
    "": "ended early",
}


def render_index(summaries: Sequence[NightSummary], deleted: Collection[str] = ()) -> str:
    """The page as HTML. Every text from the data is escaped.

    Args:
        summaries: Of all nights.
        deleted: Ids of the nights whose pages were deleted: they have no link.
    """
    nights = in_order(list(summaries))[-MOST_NIGHTS:]
    return template("index.html").render(
        nights=nights[::-1], deleted=deleted, charts=trend_charts(nights), words=WORDS, style="style.css"
    )
