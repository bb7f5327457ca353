"""The choice of cold candidates: the same in blocks of any size, and in memory that does not grow with the catalog."""

import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from recsys.ranking import candidates as module
from recsys.ranking.candidates import best_cold
from recsys.signals.neighbours import Neighbours
from recsys.signals.sparse_rows import row_starts
from recsys.signals.transitions import LoadedTransitions
from tests.signals.world import NUM_ITEMS, World, draw_world

worlds = st.builds(draw_world, st.integers(0, 9999), st.integers(1, 5))
colds = st.sets(st.integers(0, NUM_ITEMS - 1)).map(lambda items: np.array(sorted(items), dtype=np.int32))


@hypothesis_settings(max_examples=40)
@given(worlds, colds, st.integers(1, NUM_ITEMS), st.integers(1, 20))
def test_blocks_do_not_show(world: World, cold: npt.NDArray[np.int32], num: int, cells: int) -> None:
    evidence = [loaded.read(world.users) for loaded in world.signals.values()]
    whole = best_cold(evidence, cold, num)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CELLS", cells)
        parts = best_cold(evidence, cold, num)
    total = sum(found for each in evidence if (found := each.cold_scores(cold)) is not None)
    for user in range(len(world.users)):
        order = sorted(range(len(cold)), key=lambda place: (-total[user, place], place))
        expected = sorted(cold[place] for place in order[:num] if total[user, place] > 0)
        for found in (whole, parts):
            assert found[user][found[user] >= 0].tolist() == expected


def test_memory_does_not_grow_with_the_cold_items(monkeypatch: pytest.MonkeyPatch) -> None:
    num_items = 400_000
    monkeypatch.setattr(module, "_CELLS", 2**14)
    world = draw_world(0, 5)
    weights = np.zeros((0, 2), dtype=np.float32)
    nothing = Neighbours(
        starts=row_starts(np.zeros(num_items, np.int64)), others=np.zeros(0, np.int32), weights=weights
    )
    evidence = [LoadedTransitions(nothing, 1).read(world.users)]
    cold = np.arange(num_items, dtype=np.int32)
    best_cold(evidence, cold[:1], 5)  # compiles
    peaks = []
    for own in (cold[: num_items // 20], cold):
        tracemalloc.start()
        best_cold(evidence, own, 5)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.01 * peaks[0], "20 times the cold items"
    assert peaks[1] < len(world.users) * num_items * 4 / 2, "less than one number for each user and cold item"
