// Where a list comes from: how it came about, of which night, how old that is, and what of the request was ignored.

import { byId, make } from "./dom.js";

const STRATEGIES = {
  precomputed: "the night's own list",
  personalized: "ranked now, for what is known of you",
  query: "ranked now, for what you look for",
  popular: "nothing is known of you yet",
};
const OLD_S = 2 * 86_400;

/** @param {{strategy: string, run_id: string, model_id: string, snapshot_age_s: number, warnings: string[]}} answer */
export function showOrigin(answer) {
  byId("origin").hidden = false;
  byId("strategy").textContent = answer.strategy;
  byId("strategy-words").textContent = STRATEGIES[answer.strategy] ?? "";
  byId("run-id").textContent = answer.run_id;
  byId("run-id").title = `model ${answer.model_id}`;
  byId("age").textContent = age(answer.snapshot_age_s);
  byId("age").className = answer.snapshot_age_s > OLD_S ? "old" : "";
  byId("warnings").replaceChildren(...answer.warnings.map((textContent) => make("li", { textContent })));
}

/** In the largest unit of which there are two, so that it never says "1 day" of 47 hours. */
export function age(seconds) {
  const units = [[86_400, "days"], [3600, "hours"], [60, "minutes"]];
  const [size, name] = units.find(([each]) => seconds >= 2 * each) ?? [0, ""];
  return size ? `${Math.floor(seconds / size)} ${name} ago` : "just now";
}

/** The request as a command; the key is left to whoever runs it. */
export function showCommand(body, hasKey) {
  const quoted = JSON.stringify(body).replaceAll("'", "'\\''");
  const lines = [`curl ${new URL("v1/recommendations", document.baseURI)}`, "-H 'Content-Type: application/json'"];
  if (hasKey) lines.push('-H "Authorization: Bearer $KEY"');
  byId("command").textContent = [...lines, `-d '${quoted}'`].join(" \\\n  ");
}
