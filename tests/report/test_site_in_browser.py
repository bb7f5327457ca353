"""The pages of the site in a real Chromium, opened from disk: they fit, are readable by everybody, and print."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from recsys.report.index_page import render_index
from recsys.report.night_page import render_night
from recsys.report.page_templates import style_sheet
from recsys.report.past_results import summarize_realized
from tests.report.made_up_nights import nights, realized, records

PAGES = ("index.html", "nights/2026-11-22-abc.html")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of 30 nights, and the page of one."""
    folder, night = tmp_path_factory.mktemp("site"), records()
    summaries = [each.summary for each in (*nights(29), night)]
    for name, text in {
        "index.html": render_index(summaries, summarize_realized(realized(29))),
        PAGES[1]: render_night(night)[0],
        "style.css": style_sheet(),
        "alone.html": render_night(night)[1],
    }.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A new page; what it writes to its console, and what it loads from elsewhere, fails the test."""
    context = browser.new_context(reduced_motion="reduce")
    page, complaints = context.new_page(), list[str]()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("request", lambda request: None if request.url.startswith("file:") else complaints.append(request.url))
    page.on("requestfailed", lambda request: complaints.append(request.url))
    yield page
    context.close()
    assert complaints == []


@pytest.mark.parametrize(("name", "scheme"), [(PAGES[0], "dark"), (PAGES[1], "light"), (PAGES[1], "dark")])
def test_axe_finds_nothing(page: Page, site: Path, name: str, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    page.goto((site / name).as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    found = Axe().run(page, options={"preload": False})  # it cannot load a style from disk again
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", PAGES)
def test_every_width_fits_without_horizontal_scrolling(page: Page, site: Path, name: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto((site / name).as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    texts = page.locator("svg.chart text").evaluate_all("all => all.map(each => each.getBoundingClientRect().height)")
    assert min(texts) > 9, "the text of a chart is too small"
    outside = page.locator("svg.chart text").evaluate_all(
        """all => all.filter(each => {
            const [own, chart] = [each, each.ownerSVGElement].map(one => one.getBoundingClientRect());
            return own.left < chart.left - 1 || own.right > chart.right + 1;
        }).map(each => each.textContent)"""
    )
    assert outside == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_take_the_colours_of_the_page(page: Page, site: Path, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    page.goto((site / PAGES[1]).as_uri())
    ground, ink = page.evaluate(
        "[document.body, document.querySelector('svg.chart text')]"
        ".map((each, place) => getComputedStyle(each)[place ? 'fill' : 'backgroundColor'])"
    )
    brightness = [sum(map(float, re.findall(r"\d+", colour)[:3])) / 3 for colour in (ground, ink)]
    assert (brightness[0] < 64 < brightness[1]) if scheme == "dark" else (brightness[1] < 128 < brightness[0])


def test_the_links_lead_to_the_pages(page: Page, site: Path) -> None:
    page.goto((site / "index.html").as_uri())
    page.get_by_role("link", name="2026-11-22").click()
    assert page.get_by_role("heading", level=1).text_content() == "Night of 2026-11-22"
    page.get_by_role("link", name="All nights").click()
    assert page.url == (site / "index.html").as_uri()


def test_print_shows_all_tables_on_white(page: Page, site: Path) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": 718, "height": 1000})  # A4 at 96 dpi without its margins
    page.goto((site / PAGES[1]).as_uri())
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    cut = page.locator(".scroll:visible").evaluate_all(
        "all => all.filter(each => each.scrollWidth > each.clientWidth + 1).map(each => each.ariaLabel)"
    )
    assert cut == []


def test_the_page_of_the_run_folder_needs_no_other_file(page: Page, site: Path) -> None:
    page.goto((site / "alone.html").as_uri())
    assert page.evaluate("getComputedStyle(document.body).maxWidth") == "1280px"
