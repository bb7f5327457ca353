// The search box for items of the catalog: a combobox with a list that the arrow keys move through.

import { LatestRequest } from "./api.js";
import { afterPause, byId, make } from "./dom.js";

const PAUSE_MS = 180;

/**
 * @param {(text: string, signal: AbortSignal) => Promise<{items: {item_id: string, title: string}[]}>} find
 * @param {(item: {item_id: string, title: string}) => void} choose
 * @param {(error: import("./api.js").ServiceError | null) => void} report null: the search succeeded
 */
export function searchBox(find, choose, report) {
  const box = byId("search");
  const list = byId("found");
  const status = byId("found-status");
  const latest = new LatestRequest();
  let items = [];
  let foundFor = "";
  let active = -1;

  async function look() {
    const text = box.value.trim();
    if (!text) return forget();
    try {
      const found = await latest.run((signal) => find(text, signal));
      if (found === undefined) return;
      report(null);
      open(found.items, text);
    } catch (error) {
      close();
      report(error);
    }
  }
  const lookAfterPause = afterPause(PAUSE_MS, look);

  function open(found, text) {
    items = found;
    foundFor = text;
    list.replaceChildren(...items.map(option));
    point(-1);
    show(items.length > 0 && document.activeElement === box);
    status.textContent = items.length
      ? `${items.length} found. Choose with ↓ and Enter.`
      : `No title contains “${text}”.`;
  }

  function option(item, place) {
    const textContent = item.title || item.item_id;
    const row = make("li", { id: `found-${place}`, role: "option", ariaSelected: "false", textContent });
    row.addEventListener("pointerdown", (event) => event.preventDefault()); // keeps the focus in the box
    row.addEventListener("click", () => take(place));
    return row;
  }

  function show(shown) {
    list.hidden = !shown;
    box.ariaExpanded = String(shown);
  }

  function close() {
    lookAfterPause.cancel();
    latest.cancel();
    point(-1);
    show(false);
    status.textContent = "";
  }

  function forget() {
    box.value = "";
    items = [];
    close();
    report(null);
  }

  function point(place) {
    list.children[active]?.setAttribute("aria-selected", "false");
    active = place;
    const row = list.children[active];
    row?.setAttribute("aria-selected", "true");
    row?.scrollIntoView({ block: "nearest" });
    if (row) box.setAttribute("aria-activedescendant", row.id);
    else box.removeAttribute("aria-activedescendant");
  }

  function take(place) {
    const item = items[place];
    forget();
    choose(item);
  }

  box.addEventListener("input", () => {
    if (box.value.trim()) lookAfterPause();
    else forget();
  });
  box.addEventListener("focus", () => show(items.length > 0));
  box.addEventListener("blur", () => {
    point(-1);
    show(false);
  });
  box.addEventListener("keydown", (event) => {
    if (event.isComposing) return; // an input method uses the keys
    const count = items.length;
    const moves = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in moves && count) {
      event.preventDefault();
      show(true);
      // after the last option comes the box itself, then the first option
      point(((active + 1 + moves[event.key] + count + 1) % (count + 1)) - 1);
    } else if (event.key === "Enter" && !list.hidden) {
      event.preventDefault();
      // without a marked option, Enter takes the first, if it was found for the present text
      if (active >= 0 || foundFor === box.value.trim()) take(Math.max(active, 0));
    } else if (event.key === "Escape") {
      event.preventDefault();
      if (list.hidden) forget();
      else close();
    }
  });

  return { again: look };
}
