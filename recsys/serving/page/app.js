// The page: session → request → list. The session is only in the memory of this page.

import { explainUser, findItems, LatestRequest, recommend, similarItems } from "./api.js";
import { clickList } from "./clicks.js";
import { afterPause, byId } from "./dom.js";
import { errorBox } from "./error_box.js";
import { recommendedList } from "./list.js";
import { movesOf, summary } from "./moves.js";
import { showCommand, showOrigin } from "./origin.js";
import { searchBox } from "./search.js";
import { similarPanel } from "./similar.js";
import { userView } from "./user.js";
import { viewSwitch } from "./views.js";

const PAUSE_MS = 350;
const NUM_FOUND = 10;
const NUM_SIMILAR = 10;

const latest = new LatestRequest();
const report = errorBox(() => {
  search.again();
  ask();
});
const clicks = clickList(() => ask());
const similar = similarPanel((itemId, signal) => similarItems(itemId, NUM_SIMILAR, key(), signal));
const list = recommendedList((item) => clicks.add(item), (item) => similar.show(item));
const askAfterPause = afterPause(PAUSE_MS, () => ask());
/** Ids of the shown list, by rank, and the length that was asked for. */
let shown = null;
let shownLength = 0;

function requestBody() {
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
  const body = requestBody();
  showCommand(body, key() !== "");
  list.wait(true);
  try {
    const answer = await latest.run((signal) => recommend(body, key(), signal));
    if (answer === undefined) return; // a newer request shows its list
    report("list", null);
    show(answer, body.k);
  } catch (error) {
    report("list", error);
    byId("change").textContent = shown === null ? "" : "The list below is from before.";
  }
  list.wait(false);
}

function show(answer, length) {
  const ids = answer.items.map((item) => item.item_id);
  // compared with a shorter list, items below its end would look new
  const moves = movesOf(shownLength === length ? shown : null, ids);
  list.show(answer.items, moves);
  showOrigin(answer);
  byId("change").textContent = summary(moves) || "Add an item or describe what you want to change the list.";
  shown = ids;
  shownLength = length;
}

const search = searchBox(
  (text, signal) => findItems(text, NUM_FOUND, key(), signal),
  (item) => clicks.add(item),
  (error) => report("search", error),
);
for (const id of ["query", "user-id", "key"]) {
  byId(id).addEventListener("input", askAfterPause);
  byId(id).addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.isComposing) ask();
  });
}
byId("length").addEventListener("change", () => ask());
userView((userId, signal) => explainUser(userId, key(), signal));
viewSwitch();
ask();
