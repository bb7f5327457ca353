// What went wrong, told in one place; an asker's fault stays until it, or another that failed the same way, fares well.

import { byId } from "./dom.js";

const TITLES = {
  unauthorized: "The service asks for a key.",
  invalid: "The service refused this.",
  too_many_requests: "Too many requests.",
  not_ready: "No list can be made yet.",
  too_slow: "The service is busy.",
  too_large: "That is too much at once.",
  unreachable: "The service cannot be reached:",
  timeout: "The service is slow:",
};
/** Field of a fault → the input that it is about. */
const INPUTS = { user_id: "user-id", query: "query", search: "search", Authorization: "key" };

/** @param {() => void} retry asks again */
export function faultBox(retry) {
  const faults = new Map();
  byId("retry").addEventListener("click", retry);

  return function tell(asker, fault) {
    const mended = faults.get(asker)?.code;
    for (const [other, { code }] of faults) if (other === asker || code === mended) faults.delete(other);
    if (fault) faults.set(asker, fault);
    const [first] = faults.values();
    const box = byId("fault");
    box.hidden = !first;
    byId("fault-title").textContent = first ? (TITLES[first.code] ?? "The service failed.") : "";
    byId("fault-message").textContent = first ? words(first) : "";
    const wrong = new Set([...faults.values()].map((each) => INPUTS[each.field]));
    for (const id of Object.values(INPUTS)) mark(byId(id), wrong.has(id));
    if (wrong.has("key") || wrong.has("user-id")) byId("who").open = true;
  };
}

function words({ code, message, retryAfterS }) {
  if (code === "unauthorized") return `Enter it under “Who asks”; ${message}.`;
  if (code === "too_many_requests" && retryAfterS) return `Wait ${retryAfterS} s, then try again.`;
  const end = /[.!?]$/.test(message) ? "" : ".";
  return `${message}${end}${retryAfterS ? ` Try again in ${retryAfterS} s.` : ""}`;
}

function mark(input, wrong) {
  if (wrong) {
    input.setAttribute("aria-invalid", "true");
    input.setAttribute("aria-errormessage", "fault-words");
  } else {
    input.removeAttribute("aria-invalid");
    input.removeAttribute("aria-errormessage");
  }
}
