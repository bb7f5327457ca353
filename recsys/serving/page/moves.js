// How one list became the next; it knows ids and places, no page.

/**
 * @param {string[] | null} before ids by rank; null: there is nothing to compare with
 * @param {string[]} now ids by rank
 * @returns {Map<string, {kind: "new" | "up" | "down" | "same", places: number}>} of each item now; empty without a
 *   list before
 */
export function movesOf(before, now) {
  if (before === null) return new Map();
  const places = new Map(before.map((id, place) => [id, place]));
  return new Map(
    now.map((id, place) => {
      if (!places.has(id)) return [id, { kind: "new", places: 0 }];
      const risen = places.get(id) - place;
      return [id, { kind: risen > 0 ? "up" : risen < 0 ? "down" : "same", places: Math.abs(risen) }];
    }),
  );
}

/** What changed, in a sentence; "" without a list before. */
export function told(moves) {
  if (moves.size === 0) return "";
  const counts = { new: 0, up: 0, down: 0 };
  for (const { kind } of moves.values()) if (kind in counts) counts[kind] += 1;
  const parts = Object.entries(counts).filter(([, count]) => count > 0);
  if (parts.length === 0) return "The same as before.";
  return `Since the list before: ${parts.map(([kind, count]) => `${count} ${kind}`).join(", ")}.`;
}
