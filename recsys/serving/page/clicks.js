// The clicks of this session, oldest first. Each click can be removed.

import { byId, make, spoken } from "./dom.js";

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
    const remove = make("button", { type: "button", className: "remove" }, cross, spoken(`Remove ${name}`));
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
    /** Adds a click. An item that was clicked before moves to the end, because it is the newest click now. */
    add(item) {
      set([...clicks.filter((click) => click.item_id !== item.item_id), item]);
      list.lastElementChild.scrollIntoView({ block: "nearest" });
    },
    /** The clicks as the service reads them, oldest first. */
    history: () => clicks.map(({ item_id }) => ({ item_id })),
  };
}
