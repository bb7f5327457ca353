"""The page at `/` in a real Chromium, with the real service of a small shop.

A browser is found on the path, or named by CHROMIUM. Answers are replaced only where this service does not give them: a
missing key, too much load, a broken connection, a hostile title.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Response, Route, expect, sync_playwright

LISTS, SEARCHES = "**/v1/recommendations", "**/v1/items?*"
SIMILAR, EXPLANATIONS = "**/similar?*", "**/explanation"
#: The browser itself writes this for every response with a status of 400 or above.
REFUSED = "Failed to load resource"

expect.set_options(timeout=20_000)


@pytest.fixture(scope="module")
def browser(chromium: str, service_url: str) -> Iterator[Browser]:
    """A headless Chromium that stops before the service does."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, service_url: str) -> Iterator[Page]:
    """A new page, not opened yet; an error or a warning in its console fails the test."""
    complaints: list[str] = []

    def collect(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(REFUSED):
            complaints.append(message.text)

    context = browser.new_context(base_url=service_url, reduced_motion="reduce")
    page = context.new_page()
    page.on("console", collect)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert complaints == []


def opened(page: Page) -> Page:
    page.goto("/")
    expect(rows(page)).to_have_count(10)
    return page


def rows(page: Page) -> Any:
    return page.locator("#list > li")


def titles(page: Page) -> list[str]:
    return page.locator("#list .title").all_text_contents()


def add_first(page: Page) -> str:
    """Add the first item of the list; returns its title when the list without it is there."""
    title = titles(page)[0]
    rows(page).first.get_by_role("button", name="to your clicks").click()
    expect(page.locator("#clicks > li").last).to_contain_text(title)
    expect(page.locator("#strategy")).to_have_text("personalized")
    return title


def replaced(page: Page, url: str, status: int, code: str, field: str | None, headers: dict[str, str]) -> None:
    body = json.dumps({"error": {"code": code, "field": field, "message": "as the service says it"}})
    kind = {"Content-Type": "application/json"}
    page.route(url, lambda route: route.fulfill(status=status, body=body, headers=headers | kind))


def test_the_first_list_is_popular_and_every_file_loads(page: Page, service_url: str) -> None:
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))
    opened(page)
    page.wait_for_load_state("networkidle")
    assert {answer.status for answer in answers} == {200}
    assert all(answer.url.startswith(service_url) for answer in answers)
    first = page.request.post("/v1/recommendations", data={"k": 10}).json()
    assert titles(page) == [item["title"] for item in first["items"]]
    assert page.locator("#list .reason").all_text_contents() == [item["reason"] for item in first["items"]]
    assert page.locator("#list .source").all_text_contents() == [item["source"] for item in first["items"]]
    expect(page.locator("#strategy")).to_have_text("popular")
    expect(page.locator("#run-id")).to_have_text(first["run_id"])
    expect(page.locator("#age")).to_have_text(re.compile("just now|ago"))
    expect(page.locator("#no-clicks")).to_be_visible()
    expect(page.locator("#list .move:not(:empty)")).to_have_count(0)  # there was no list before


def test_an_item_is_found_added_and_removed(page: Page) -> None:
    opened(page)
    word = titles(page)[0].split()[-1]
    page.get_by_role("combobox", name="Add a clicked item").fill(word)
    options = page.get_by_role("option")
    expect(options.first).to_contain_text(word)
    chosen = options.first.text_content() or ""
    options.first.click()
    clicks = page.locator("#clicks > li")
    expect(clicks).to_have_count(1)
    expect(clicks).to_contain_text(chosen)
    expect(page.locator("#strategy")).to_have_text("personalized")
    expect(page.get_by_role("listbox")).to_be_hidden()
    page.get_by_role("button", name=f"Remove {chosen}").click()
    expect(clicks).to_have_count(0)
    expect(page.locator("#no-clicks")).to_be_visible()
    expect(page.locator("#strategy")).to_have_text("popular")


