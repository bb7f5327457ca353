"""What the users of the synthetic shop view: sessions that follow the attributes of items.

A user has two styles and a material. A session is about one style; in it, the next item is often of the next category.
So the attributes say more of what comes next than the items that were viewed before.

Shapes: U users, I items, N views, W weeks; see `recsys.data.synthetic.catalog`.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.data.synthetic.catalog import CATEGORIES, MATERIALS, SyntheticCatalog

Array = npt.NDArray[Any]

DAY_S = 86_400
#: How often a view is of a taste: of the style, in the next category within a session; of the material; of anything.
_OF_STYLE, _OF_NEXT_CATEGORY, _OF_MATERIAL = 0.8, 0.5, 0.12
#: How often a session is about the user's second style, and how often one of the two styles changes before a session.
_SECOND_STYLE, _DRIFT = 0.25, 0.08
#: Draws of an item that the user did not view before.
_TRIES = 4


class _Choice:
    """Draws items of a part of the catalog that is sorted by two attributes, by their weights in a week."""

    def __init__(self, catalog: SyntheticCatalog, major: Array) -> None:
        """Sort the catalog by the attribute ``major`` [I], and then by category."""
        self._items = np.lexsort((catalog.category, major))
        self._keys = major[self._items] * len(CATEGORIES) + catalog.category[self._items]
        sums = np.cumsum(catalog.weight[:, self._items], axis=1)
        sums = np.concatenate([np.zeros((len(sums), 1)), sums], axis=1) / (sums.max() + 1)
        self._sums = sums + np.arange(len(sums))[:, None]  # [W, I + 1]; the sums of each week begin at its number

    def draw(self, random: np.random.Generator, week: Array, low: Array, high: Array) -> Array:
        """An item [N] of the keys from ``low`` to below ``high`` (major · 10 + category); −1 where there is none."""
        start, stop = np.searchsorted(self._keys, low), np.searchsorted(self._keys, high)
        before, until = self._sums[week, start], self._sums[week, stop]
        wanted = before + random.random(len(week)) * (until - before)
        place = np.searchsorted(self._sums.ravel(), wanted, side="right") - 1 - week * self._sums.shape[1]
        return np.where(until > before, self._items[np.clip(place, start, np.maximum(stop - 1, 0))], -1)


class _Tastes:
    """What each user wants at the moment: one of two styles for a session, and a material."""

    def __init__(self, random: np.random.Generator, catalog: SyntheticCatalog, num_users: int) -> None:
        """Draw the tastes of the users; some styles have more friends."""
        self._random, self._catalog = random, catalog
        self._by_style = _Choice(catalog, catalog.style)
        self._by_material = _Choice(catalog, catalog.material)
        self._appeal = random.dirichlet(np.full(catalog.num_styles, 3.0))
        self._styles = random.choice(catalog.num_styles, size=(num_users, 2), p=self._appeal)
        self._material = random.integers(0, len(MATERIALS), num_users)
        self._style = self._styles[:, 0].copy()

    def begin_session(self, user: Array) -> None:
        """Choose the style of a session, after one of the user's two styles may have changed."""
        random = self._random
        drifting = user[random.random(len(user)) < _DRIFT]
        changed = random.choice(self._catalog.num_styles, size=len(drifting), p=self._appeal)
        self._styles[drifting, random.integers(0, 2, len(drifting))] = changed
        self._style[user] = self._styles[user, (random.random(len(user)) < _SECOND_STYLE).astype(int)]

    def draw(self, user: Array, week: Array, before: Array) -> Array:
        """Next item of each user [N], after the item ``before`` [N] in the session, or −1 where the session opens."""
        random, each = self._random, len(CATEGORIES)
        dice = random.random(len(user))
        style, material, every = self._style[user] * each, self._material[user] * each, np.zeros_like(user)
        following = style + (self._catalog.category[before] + 1) % each
        of_style = self._by_style.draw(random, week, style, style + each)
        of_next = self._by_style.draw(random, week, following, following + 1)
        of_material = self._by_material.draw(random, week, material, material + each)
        of_any = self._by_material.draw(random, week, every, every + len(MATERIALS) * each)
        chosen = np.where((before >= 0) & (dice < _OF_NEXT_CATEGORY) & (of_next >= 0), of_next, of_style)
        chosen = np.where(dice > _OF_STYLE, of_material, chosen)
        return np.where((dice > _OF_STYLE + _OF_MATERIAL) | (chosen < 0), of_any, chosen)


def draw_views(
    random: np.random.Generator, catalog: SyntheticCatalog, num_views: Array, opens: Array, second: Array
) -> Array:
    """Item of each view [N]: one pass makes the first view of all users, the next pass the second, and so on."""
    tastes = _Tastes(random, catalog, len(num_views))
    week = np.searchsorted(catalog.launch_days * DAY_S, second, side="right")
    item = np.full(len(second), -1)
    start, num_items = np.cumsum(num_views) - num_views, len(catalog.table)
    viewed = np.zeros(0, dtype=int)
    for step in range(num_views.max()):
        user = np.flatnonzero(num_views > step)
        here = start[user] + step
        tastes.begin_session(user[opens[here]])
        before = np.where(opens[here], -1, item[here - 1])
        wanting = np.arange(len(user))
        for _ in range(_TRIES):  # few look at an item twice
            item[here[wanting]] = tastes.draw(user[wanting], week[here[wanting]], before[wanting])
            wanting = wanting[np.isin(user[wanting] * num_items + item[here[wanting]], viewed)]
        viewed = np.concatenate([viewed, user * num_items + item[here]])
    return item
