// Compares two lists: which items are new, and how many places the others moved.

/**
 * @param {string[] | null} before ids by rank; null: there is no list before
 * @param {string[]} now ids by rank
 * @returns {Map<string, {kind: "new" | "up" | "down" | "same", places: number}>} for each item now; empty
 *   without a list before
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

/** A sentence about the changes; "" without a list before. */
export function summary(moves) {
  if (moves.size === 0) return "";
  const counts = { new: 0, up: 0, down: 0 };
  for (const { kind } of moves.values()) if (kind in counts) counts[kind] += 1;
  const parts = Object.entries(counts).filter(([, count]) => count > 0);
  if (parts.length === 0) return "The list is the same as before.";
  return `Changes: ${parts.map(([kind, count]) => `${count} ${kind}`).join(", ")}.`;
}
