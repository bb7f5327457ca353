// The page's one way through: what is known → ask → show. Whatever is known lives in this page's memory alone.

import { findItems, Latest, recommend } from "./api.js";
import { clickList } from "./clicks.js";
import { afterPause, byId } from "./dom.js";
import { faultBox } from "./faults.js";
import { recommendedList } from "./list.js";
import { movesOf, told } from "./moves.js";
import { showCommand, showOrigin } from "./origin.js";
import { searchBox } from "./search.js";

const PAUSE_MS = 350;
const NUM_FOUND = 10;

const latest = new Latest();
const tell = faultBox(() => {
  search.again();
  ask();
});
const clicks = clickList(() => ask());
const list = recommendedList((item) => clicks.add(item));
const askAfterPause = afterPause(PAUSE_MS, () => ask());
/** Ids of the list that is shown, by rank, and how long it was asked to be. */
let shown = null;
let shownLength = 0;

function known() {
  const body = { k: Number(byId("length").value) };
  const history = clicks.history();
  const query = byId("query").value.trim();
  const userId = byId("user-id").value.trim();
  if (history.length) body.history = history;
  if (query) body.query = query;
  if (userId) body.user_id = userId;
  return body;
}

const key = () => byId("key").value.trim();

async function ask() {
  askAfterPause.cancel();
  const body = known();
  showCommand(body, key() !== "");
  list.wait(true);
  try {
    const answer = await latest.run((signal) => recommend(body, key(), signal));
    if (answer === undefined) return; // a newer request shows its own
    tell("list", null);
    show(answer, body.k);
  } catch (fault) {
    tell("list", fault);
    byId("change").textContent = shown === null ? "" : "Below is the list before.";
  }
  list.wait(false);
}

function show(answer, length) {
  const ids = answer.items.map((item) => item.item_id);
  // beside a list of another length, what was only cut off would look new
  const moves = movesOf(shownLength === length ? shown : null, ids);
  list.show(answer.items, moves);
  showOrigin(answer);
  byId("change").textContent = told(moves) || "Add an item, or say what you look for: the list follows.";
  shown = ids;
  shownLength = length;
}

const search = searchBox(
  (text, signal) => findItems(text, NUM_FOUND, key(), signal),
  (item) => clicks.add(item),
  (fault) => tell("search", fault),
);
for (const id of ["query", "user-id", "key"]) {
  byId(id).addEventListener("input", askAfterPause);
  byId(id).addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.isComposing) ask();
  });
}
byId("length").addEventListener("change", () => ask());
ask();
