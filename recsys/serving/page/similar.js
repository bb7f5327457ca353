// Shows the items that go with an item, below the list.

import { LatestRequest } from "./api.js";
import { byId, make, spoken } from "./dom.js";
import { errorText } from "./error_box.js";

/** @param {(itemId: string, signal: AbortSignal) => Promise<{items: object[]}>} find */
export function similarPanel(find) {
  const latest = new LatestRequest();
  let opener = null;

  byId("close-similar").addEventListener("click", () => {
    latest.cancel();
    byId("similar").hidden = true;
    (opener?.isConnected ? opener : byId("search")).focus();
  });

  return {
    /** @param {{item_id: string, title: string}} item */
    async show(item) {
      const name = item.title || item.item_id;
      opener = document.activeElement;
      byId("similar").hidden = false;
      byId("similar-heading").textContent = `Similar to ${name}`;
      byId("similar-items").replaceChildren();
      byId("similar-status").textContent = "Loading …";
      byId("similar-heading").focus();
      try {
        const answer = await latest.run((signal) => find(item.item_id, signal));
        if (answer === undefined) return;
        byId("similar-items").replaceChildren(...answer.items.map(row));
        byId("similar-status").textContent = answer.items.length
          ? "What people who take this item are likely to take next."
          : "Nothing goes with this item.";
      } catch (error) {
        byId("similar-status").textContent = errorText(error);
      }
    },
  };
}

function row(item) {
  const score = make("span", { className: "score" }, spoken("score "), item.score.toFixed(2).replace("-", "−"));
  const source = make("span", { className: "source", textContent: item.source });
  const words = [
    make("span", { className: "title", dir: "auto", textContent: item.title || item.item_id }),
    make("span", { className: "reason", dir: "auto", textContent: item.reason }),
  ];
  return make(
    "li", {},
    make("div", { className: "place" }, make("span", { className: "rank", textContent: item.rank })),
    make("div", { className: "words" }, ...words),
    make("div", { className: "why" }, source, score),
  );
}