def test_a_search_without_an_item_says_so(page: Page) -> None:
    opened(page).locator("#search").fill("no such thing")
    expect(page.locator("#found-status")).to_have_text("No title contains “no such thing”.")
    expect(page.get_by_role("listbox")).to_be_hidden()


def test_markers_show_what_a_click_changed(page: Page) -> None:
    before = titles(opened(page))
    assert len(set(before)) == len(before), "titles must tell the items apart"
    add_first(page)
    after = titles(page)
    assert after != before
    expected = []
    for place, title in enumerate(after):
        risen = before.index(title) - place if title in before else None
        mark = "new" if risen is None else f"{'▲' if risen > 0 else '▼'}{abs(risen)}" if risen else ""
        expected.append(mark)
    shown = page.locator("#list .move").evaluate_all(
        "cells => cells.map(cell => (cell.querySelector('[aria-hidden]') ?? cell).textContent)"
    )
    assert shown == expected
    expect(page.locator("#change")).to_contain_text("Changes:")


def test_a_query_changes_the_list_and_can_be_removed(page: Page) -> None:
    first = titles(opened(page))
    query = page.get_by_label("What you want")
    query.fill(" ".join(first[-1].split()[1:]))
    expect(page.locator("#strategy")).to_have_text("query")
    page.locator("#request summary").click()
    expect(page.locator("#command")).to_contain_text('"query"')
    query.fill("")
    expect(page.locator("#strategy")).to_have_text("popular")
    assert titles(page) == first


def test_an_older_answer_never_follows_a_newer_one(page: Page) -> None:
    held: list[Route] = []

    def hold_the_old(route: Route) -> None:
        if "the old one" in (route.request.post_data or ""):
            held.append(route)
        else:
            route.continue_()

    opened(page)
    page.route(LISTS, hold_the_old)
    with page.expect_request(lambda request: "the old one" in (request.post_data or "")) as old:
        page.locator("#query").fill("the old one")
    page.locator("#query").fill("")
    with page.expect_event("requestfailed", lambda request: request == old.value):  # the page ended it itself
        add_first(page)
    newer = titles(page)
    for route in held:
        route.fulfill(json={"items": [], "strategy": "query", "run_id": "", "model_id": "", "warnings": []})
    expect(page.locator("#list")).to_have_attribute("aria-busy", "false")
    expect(page.locator("#strategy")).to_have_text("personalized")
    assert titles(page) == newer


def test_a_refused_user_id_is_an_error_and_the_old_list_stays(page: Page) -> None:
    before = titles(opened(page))
    page.get_by_text("User and key").click()
    user_id = page.get_by_label("User id")
    user_id.fill("u" * 300)
    error = page.get_by_role("alert")
    expect(error).to_contain_text("The service refused the request.")
    expect(error).to_contain_text("user_id")
    expect(user_id).to_have_attribute("aria-invalid", "true")
    assert titles(page) == before
    user_id.fill("")
    expect(page.locator("#error")).to_be_hidden()
    expect(user_id).not_to_have_attribute("aria-invalid", "true")


def test_a_key_is_asked_for_sent_and_not_stored(page: Page) -> None:
    replaced(page, LISTS, 401, "unauthorized", "Authorization", {"WWW-Authenticate": "Bearer"})
    page.goto("/")
    expect(page.get_by_role("alert")).to_contain_text("The service needs a key.")
    key = page.get_by_label("Key")
    expect(key).to_be_visible()
    page.unroute(LISTS)
    key.fill("schlüssel")  # no header can carry it
    expect(page.get_by_role("alert")).to_contain_text("no blanks, accents or emoji")
    with page.expect_request(LISTS) as asked:
        key.fill("a-key")
    assert asked.value.header_value("Authorization") == "Bearer a-key"
    expect(rows(page)).to_have_count(10)
    expect(page.locator("#error")).to_be_hidden()
    assert page.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0
    assert "a-key" not in page.locator("#command").inner_text()
    page.reload()
    expect(key).to_have_value("")


