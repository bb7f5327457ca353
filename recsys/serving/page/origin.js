// Shows where a list comes from: the strategy, the run and its age, and what was ignored in the request.

import { byId, make } from "./dom.js";

const STRATEGIES = {
  precomputed: "the list of the nightly run",
  personalized: "ranked now for your session",
  query: "ranked now for your search",
  popular: "because your session is empty",
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
