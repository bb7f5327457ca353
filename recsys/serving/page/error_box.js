// Shows what went wrong. An error of one source ("list" or "search") stays until that source succeeds, or until another
// source with the same kind of error succeeds.

import { byId } from "./dom.js";

const TITLES = {
  unauthorized: "The service needs a key.",
  invalid: "The service refused the request.",
  too_many_requests: "Too many requests.",
  not_ready: "The service is not ready.",
  too_slow: "The service is busy.",
  too_large: "The request is too large.",
  not_found: "Not found:",
  unreadable: "Not readable:",
  unreachable: "The service cannot be reached:",
  timeout: "The service is slow:",
};
/** Field of an error → the id of its input. */
const INPUTS = { user_id: "user-id", query: "query", search: "search", Authorization: "key" };

/** @param {() => void} retry sends the requests again */
export function errorBox(retry) {
  const errors = new Map();
  byId("retry").addEventListener("click", retry);

  /** Shows the error of a source; null: the source succeeded. */
  return function report(source, error) {
    const before = errors.get(source)?.code;
    for (const [other, { code }] of errors) if (other === source || code === before) errors.delete(other);
    if (error) errors.set(source, error);
    const [first] = errors.values();
    const box = byId("error");
    box.hidden = !first;
    byId("error-title").textContent = first ? (TITLES[first.code] ?? "The service failed.") : "";
    byId("error-message").textContent = first ? words(first) : "";
    const wrong = new Set([...errors.values()].map((each) => INPUTS[each.field]));
    for (const id of Object.values(INPUTS)) mark(byId(id), wrong.has(id));
    if (wrong.has("key") || wrong.has("user-id")) byId("who").open = true;
  };
}

/** The title and the sentence for an error, as one text. */
export const errorText = (error) => `${TITLES[error.code] ?? "The service failed."} ${words(error)}`;

function words({ code, message, retryAfterS }) {
  if (code === "unauthorized") return `Enter it under “User and key”: ${message}.`;
  if (code === "too_many_requests" && retryAfterS) return `Wait ${retryAfterS} s, then try again.`;
  const end = /[.!?]$/.test(message) ? "" : ".";
  return `${message}${end}${retryAfterS ? ` Try again in ${retryAfterS} s.` : ""}`;
}

function mark(input, wrong) {
  if (wrong) {
    input.setAttribute("aria-invalid", "true");
    input.setAttribute("aria-errormessage", "error-words");
  } else {
    input.removeAttribute("aria-invalid");
    input.removeAttribute("aria-errormessage");
  }
}
