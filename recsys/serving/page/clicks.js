// The clicks of this visit, oldest first, each of which can be taken back.

import { byId, heard, make } from "./dom.js";

/** @param {(clicks: {item_id: string, title: string}[]) => void} changed */
export function clickList(changed) {
  const list = byId("clicks");
  const clear = byId("clear");
  let clicks = [];

  function set(newer) {
    clicks = newer;
    list.replaceChildren(...clicks.map(row));
    clear.hidden = clicks.length < 2;
    byId("no-clicks").hidden = clicks.length > 0;
    changed(clicks);
  }

  function row(item, place) {
    const name = item.title || item.item_id;
    const cross = make("span", { ariaHidden: "true", textContent: "✕" });
    const remove = make("button", { type: "button", className: "remove" }, cross, heard(`Remove ${name}`));
    remove.addEventListener("click", () => {
      set(clicks.filter((_, other) => other !== place));
      const buttons = list.querySelectorAll("button");
      (buttons[Math.min(place, buttons.length - 1)] ?? byId("search")).focus({ preventScroll: true });
    });
    return make("li", {}, make("span", { textContent: name }), remove);
  }

  clear.addEventListener("click", () => {
    set([]);
    byId("search").focus({ preventScroll: true });
  });

  return {
    /** An item that was clicked before moves to the end: it is the newest now. */
    add(item) {
      set([...clicks.filter((click) => click.item_id !== item.item_id), item]);
      list.lastElementChild.scrollIntoView({ block: "nearest" });
    },
    /** What the service is told, oldest first. */
    history: () => clicks.map(({ item_id }) => ({ item_id })),
  };
}
