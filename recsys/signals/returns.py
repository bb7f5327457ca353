"""How likely people come back for an item: some are taken once, some again and again; it knows counts and no models.

It is counted as the repeat customer probability of "Buy It Again" (Bhagat et al., KDD 2018), which found it to differ
between items by far more than chance. Shapes: N events, I items.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.schema import ITEM_RETURNS

#: People with the usual chance that are added to those who took an item: few who took it tell little.
USUAL_USERS = 10

Ints = npt.NDArray[np.int64]


def count_returns(users: Ints, items: Ints, moments: npt.NDArray[np.number], num_items: int) -> pa.Table:
    """ITEM_RETURNS: of each item, who took it, and who did so at several moments.

    Args:
        users: [N].
        items: [N] catalog indices.
        moments: [N] in any unit; events of one moment are one time.
        num_items: I.
    """
    once = first_of_moment(users, items, moments)
    pairs, times = np.unique(users[once] * num_items + items[once], return_counts=True)
    item = pairs % num_items
    columns = [np.bincount(some, minlength=num_items) for some in (item, item[times > 1])]
    return pa.Table.from_arrays([pa.array(column.astype(np.int64)) for column in columns], schema=ITEM_RETURNS)


def first_of_moment(users: Ints, items: Ints, moments: npt.NDArray[np.number]) -> Ints:
    """One event of those of the same user, item and moment: two lines of one invoice are one purchase.

    Args:
        users: [N].
        items: [N].
        moments: [N] in any unit.

    Returns:
        Which of the N events, by user, item and moment.
    """
    order = np.lexsort((moments, items, users))
    different = np.ones(len(order), dtype=bool)
    different[1:] = np.any([np.diff(column[order]) != 0 for column in (users, items, moments)], axis=0)
    return order[different]


def log_returns(returns: pa.Table) -> npt.NDArray[np.float32]:
    """[I] logarithm of the chance that who took an item takes it again, over that of all items; 0 where nobody does."""
    users, again = (returns[name].to_numpy() for name in ITEM_RETURNS.names)
    usual = again.sum() / max(users.sum(), 1)
    if usual == 0:
        return np.zeros(len(users), dtype=np.float32)
    chance = (again + USUAL_USERS * usual) / (users + USUAL_USERS)
    return np.asarray(np.log(chance / usual), dtype=np.float32)
