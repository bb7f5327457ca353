// Shows the recommended items. An item keeps its element from list to list, so that people see it move.

import { byId, make, spoken } from "./dom.js";

const MOVE_MS = 320;
const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

/**
 * @param {(item: {item_id: string, title: string}) => void} add
 * @param {(item: {item_id: string, title: string}) => void} similar
 */
export function recommendedList(add, similar) {
  const list = byId("list");
  const rows = new Map();

  /**
   * @param {{item_id: string, rank: number, score: number, title: string, reason: string, source: string}[]} items
   * @param {ReturnType<typeof import("./moves.js").movesOf>} moves
   */
  function show(items, moves) {
    const focus = focused();
    const tops = new Map([...rows].map(([id, row]) => [id, row.element.getBoundingClientRect().top]));
    const kept = new Set(items.map((item) => item.item_id));
    for (const id of rows.keys()) if (!kept.has(id)) rows.delete(id);
    for (const item of items) {
      if (!rows.has(item.item_id)) rows.set(item.item_id, newRow(add, similar));
      fill(rows.get(item.item_id), item, moves.get(item.item_id), items[0].score);
    }
    list.replaceChildren(...items.map((item) => rows.get(item.item_id).element));
    byId("no-items").hidden = items.length > 0;
    if (focus) refocus(focus);
    if (reducedMotion.matches) return;
    for (const { item_id } of items) glide(rows.get(item_id).element, tops.get(item_id), tops.size);
  }

  function focused() {
    const element = document.activeElement;
    if (!list.contains(element)) return null;
    const row = element.closest("li");
    return { row, place: [...list.children].indexOf(row), byKeyboard: element.matches(":focus-visible") };
  }

  /** Focuses the same item again, or the item in its place. */
  function refocus({ row, place, byKeyboard }) {
    const target = row.isConnected ? row : list.children[Math.min(place, list.children.length - 1)];
    (target?.querySelector("button") ?? byId("search")).focus({ preventScroll: !byKeyboard });
  }

  return {
    show,
    /** Marks whether a newer list is being loaded. */
    wait: (waiting) => list.setAttribute("aria-busy", String(waiting)),
  };
}

function newRow(add, similar) {
  const part = (className, tag = "span") => make(tag, { className });
  const row = {
    rank: part("rank"), move: part("move"), title: part("title"), reason: part("reason"),
    source: part("source"), score: part("score"), share: part("share"), button: part("add", "button"), like: part("like", "button"), item: null,
  };
  row.title.dir = row.reason.dir = "auto"; // the catalog may be in a language that is written from right to left
  row.button.type = row.like.type = "button";
  row.button.addEventListener("click", () => add({ item_id: row.item.item_id, title: row.item.title }));
  row.like.addEventListener("click", () => similar({ item_id: row.item.item_id, title: row.item.title }));
  row.element = make(
    "li", {},
    make("div", { className: "place" }, row.rank, row.move),
    make("div", { className: "words" }, row.title, row.reason),
    make("div", { className: "why" }, row.source, row.score, row.share),
    make("div", { className: "actions" }, row.button, row.like),
  );
  return row;
}

function fill(row, item, move, best) {
  const name = item.title || item.item_id;
  row.item = item;
  row.element.dataset.itemId = item.item_id;
  row.rank.textContent = item.rank;
  row.move.className = `move ${move?.kind ?? ""}`;
  row.move.replaceChildren(...marker(move));
  row.title.textContent = name;
  row.reason.textContent = item.reason;
  row.source.textContent = item.source;
  row.source.dataset.source = item.source;
  row.score.replaceChildren(spoken("score "), item.score.toFixed(2).replace("-", "−"));
  row.score.title = "log P(item): closer to 0 is more likely. The bar is P, as a share of the first item's P.";
  row.share.style.setProperty("--share", Math.min(1, Math.exp(item.score - best)));
  row.button.replaceChildren("Add", spoken(` ${name} to your clicks`));
  row.like.replaceChildren("Similar", spoken(` to ${name}`));
}

function marker(move) {
  if (!move || move.kind === "same") return [];
  if (move.kind === "new") return ["new"];
  const shown = make("span", { ariaHidden: "true", textContent: `${move.kind === "up" ? "▲" : "▼"}${move.places}` });
  return [shown, spoken(`${move.kind} ${move.places}`)];
}

/** Animates a row from its old place to its new place. A new row fades in, except in the first list of the page. */
function glide(element, top, numBefore) {
  const timing = { duration: MOVE_MS, easing: "cubic-bezier(.2, .7, .2, 1)" };
  if (top === undefined) {
    if (numBefore) element.animate({ opacity: [0, 1] }, timing);
    return;
  }
  const way = top - element.getBoundingClientRect().top;
  if (way) element.animate({ transform: [`translateY(${way}px)`, "none"] }, timing);
}
