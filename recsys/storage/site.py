"""Where the site of the nights is, below the storage root: pages that need nothing but each other."""

SITE = "site"
INDEX = f"{SITE}/index.html"
STYLE = f"{SITE}/style.css"
#: The pages of the nights.
NIGHTS = f"{SITE}/nights"
#: Figures of each night for the index, as JSON.
SUMMARIES = f"{SITE}/summaries"


def night_page(run_id: str) -> str:
    """The page of a night."""
    return f"{NIGHTS}/{run_id}.html"
