"""Why the lists of known users are empty: what they have seen, and what the item rules leave out."""

from collections.abc import Mapping, Sequence
from typing import Any

from jobs.user_ids import read_histories
from recsys.storage.runs import RunFolder


def why_empty(run: RunFolder, manifest: Mapping[str, Any], user_ids: Sequence[str]) -> dict[str, str]:
    """The reason for each of these users, who have no list.

    Raises:
        InputError: the run knew nothing of a user.
    """
    config = manifest["config"]
    histories = read_histories(run, user_ids, config["histories"]["shards"])
    offered = _offered(manifest)
    exclude_seen = config.get("recommend", {}).get("exclude_seen", True)
    reasons = {}
    users = histories["user_id"].to_pylist()
    for user, seen in zip(users, histories["seen_item_ids"].combine_chunks(), strict=True):
        had = (
            f"; the user has seen {len(seen):,} items, which recommend.exclude_seen leaves out" if exclude_seen else ""
        )
        reasons[user] = f"no item is left{had}; {offered}"
    return reasons


def why_all_empty(manifest: Mapping[str, Any]) -> str:
    """The reason for a night in which no user has a list."""
    without = manifest.get("metrics", {}).get("recommend", {}).get("users_without_list", 0)
    if not without:
        return "no user has a list: there are neither events nor profiles of users; the live service answers by text"
    return (
        f"no user has a list: for none of the {without:,} users an item is left that is not seen; {_offered(manifest)}"
    )


def _offered(manifest: Mapping[str, Any]) -> str:
    """What the item rules left of the catalog, in words."""
    counts = manifest.get("metrics", {}).get("recommend", {}).get("filtered", {})
    if not counts:
        return "the run has no counts of its item rules"
    removed = [f"{name} {num:,}" for name, num in counts.items() if name not in ("items", "recommendable") and num]
    left_out = f" (left out: {', '.join(removed)})" if removed else ""
    return f"of the {counts['items']:,} items of the catalog {counts['recommendable']:,} may be recommended{left_out}"
