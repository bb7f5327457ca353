// Shows where a list comes from: the strategy, the run and its age, what was ignored in the request, and what a search
// excluded.

import { byId, make } from "./dom.js";

const STRATEGIES = {
  precomputed: "the list of the nightly run",
  personalized: "ranked now for your session",
  query: "ranked now for your search",
  popular: "because your session is empty",
};
const OLD_S = 2 * 86_400;

/**
 * @typedef {{text: string, unwanted: string[], lowest: number | null, highest: number | null}} Understood
 * @param {{strategy: string, run_id: string, model_id: string, snapshot_age_s: number, warnings: string[],
 *   understood?: Understood | null}} answer
 */
export function showOrigin(answer) {
  byId("origin").hidden = false;
  byId("strategy").textContent = answer.strategy;
  byId("strategy-words").textContent = STRATEGIES[answer.strategy] ?? "";
  byId("run-id").textContent = answer.run_id;
  byId("run-id").title = `model ${answer.model_id}`;
  byId("age").textContent = age(answer.snapshot_age_s);
  byId("age").className = answer.snapshot_age_s > OLD_S ? "old" : "";
  const notes = answer.understood ? [understoodWords(answer.understood), ...answer.warnings] : answer.warnings;
  byId("warnings").replaceChildren(...notes.map((textContent) => make("li", { textContent })));
}

/** What a search excluded, in words. @param {Understood} understood */
export function understoodWords({ text, unwanted, lowest, highest }) {
  const parts = [
    text && `searched for “${text}”`,
    ...unwanted.map((phrase) => `without “${phrase}”`),
    lowest !== null && `price at least ${lowest.toFixed(2)}`,
    highest !== null && `price at most ${highest.toFixed(2)}`,
  ];
  return `The search was read as: ${parts.filter(Boolean).join(", ")}.`;
}

/** The age in the largest unit of which it has at least two, so that 47 hours are not shown as "1 day". */
export function age(seconds) {
  const units = [[86_400, "days"], [3600, "hours"], [60, "minutes"]];
  const [size, name] = units.find(([each]) => seconds >= 2 * each) ?? [0, ""];
  return size ? `${Math.floor(seconds / size)} ${name} ago` : "just now";
}

/** Shows the request as a command. The key is not shown: the user sets it in $KEY. */
export function showCommand(body, hasKey) {
  const quoted = JSON.stringify(body).replaceAll("'", "'\\''");
  const lines = [`curl ${new URL("v1/recommendations", document.baseURI)}`, "-H 'Content-Type: application/json'"];
  if (hasKey) lines.push('-H "Authorization: Bearer $KEY"');
  byId("command").textContent = [...lines, `-d '${quoted}'`].join(" \\\n  ");
}
