"""The index of the site: trends over the nights, and a link to the page of each."""

from collections.abc import Collection, Sequence

from recsys.report.night_summary import MOST_NIGHTS, UNPUBLISHED, NightSummary, in_order
from recsys.report.page_templates import template
from recsys.report.past_results import Realized
from recsys.report.trend_charts import realized_chart, trend_charts

#: The verdict of all gates together, in few words.
WORDS = {
    "passed": "passed",
    "refused": "refused",
    "not_examined": "not examined",
    "overridden": "forced",
    UNPUBLISHED: "not published",
    "": "ended early",
}


def render_index(
    summaries: Sequence[NightSummary], realized: Realized | None = None, deleted: Collection[str] = ()
) -> str:
    """The page as HTML. Every text from the data is escaped.

    Args:
        summaries: Of the nights, in any order.
        realized: What users did with past lists; the page has no word of it where nothing is known.
        deleted: Ids of the nights whose pages were deleted: they have no link.
    """
    realized = realized or Realized()
    nights = in_order(list(summaries))[-MOST_NIGHTS:]
    return template("index.html").render(
        nights=nights[::-1],
        deleted=deleted,
        # one night of a mistyped year would put all others at the left edge
        charts=trend_charts([night for night in nights if not night.is_of_the_future] or nights),
        realized=realized,
        realized_charts=[] if (chart := realized_chart(realized.nights[-MOST_NIGHTS:])) is None else [chart],
        words=WORDS,
        style="style.css",
    )
