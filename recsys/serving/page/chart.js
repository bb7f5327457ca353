// Draws what each signal says for an item, as one bar a signal on both sides of a zero line.

import { make } from "./dom.js";

/** Below this, a number is shown as 0.00, so its bar is left out. */
const SMALLEST = 0.005;

/**
 * @param {Record<string, number>} contributions nats by the name of the signal
 * @param {number} largest the largest of all numbers of the list: bars of several items can be compared
 */
export function signalChart(contributions, largest) {
  const shown = Object.entries(contributions)
    .filter(([, value]) => Math.abs(value) >= SMALLEST)
    .sort(([, one], [, other]) => other - one);
  if (!shown.length) return make("p", { className: "hint", textContent: "No signal tells it from the others." });
  return make("ul", { className: "chart", ariaLabel: "What each signal says" }, ...shown.map(([name, value]) => line(name, value, largest)));
}

function line(name, value, largest) {
  const bar = make("span", { className: `bar ${value < 0 ? "minus" : "plus"}`, ariaHidden: "true" });
  bar.style.setProperty("--length", Math.min(1, Math.abs(value) / largest));
  const number = `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
  return make(
    "li", {},
    make("span", { className: "signal", textContent: name }),
    bar,
    make("span", { className: "score", textContent: number }),
  );
}
