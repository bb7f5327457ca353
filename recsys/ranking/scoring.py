"""From histories to scored candidates: read a block of users, find candidates, measure the signals, fuse them.

Shapes: B users, C candidates, I items, S numbers of all signals.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.model.features import encode_histories, index_catalog, profile_texts
from recsys.ranking.candidates import find_candidates
from recsys.ranking.config import RecommendConfig
from recsys.ranking.constraints import RequestConstraints
from recsys.ranking.fusion import weigh
from recsys.ranking.rules.user_rule import UserActions
from recsys.ranking.snapshot import Snapshot
from recsys.signals.excluded import ExcludedItems
from recsys.signals.signal import NONE, Evidence
from recsys.signals.user_profiles import UserProfiles
from recsys.signals.users import UserBlock

#: Users who are scored together: so few that a CPU holds their matrices in its cache, and enough for a GPU.
CPU_USERS, GPU_USERS = 128, 1024

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class Scored:
    """The candidates of B users, and what the signals say for each."""

    items: Ints
    """[B, C] catalog indices, ascending, −1 for none."""
    numbers: Floats
    """[B, C, S] in the columns of the snapshot."""
    evidence: Mapping[str, Evidence]
    """By name of the signal; it explains the lists."""
    users: UserBlock
    searching: npt.NDArray[np.bool_]
    """[B] whether the request has a query."""
    removed: Mapping[str, int] = field(default_factory=dict)
    """Pairs of a user and an item that each user rule removed, and nothing before it."""
    lifts: Floats | None = None
    """[B, C] nats that user rules add to the scores; None: nothing."""

    @property
    def profiles(self) -> UserProfiles:
        """Of the same users."""
        return self.users.profiles


def scored_blocks(
    work: Callable[[Ints, Scored], _Result],
    snapshot: Snapshot,
    histories: pa.Table,
    config: RecommendConfig,
    now: npt.NDArray[np.float64],
    constraints: RequestConstraints | None = None,
) -> list[_Result]:
    """What ``work`` makes of each block of users, given the rows of its users in ``histories`` and their candidates.

    Each CPU of the worker takes an equal share of the users from the first step to the last, so that no CPU waits for
    another. Within a share, histories of similar length are read together, so that little padding is read.

    Args:
        work: A function of (rows of the users, their scored candidates).
        snapshot: The night.
        histories: HISTORIES table of B users.
        config: Candidates, what is left out, CPUs.
        now: [B] microseconds since 1970 at which each user is scored.
        constraints: Of the same users; None: there are none.
    """
    size = GPU_USERS if config.use_gpu else CPU_USERS

    def share(those: range) -> list[_Result]:
        part = histories.slice(those.start, len(those))
        asked = None if constraints is None else constraints.asked[those.start : those.stop]
        everyone = read_users(snapshot, part, config, now[those.start : those.stop], asked)
        actions = _actions(snapshot, part, everyone, asked)
        removed = {} if actions is None else _removed_by_rules(snapshot, actions, everyone)
        everyone = replace(everyone, excluded=everyone.excluded.united(removed.values()))
        order = np.argsort(everyone.history.lengths, kind="stable")

        def block(start: int) -> _Result:
            own = order[start : start + size]
            users = those.start + own
            scored = _score(snapshot, everyone, own, config, constraints and constraints.rows(users))
            counts = {name: len(pairs.of_users(own).items) for name, pairs in removed.items()}
            lifts = None if actions is None else _lifted_by_rules(snapshot, actions, own, scored.items)
            return work(users, replace(scored, removed=counts, lifts=lifts))

        return [block(start) for start in range(0, len(part), size)]

    num_shares = 1 if config.use_gpu else config.cpus_per_worker
    each = max(1, -(-len(histories) // num_shares))
    shares = [range(start, min(start + each, len(histories))) for start in range(0, len(histories), each)]
    if len(shares) <= 1:
        return [done for part in shares for done in share(part)]
    with ThreadPoolExecutor(len(shares)) as threads:
        return [done for part in threads.map(share, shares) for done in part]


def read_users(
    snapshot: Snapshot,
    histories: pa.Table,
    config: RecommendConfig,
    now: npt.NDArray[np.float64],
    asked: npt.NDArray[np.float64] | None,
) -> UserBlock:
    """All users of a HISTORIES table as the signals see them; arguments as in `scored_blocks`."""
    texts = snapshot.texts.texts if snapshot.reads_texts else None
    batch = encode_histories(histories, snapshot.item_ids, snapshot.event_kinds, snapshot.max_length, texts)
    descriptions = None if snapshot.fusion.trained else profile_texts(histories, texts)
    profiles = UserProfiles.build(
        histories,
        snapshot.item_ids,
        now,
        not config.exclude_seen,
        snapshot.texts,
        batch.lengths > 0,
        asked,
        descriptions,
    )
    excluded = left_out(histories, snapshot.item_ids, config)
    return UserBlock(profiles=profiles, history=batch, texts=snapshot.texts, now=now, excluded=excluded)


def _score(
    snapshot: Snapshot, everyone: UserBlock, own: Ints, config: RecommendConfig, constraints: RequestConstraints | None
) -> Scored:
    """The candidates of a block of users, and the numbers of all signals."""
    users = everyone.rows(own)
    also, given, searching = None, None, np.zeros(len(own), dtype=bool)
    if constraints is not None:
        users = users.excluding(constraints.excluded_pairs())
        also, given, searching = constraints.also, constraints.candidates, constraints.searching
    if len(wanted := snapshot.reranker.wanted):
        pinned = np.broadcast_to(wanted, (len(own), len(wanted)))
        also = pinned if also is None else np.concatenate([also, pinned], axis=1)
    evidence = {name: loaded.read(users) for name, loaded in snapshot.signals.items()}
    items = given
    if items is None:
        items = find_candidates(
            list(evidence.values()), config.candidates, snapshot.recommendable, snapshot.cold, users.excluded, also
        )
    numbers = _measured(snapshot, evidence, users, items)
    return Scored(items=items, numbers=numbers, evidence=evidence, users=users, searching=searching)


def _measured(snapshot: Snapshot, evidence: Mapping[str, Evidence], users: UserBlock, items: Ints) -> Floats:
    """[B, C, S] the numbers of all signals. Costly signals come last, and see the candidates that the others like."""
    numbers = np.zeros((*items.shape, len(snapshot.columns)), dtype=np.float32)
    costly = [name for name, loaded in snapshot.signals.items() if loaded.most_candidates is not None]
    for name, each in evidence.items():
        if name not in costly:
            numbers[:, :, snapshot.slices[name]] = _finite(snapshot, name, items, each.measure(items))
    if not costly:
        return numbers
    profiles, fusion = users.profiles, snapshot.fusion
    weights = fusion.of_users(snapshot.columns, profiles.lengths, profiles.in_session)
    scores = weigh(numbers, items >= 0, weights)
    for name in costly:
        most, own = snapshot.signals[name].most_candidates, snapshot.slices[name]
        assert most is not None, "it is costly"
        if fusion.trees is None and not weights[:, own].any():
            continue  # nothing would read the numbers
        place = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1)
        chosen = np.where(place < most, items, NONE)
        found = _finite(snapshot, name, chosen, evidence[name].measure(chosen))
        numbers[:, :, own] = np.where((chosen >= 0)[:, :, None], found, 0)
    return numbers


def _finite(snapshot: Snapshot, name: str, items: Ints, found: Floats) -> Floats:
    """[B, C, L] the numbers of a signal for items [B, C]; 0 in place of NaN where there is no candidate.

    Raises:
        ValueError: the signal gives a candidate a number that is NaN or infinite. It is a defect, such as of a plugin,
            that may show for some users only: these get popular items.
    """
    wrong = ~np.isfinite(found)
    if not wrong.any():
        return found
    of_candidates = np.argwhere(wrong & (items >= 0)[:, :, None])
    if len(of_candidates):
        user, place, column = of_candidates[0]
        raise ValueError(
            f"signal {name!r}: its number {snapshot.columns[snapshot.slices[name]][column]!r} is "
            f"{found[user, place, column]} for the item {snapshot.item_ids[items[user, place]].as_py()!r}; all numbers "
            f"of a signal must be finite: give 0 where it has nothing to say"
        )
    return np.where(wrong, np.float32(0), found)


def _actions(
    snapshot: Snapshot, histories: pa.Table, users: UserBlock, asked: npt.NDArray[np.float64] | None
) -> UserActions | None:
    """What the user rules read; None where none is on."""
    if not snapshot.reranker.removers and not snapshot.reranker.lifters:
        return None
    return UserActions.of(histories, snapshot.item_ids, users.now if asked is None else asked)


def _removed_by_rules(snapshot: Snapshot, actions: UserActions, users: UserBlock) -> dict[str, ExcludedItems]:
    """What each user rule removes that neither the settings nor a rule before it leave out."""
    known, removed = users.excluded, {}
    for name, remove in snapshot.reranker.removers.items():
        removed[name] = remove(actions).without(known)
        known = known.united([removed[name]])
    return removed


def _lifted_by_rules(snapshot: Snapshot, actions: UserActions, own: Ints, items: Ints) -> Floats | None:
    """[B, C] what user rules add to the scores of the candidates of a block of users.

    Args:
        snapshot: The night.
        actions: Of more users.
        own: [B] rows of the users of the block among these.
        items: [B, C] their candidates, ascending.

    Raises:
        ValueError: a rule adds NaN, or an infinite number, to the score of a candidate.
    """
    if not snapshot.reranker.lifters:
        return None
    total = np.zeros(items.shape, dtype=np.float32)
    width = len(snapshot.item_ids) + 1
    keys = ((np.arange(len(items)) * width)[:, None] + items + 1).ravel()
    place_of_user = np.full(actions.num_users, NONE)
    place_of_user[own] = np.arange(len(own))
    for name, lift in snapshot.reranker.lifters.items():
        found = lift(actions)
        rows = place_of_user[found.users]
        wanted = rows * width + found.items + 1
        places = np.minimum(np.searchsorted(keys, wanted), keys.size - 1)
        there = (rows >= 0) & (keys[places] == wanted)
        _require_finite(snapshot, name, found.items[there], found.lifts[there])
        total.reshape(-1)[places[there]] += found.lifts[there]
    return total


def _require_finite(snapshot: Snapshot, rule: str, items: Ints, lifts: Floats) -> None:
    """Refuse lifts [N] of a user rule for candidates [N] that are NaN or infinite; see `_finite`."""
    if not np.isfinite(lifts).all():
        first = int(np.flatnonzero(~np.isfinite(lifts))[0])
        raise ValueError(
            f"user rule {rule!r}: it adds {lifts[first]} to the score of the item "
            f"{snapshot.item_ids[items[first]].as_py()!r}; what a rule adds must be finite: leave the pair out where "
            f"it has nothing to add, or remove the item for the user"
        )


def left_out(histories: pa.Table, item_ids: pa.Array, config: RecommendConfig) -> ExcludedItems:
    """What the settings leave out of the lists of B users because of their histories: seen, or rejected items.

    Args:
        histories: HISTORIES table of B users.
        item_ids: [I] sorted ids of the catalog; other items are skipped.
        config: `exclude_seen` and `exclude_rejected`. All rejected items were seen.
    """
    if not config.exclude_seen and not config.exclude_rejected:
        return ExcludedItems.none()
    lists = histories["seen_item_ids" if config.exclude_seen else "rejected_item_ids"].combine_chunks()
    users = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False).astype(np.int64)
    items = index_catalog(lists.flatten(), item_ids)
    return ExcludedItems.of([(users[items >= 0], items[items >= 0])])
