// Looks a user of the nightly run up: the history, and the list with what each signal says for each item.

import { LatestRequest } from "./api.js";
import { signalChart } from "./chart.js";
import { byId, make } from "./dom.js";
import { errorText } from "./error_box.js";

const MOST_EVENTS = 50;

/** @param {(userId: string, signal: AbortSignal) => Promise<{history: object[], items: object[]}>} explain */
export function userView(explain) {
  const latest = new LatestRequest();
  byId("look-up").addEventListener("submit", async (event) => {
    event.preventDefault();
    const userId = byId("known-id").value.trim();
    if (!userId) return;
    byId("user-status").textContent = "Loading …";
    try {
      const answer = await latest.run((signal) => explain(userId, signal));
      if (answer === undefined) return;
      show(answer);
      byId("user-status").textContent = `User ${userId}: ${counted(answer.items.length, "item")} in the list.`;
    } catch (error) {
      hide(true);
      byId("user-status").textContent = errorText(error);
    }
  });
}

function hide(hidden) {
  byId("history-part").hidden = byId("explained-part").hidden = hidden;
}

function show({ history, items }) {
  hide(false);
  const more = history.length > MOST_EVENTS ? `, the newest ${MOST_EVENTS} of them` : "";
  byId("history-length").textContent = `${counted(history.length, "event")}${more}, newest first`;
  byId("history").replaceChildren(...history.slice(0, MOST_EVENTS).map(pastEvent));
  const largest = Math.max(...items.flatMap((item) => Object.values(item.contributions).map(Math.abs)), 1e-9);
  byId("explained").replaceChildren(...items.map((item) => explainedItem(item, largest)));
  byId("no-explained").hidden = items.length > 0;
}

const counted = (number, name) => `${number} ${name}${number === 1 ? "" : "s"}`;

function pastEvent({ title, event, timestamp }) {
  const time = new Date(timestamp);
  const day = Number.isNaN(time.getTime()) ? timestamp : time.toISOString().slice(0, 10);
  return make(
    "li", {},
    make("span", { className: "title", dir: "auto", textContent: title }),
    make("span", { className: "hint" }, make("span", { textContent: event }), " · ", make("time", { dateTime: timestamp, textContent: day })),
  );
}

function explainedItem(item, largest) {
  return make(
    "li", {},
    make("div", { className: "place" }, make("span", { className: "rank", textContent: item.rank })),
    make(
      "div", { className: "words" },
      make("span", { className: "title", dir: "auto", textContent: item.title || item.item_id }),
      make("span", { className: "reason", dir: "auto", textContent: item.reason }),
    ),
    signalChart(item.contributions, largest),
  );
}