def test_too_much_load_says_when_to_try_again(page: Page) -> None:
    replaced(page, LISTS, 429, "too_many_requests", None, {"Retry-After": "7"})
    page.goto("/")
    expect(page.get_by_role("alert")).to_have_text("Too many requests. Wait 7 s, then try again.")
    page.unroute(LISTS)
    page.get_by_role("button", name="Try again").click()
    expect(rows(page)).to_have_count(10)
    expect(page.locator("#error")).to_be_hidden()


def test_a_broken_connection_is_an_error_of_lists_and_of_searches(page: Page) -> None:
    opened(page)
    page.route(SEARCHES, lambda route: route.abort())
    page.locator("#search").fill("lamp")
    expect(page.get_by_role("alert")).to_contain_text("The service cannot be reached")
    page.unroute(SEARCHES)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#error")).to_be_hidden()
    page.route(LISTS, lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>"))
    page.locator("#query").fill("lamp")
    expect(page.get_by_role("alert")).to_contain_text("The service failed. HTTP 502.")


def test_similar_items_are_shown_with_their_reasons(page: Page) -> None:
    title = titles(opened(page))[2]
    with page.expect_response(SIMILAR) as asked:
        rows(page).nth(2).get_by_role("button", name=f"Similar to {title}").click()
    panel = page.get_by_role("region", name=f"Similar to {title}")
    expect(panel.get_by_role("listitem")).to_have_count(10)
    expect(page.locator("#similar-heading")).to_be_focused()
    found = asked.value.json()["items"]
    assert panel.locator(".title").all_text_contents() == [item["title"] for item in found]
    assert panel.locator(".reason").all_text_contents() == [item["reason"] for item in found]
    expect(page.locator("#clicks > li")).to_have_count(0)  # looking is no click
    panel.get_by_role("button", name="Close").click()
    expect(panel).to_be_hidden()
    expect(page.locator("#list .like:focus")).to_have_count(1)
    replaced(page, SIMILAR, 404, "not_found", "item_id", {})
    rows(page).first.get_by_role("button", name="Similar").click()
    expect(page.locator("#similar-status")).to_have_text("Not found: as the service says it.")


def test_a_known_user_is_looked_up(page: Page, one_night: tuple[Any, Any]) -> None:
    user = pq.read_table(one_night[0] / "histories" / one_night[1]["run_id"], columns=["user_id"])["user_id"][0].as_py()
    opened(page).get_by_role("link", name="Known user").click()
    expect(page.locator("#session-view")).to_be_hidden()
    page.get_by_label("Id of the user").fill(user)
    with page.expect_response(EXPLANATIONS) as asked:
        page.get_by_role("button", name="Look up").click()
    answer = asked.value.json()
    items = page.locator("#explained > li")
    expect(items).to_have_count(len(answer["items"]))
    assert items.locator(".title").all_text_contents() == [item["title"] for item in answer["items"]]
    assert page.locator("#history .title").all_text_contents() == [event["title"] for event in answer["history"]]
    first = answer["items"][0]["contributions"]
    shown = {
        name: f"{'−' if value < 0 else '+'}{abs(value):.2f}" for name, value in first.items() if abs(value) >= 0.005
    }
    signals = items.first.locator(".signal").all_text_contents()
    assert dict(zip(signals, items.first.locator(".score").all_text_contents(), strict=True)) == shown
    lengths = items.first.locator(".bar").evaluate_all(
        "bars => bars.map(bar => Number(bar.style.getPropertyValue('--length')))"
    )
    largest = max(abs(value) for item in answer["items"] for value in item["contributions"].values())
    assert lengths == pytest.approx([abs(first[name]) / largest for name in signals], abs=1e-3)
    page.get_by_label("Id of the user").fill("nobody")
    page.keyboard.press("Enter")
    expect(page.locator("#user-status")).to_contain_text("Not found: the run")
    expect(page.locator("#explained-part")).to_be_hidden()
    page.get_by_role("link", name="Session").click()
    expect(rows(page)).to_have_count(10)


@pytest.mark.parametrize("width", [390, 1280])
def test_both_views_fit_every_width(page: Page, width: int, one_night: tuple[Any, Any]) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    opened(page)
    rows(page).first.get_by_role("button", name="Similar").click()
    expect(page.locator("#similar-items > li")).to_have_count(10)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    user = pq.read_table(one_night[0] / "histories" / one_night[1]["run_id"], columns=["user_id"])["user_id"][0].as_py()
    page.get_by_role("link", name="Known user").click()
    page.get_by_label("Id of the user").fill(user)
    page.keyboard.press("Enter")
    expect(page.locator("#explained > li").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    small = page.locator("button:visible, input:visible, a:visible").evaluate_all(
        "targets => targets.filter(each => each.getBoundingClientRect().height < 44 && !each.matches('.skip'))"
        ".map(each => each.outerHTML)"
    )
    assert small == []


def test_titles_with_markup_are_shown_as_text(page: Page) -> None:
    hostile = "<img src=x onerror=alert(1)><b>bold</b>"

    def with_hostile_texts(route: Route) -> None:
        response = route.fetch()
        answer = response.json()
        answer["items"][0] |= {"title": hostile, "reason": hostile, "source": hostile}
        route.fulfill(response=response, json=answer | {"warnings": [hostile]})

    page.route(LISTS, with_hostile_texts)
    opened(page)
    assert titles(page)[0] == hostile
    expect(page.locator("#warnings > li")).to_have_text(hostile)
    rows(page).first.get_by_role("button", name="to your clicks").click()
    expect(page.locator("#clicks > li")).to_contain_text(hostile)
    expect(page.locator("#strategy")).to_have_text("personalized")  # the last answer has arrived
    expect(page.locator("main img, main b")).to_have_count(0)


def test_the_keyboard_is_enough(page: Page) -> None:
    word = titles(opened(page))[0].split()[-1]
    press = page.keyboard.press

    def tab_to(selector: str) -> None:
        for _ in range(40):
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
            press("Tab")
        pytest.fail(f"Tab does not come to {selector}")

    tab_to("#search")
    page.keyboard.type(word)
    expect(page.get_by_role("option").first).to_be_visible()
    box = page.get_by_role("combobox", name="Add a clicked item")
    press("ArrowDown")
    expect(box).to_have_attribute("aria-activedescendant", "found-0")
    expect(page.get_by_role("listbox").get_by_role("option", selected=True)).to_have_count(1)
    press("Escape")
    expect(box).to_have_attribute("aria-expanded", "false")
    press("ArrowDown")
    press("Enter")
    expect(page.locator("#clicks > li")).to_have_count(1)
    expect(box).to_be_focused()
    expect(page.locator("#list")).to_have_attribute("aria-busy", "false")
    tab_to("#list button")
    outline = page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth)")
    assert outline >= 2, "the focus must be visible"
    press("Enter")
    expect(page.locator("#clicks > li")).to_have_count(2)
    expect(page.locator("#list")).to_have_attribute("aria-busy", "false")
    expect(page.locator("#list button:focus")).to_have_count(1)  # the new list keeps the focus at the same place
    page.locator("#clicks button").first.focus()
    press("Enter")
    expect(page.locator("#clicks > li")).to_have_count(1)
    expect(page.locator("#clicks button")).to_be_focused()
    press("Enter")
    expect(page.locator("#clicks > li")).to_have_count(0)
    expect(box).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 700, 1280])
def test_every_width_fits_without_horizontal_scrolling(page: Page, width: int, scheme: Any) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    opened(page)
    add_first(page)
    page.get_by_text("User and key").click()
    page.locator("#request summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    small = page.locator("button:visible, input:visible, select:visible, summary:visible").evaluate_all(
        "targets => targets.filter(each => each.getBoundingClientRect().height < 44).map(each => each.outerHTML)"
    )
    assert small == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (sum(ground) / 3 < 64) == (scheme == "dark")


def test_everything_that_takes_input_has_a_name(page: Page) -> None:
    opened(page)
    page.get_by_text("User and key").click()
    named = "element => (element.labels?.[0] ?? element).textContent.trim()"
    for element in page.locator("input, select, button:visible, summary, a").all():
        assert element.evaluate(named), element.evaluate("element => element.outerHTML")
