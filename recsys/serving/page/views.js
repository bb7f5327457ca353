// The two views of the page, by the hash of its address.

import { byId } from "./dom.js";

const VIEWS = { session: "list-heading", user: "user-heading" };

export function viewSwitch() {
  function show(focus) {
    const chosen = location.hash === "#user" ? "user" : "session";
    for (const name of Object.keys(VIEWS)) {
      byId(`${name}-view`).hidden = name !== chosen;
      if (name === chosen) byId(`to-${name}`).setAttribute("aria-current", "page");
      else byId(`to-${name}`).removeAttribute("aria-current");
    }
    if (focus) byId(VIEWS[chosen]).focus();
  }
  addEventListener("hashchange", () => {
    if (location.hash === "" || location.hash.slice(1) in VIEWS) show(true);
  });
  show(false);
}
